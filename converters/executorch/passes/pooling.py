"""Average pooling as XNNPACK has it.

Given:  a window as large as the map; windows of 1x1; windows without padding that would count it
Result: mean over height and width, dimensions kept; the map itself; the same windows, padding not counted

Identity: there is no padding to count.
Why: XNNPACK's partitioner takes `mean` over both axes, refuses windows as large as the map, and looks at whether padding
counts, not at whether there is any. XNNPACK has no pooling of 1x1.
"""

from __future__ import annotations

import torch

from converters.executorch.passes.editor import Editor, argument, aten, shape


def rewrite(editor: Editor) -> int:
    """Rewrite all of them."""
    return _to_mean(editor) + sum(_plain(editor, node) for node in editor.calls(aten.avg_pool2d.default))


def _plain(editor: Editor, node: torch.fx.Node) -> bool:
    """Windows without padding: none of 1x1, and none that count it."""
    source, window = node.args[0], argument(node, "kernel_size")
    assert isinstance(source, torch.fx.Node)
    if any(argument(node, "padding")):
        return False
    if set(window) == {1} and shape(node) == shape(source):
        editor.replace(node, source)
        return True
    if not argument(node, "count_include_pad"):
        return False
    stride, ceil_mode = argument(node, "stride") or window, argument(node, "ceil_mode")
    with editor.before(node):
        pool = editor.call(aten.avg_pool2d.default, source, window, stride, [0, 0], ceil_mode, False)
        editor.replace(node, pool)
    return True


def _to_mean(editor: Editor) -> int:
    """Windows as large as the map."""
    count = 0
    for node in editor.calls(aten.adaptive_avg_pool2d.default, aten.avg_pool2d.default):
        if shape(node)[-2:] != (1, 1) or not _covers(node):
            continue
        with editor.before(node):
            editor.replace(node, editor.call(aten.mean.dim, node.args[0], [2, 3], True))
        count += 1
    return count


def _covers(node: torch.fx.Node) -> bool:
    """Whether the window is the map, without padding."""
    if node.target is aten.adaptive_avg_pool2d.default:
        return True
    source = node.args[0]
    assert isinstance(source, torch.fx.Node)
    return len(node.args) <= 3 and tuple(node.args[1]) == shape(source)[-2:]  # type: ignore[arg-type]
