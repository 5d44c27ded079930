"""Factors per channel inside the weights of the layer before them.

Given:  linear or convolution, perhaps reshaped, then times a constant g that has one value per output channel
Result: the layer with weights and bias times g
Identity: g (W x + b) = (g W) x + g b, channel by channel.
Why: layer scales are a pass over memory each; inside the weights they cost nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, aten, shape
from converters.executorch.passes.views import sole_origin
from converters.executorch.passes.weights import Layer, channels, layer, rebuilt


def fold(editor: Editor) -> int:
    """Fold every factor whose layer nothing else reads."""
    return sum(_folded(editor, node) for node in editor.calls(aten.mul.Tensor))


def _folded(editor: Editor, node: fx.Node) -> bool:
    for position, factor in ((0, node.args[1]), (1, node.args[0])):
        given, value = node.args[position], editor.value(factor)
        if value is None or not isinstance(given, fx.Node) or shape(given) != shape(node):
            continue
        found = layer(editor, sole_origin(given))
        factors = None if found is None else _per_channel(found, given, value)
        if found is None or factors is None:
            continue
        weight = found.weight * factors.reshape(-1, *[1] * (found.weight.dim() - 1))
        bias = None if found.bias is None else found.bias * factors
        with editor.before(found.node):
            editor.replace(found.node, rebuilt(editor, found, weight, bias))
        scaled = node.args[position]
        assert isinstance(scaled, fx.Node)
        editor.replace(node, scaled)
        return True
    return False


def _per_channel(found: Layer, given: fx.Node, value: Tensor) -> Tensor | None:
    """The factor of each output channel, (C_out); None if it differs between places."""
    place = channels(found, given)
    spread = value.expand(shape(given)).to(found.weight.dtype)
    factors = found.weight.new_ones(found.weight.shape[0]).scatter_(0, place.reshape(-1), spread.reshape(-1))
    return factors if torch.equal(factors[place], spread) else None
