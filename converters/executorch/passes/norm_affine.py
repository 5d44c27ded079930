"""Weights of layer norms inside the linear layers behind them.

Given:  linear(n * gamma + beta), n normalised, for all layers that read it
Result: layer_norm without weights, linear with W diag(gamma) and b + W beta
Identity: W (gamma n + beta) = (W diag(gamma)) n + W beta.
Why: two passes over the tokens less per norm.
"""

from __future__ import annotations

import torch
from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.weights import Layer, bias_or_zero, layer, rebuilt

# They take rows; widths tell whether they left the last axis alone.
_PICKS = (aten.select.int, aten.slice.Tensor, aten.index.Tensor)


def fold(editor: Editor) -> int:
    """Fold each norm over the last axis that only linear layers read."""
    return sum(_folded(editor, node) for node in editor.calls(aten.layer_norm.default))


def _folded(editor: Editor, node: fx.Node) -> bool:
    gamma, beta = affine(editor, node)
    if gamma is None or gamma.dim() != 1:
        return False
    readers = [_reader(editor, user, node) for user in node.users]
    if not readers or not all(readers):
        return False
    for reader in readers:
        assert reader is not None
        bias = reader.bias if beta is None else bias_or_zero(reader) + reader.weight @ beta
        with editor.before(reader.node):
            editor.replace(reader.node, rebuilt(editor, reader, reader.weight * gamma, bias))
    with editor.before(node):
        plain = editor.call(aten.layer_norm.default, node.args[0], list(gamma.shape), None, None, argument(node, "eps"), False)
    editor.replace(node, plain)
    return True


def _reader(editor: Editor, user: fx.Node, node: fx.Node) -> Layer | None:
    """The linear layer that reads the norm, perhaps only some of its tokens."""
    width = shape(node)[-1]
    while user.target in _PICKS and len(user.users) == 1 and shape(user)[-1] == width and user.args[0] is node:
        node, user = user, next(iter(user.users))
    found = layer(editor, user)
    return found if found is not None and not found.is_conv and found.source is node else None


def affine(editor: Editor, node: fx.Node) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """gamma and beta of a layer norm, where it still has them."""
    return editor.value(argument(node, "weight")), editor.value(argument(node, "bias"))
