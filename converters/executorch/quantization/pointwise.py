"""1x1 convolutions over tokens as linear layers.

Given:  conv2d(x, 1x1), x: (N, C, 1, L)
Result: linear over (N, L, C), between two changes of the order of axes; GELU between two of them stays inside
Why: XNNPACK has linear layers with int4 weights; and ExecuTorch 1.4 cannot lower a convolution over tokens whose input is
rounded to int8 as it comes (`ChannelsLastTaggedReshapePass.input_to_nhwc` wants four axes of all that leads to it). In float
the convolution is as fast, and needs no change of axes; so this is no pass for all schemes.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.weights import Layer, layer, linear

_EXCHANGED = [0, 2, 1]


def to_linear(editor: Editor) -> int:
    """Rewrite all of them, and say how many; those of a picture's maps stay, which have their channels last anyway."""
    if any(len(shape(node)) == 4 for node in editor.graph.nodes if node.op == "placeholder"):
        return 0
    made: dict[fx.Node, fx.Node] = {}
    for node in editor.calls(aten.conv2d.default):
        found = layer(editor, node)
        if found is None or not _is_pointwise(found):
            continue
        with editor.before(node):
            rows = _rows(editor, found.source, made)
            result = linear(editor, rows, found.weight[:, :, 0, 0], found.bias, found.name)
            row = editor.call(aten.permute.default, result, _EXCHANGED)
            again = editor.call(aten.reshape.default, row, list(shape(node)))
            made[again] = result
            editor.replace(node, again)
    return len(made)


def _is_pointwise(found: Layer) -> bool:
    node = found.node
    return (
        found.groups == 1
        and shape(found.source)[2] == 1
        and found.weight.shape[2:] == (1, 1)
        and set(argument(node, "stride")) == {1}
        and set(argument(node, "padding")) == {0}
    )


def _rows(editor: Editor, source: fx.Node, made: Mapping[fx.Node, fx.Node]) -> fx.Node:
    """A tensor (N, C, 1, L) as (N, L, C), where the editor stands. made: of such tensors, the layers they come from."""
    if source in made:
        return made[source]
    if source.target is aten.gelu.default and len(source.users) == 1:
        inner = _rows(editor, argument(source, "self"), made)
        return editor.call(aten.gelu.default, inner, *source.args[1:], **source.kwargs)
    batch, channels, _, length = shape(source)
    row = editor.call(aten.reshape.default, source, [batch, channels, length])
    return editor.call(aten.permute.default, row, _EXCHANGED)
