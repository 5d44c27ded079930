"""Mean and standard deviation of pictures inside the first convolution.

Given:  conv((x - mean) / std) without padding, or with padding and mean 0
Result: conv with W / std and b - sum of W mean / std over its inputs
Identity: linear in x. With padding, zeros around the normalised picture are means around the original, so only the
division can move.
Why: two passes over the picture, and no broadcast inside the delegate.
"""

from __future__ import annotations

from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, argument, aten
from converters.executorch.passes.weights import bias_or_zero, layer, rebuilt


def fold(editor: Editor) -> int:
    """Fold constants between a picture and convolutions, from the convolution backwards."""
    count = 0
    for node in editor.calls(aten.conv2d.default):
        while (rewritten := _folded(editor, node)) is not None:
            node = rewritten
            count += 1
    return count


def _folded(editor: Editor, node: fx.Node) -> fx.Node | None:
    found = layer(editor, node)
    if found is None or found.groups != 1 or len(found.source.users) > 1:
        return None
    before = found.source
    value = editor.value(before.args[1]) if len(before.args) > 1 else None
    if value is None or not _per_input(value, found.weight.shape[1]):
        return None
    value = value.reshape(1, -1, 1, 1)
    source = before.args[0]
    assert isinstance(source, fx.Node)
    if before.target is aten.div.Tensor:
        weight, bias = found.weight / value, found.bias
    elif before.target is aten.sub.Tensor and argument(before, "alpha") == 1 and not any(argument(node, "padding")):
        weight, bias = found.weight, bias_or_zero(found) - (found.weight * value).sum((1, 2, 3))
    else:
        return None
    with editor.before(node):
        folded = rebuilt(editor, found, weight, bias, source)
    editor.replace(node, folded)
    return folded


def _per_input(value: Tensor, channels: int) -> bool:
    return value.dim() >= 3 and value.numel() == channels == value.shape[-3]
