"""1x1 convolutions over tokens as linear layers.

Given:  conv2d(x, 1x1), x: (N, C, 1, L)
Result: linear over (N, 1, L, C), between two changes of the order of axes; GELU between two of them stays inside
Why: XNNPACK has linear layers with int4 weights; and ExecuTorch 1.4 cannot lower a convolution over tokens whose input is
rounded to int8 as it comes (`ChannelsLastTaggedReshapePass.input_to_nhwc` wants four axes of all that leads to it). In float
the convolution is as fast, and needs no change of axes; so this is no pass for all schemes.
"""

from __future__ import annotations

from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.weights import Layer, layer, linear

_TO_LAST, _FROM_LAST = [0, 2, 3, 1], [0, 3, 1, 2]


def to_linear(editor: Editor) -> int:
    """Rewrite all of them, and say how many; those of a picture's maps stay, which have their channels last anyway."""
    if any(len(shape(node)) == 4 for node in editor.graph.nodes if node.op == "placeholder"):
        return 0
    count = 0
    for node in editor.calls(aten.conv2d.default):
        found = layer(editor, node)
        if found is None or not _is_pointwise(found):
            continue
        with editor.before(node):
            result = linear(editor, _channels_last(editor, found.source), found.weight[:, :, 0, 0], found.bias, found.name)
            editor.replace(node, editor.call(aten.permute.default, result, _FROM_LAST))
        count += 1
    return count


def _is_pointwise(found: Layer) -> bool:
    node = found.node
    return (
        found.groups == 1
        and found.weight.shape[2:] == (1, 1)
        and set(argument(node, "stride")) == {1}
        and set(argument(node, "padding")) == {0}
    )


def _channels_last(editor: Editor, source: fx.Node) -> fx.Node:
    """A tensor (N, C, H, W) as (N, H, W, C), where the editor stands."""
    if source.target is aten.permute.default and list(argument(source, "dims")) == _FROM_LAST:
        given: fx.Node = argument(source, "self")
        return given
    if source.target is aten.gelu.default and len(source.users) == 1:
        inner = _channels_last(editor, argument(source, "self"))
        return editor.call(aten.gelu.default, inner, *source.args[1:], **source.kwargs)
    return editor.call(aten.permute.default, source, _TO_LAST)
