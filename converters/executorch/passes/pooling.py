"""Pooling over the whole map as a mean.

Given:  adaptive_avg_pool2d to 1x1
Result: mean over height and width, dimensions kept
Why: XNNPACK's partitioner takes `mean` over both; the pool decomposes to a window as large as the map, which it refuses.
"""

from __future__ import annotations

import torch

from converters.executorch.passes.editor import Editor, aten, shape


def to_mean(editor: Editor) -> int:
    """Rewrite every such pool."""
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
