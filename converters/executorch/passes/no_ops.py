"""What does nothing when a tower runs.

Given:  dropout outside training, copies, casts to the type that is there, reshapes and slices to the same shape;
        squeezes and unsqueezes; ReLUs in place
Result: their arguments; reshapes; plain ReLUs
Why: each would be a copy in the delegate, or break it in two: XNNPACK's partitioner takes reshapes, but squeezes only of
the last axis.
"""

from __future__ import annotations

from torch import fx

from converters.executorch.passes.editor import Editor, aten, shape

_COPIES = (
    aten.dropout.default,
    aten.dropout_.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.to.dtype,
    aten.alias.default,
    aten.detach.default,
    aten.expand.default,
    aten.expand_as.default,
    aten.view.default,
    aten.reshape.default,
    aten.slice.Tensor,
)
_RESHAPES = (aten.squeeze.dim, aten.squeeze.dims, aten.squeeze.default, aten.unsqueeze.default)
_PLAIN = {aten.relu_.default: aten.relu.default}


def remove(editor: Editor) -> int:
    """Remove them all."""
    count = 0
    for node in editor.calls(*_COPIES):
        source = node.args[0]
        assert isinstance(source, fx.Node)
        same = shape(node) == shape(source) and node.meta["val"].dtype == source.meta["val"].dtype
        if same and not (node.target is aten.dropout.default and node.args[2]):
            editor.replace(node, source)
            count += 1
    for node in editor.calls(*_RESHAPES):
        with editor.before(node):
            editor.replace(node, editor.call(aten.reshape.default, node.args[0], list(shape(node))))
        count += 1
    for given, plain in _PLAIN.items():
        for node in editor.calls(given):
            node.target = plain
            count += 1
    return count
