"""From a form for each unit to what every tensor of the graph is, and the pairs that say so to XNNPACK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, argument, aten
from converters.executorch.quantization.pairs import (
    Range,
    Stored,
    dequantized,
    quantized,
    rounded_at_run_time,
    stored_weight,
)
from converters.executorch.quantization.units import BLOCK, Unit
from converters.executorch.quantization.weights import rounded

Plan = Mapping[Unit, str]
LAYERS = frozenset({aten.linear.default, aten.conv2d.default})
_DYNAMIC = frozenset({"w4", "w8"})
# Computed in int8 by a table of 256 results, where what comes and what goes are int8 anyway.
_TABLED = frozenset({aten.gelu.default})


def stored(weight: Tensor, form: str) -> Stored:
    """A weight, (C_out, ...) float32, in integers."""
    bits, row, stored_as = (4, BLOCK, torch.bfloat16) if form == "w4" else (8, weight[0].numel(), torch.float32)
    values, scales = rounded(weight.reshape(-1, row), bits, stored_as)
    return Stored(values.reshape(weight.shape), scales.reshape(len(weight), -1), bits)


@dataclass(frozen=True)
class Integers:
    """static: what gives int8. dynamic: layers whose input is rounded as it comes. forms: of the layers' weights."""

    static: frozenset[fx.Node]
    dynamic: frozenset[fx.Node]
    forms: Mapping[fx.Node, str]

    def is_rounded(self, source: fx.Node, reader: fx.Node) -> bool:
        """Whether a reader gets a result in int8, with a range known beforehand."""
        return source in self.static or reader in self.static


def integers(editor: Editor, plan: Plan) -> Integers:
    """What the plan makes of each node."""
    static = {node for unit, form in plan.items() if form == "w8a8" for node in unit.nodes}
    for node in editor.calls(*_TABLED):
        if set(node.all_input_nodes) <= static and set(node.users) <= static:
            static.add(node)
    forms = {node: form for unit, form in plan.items() if form != "fp32" for node in unit.nodes if node.target in LAYERS}
    return Integers(frozenset(static), frozenset(node for node, form in forms.items() if form in _DYNAMIC), forms)


def activations(editor: Editor, node: fx.Node) -> list[fx.Node]:
    """The computed arguments of a node."""
    return [given for given in node.all_input_nodes if editor.value(given) is None]


def ranged(editor: Editor, whole: Integers) -> list[fx.Node]:
    """Results that need a range, in the order of execution."""
    needed = set(whole.static) | {given for node in whole.static for given in activations(editor, node)}
    return sorted(needed)


def shared_range(editor: Editor, whole: Integers, node: fx.Node) -> fx.Node:
    """The node whose range a node has: XNNPACK concatenates int8 tensors of one range only."""
    for user in node.users:
        if user.target is aten.cat.default and user in whole.static:
            return shared_range(editor, whole, user)
    return node


_FINEST = 128  # XNNPACK multiplies sums of products by less than 256 when it makes them int8,
_ADDED = 256  # and a summand by at least 1/1024


def bounded(editor: Editor, whole: Integers, ranges: Mapping[fx.Node, Range]) -> dict[fx.Node, Range]:
    """Ranges that XNNPACK takes: not so much finer than what comes in, nor than the sum they become a part of.

    A part of a split kernel that sees nothing but padding always gives zero, and could have any range.
    """
    found = dict(ranges)

    def widen(node: fx.Node, least: float) -> None:
        node = shared_range(editor, whole, node)
        if found[node].scale < least:
            found[node] = Range(least, found[node].zero_point)

    static = sorted(whole.static)
    for node in static:
        if node.target in LAYERS:
            weight = editor.value(argument(node, "weight"))
            assert weight is not None
            source = found[shared_range(editor, whole, argument(node, "input"))]
            widen(node, source.scale * float(stored(weight, "w8a8").scales.max()) / _FINEST)
        elif node.target is aten.add.Tensor:
            widen(node, max(found[shared_range(editor, whole, given)].scale for given in node.all_input_nodes) / _FINEST)
    for node in reversed(static):
        if node.target is aten.add.Tensor:
            for given in node.all_input_nodes:
                widen(given, found[shared_range(editor, whole, node)].scale / _ADDED)
    return found


def carry_out(editor: Editor, plan: Plan, ranges: Mapping[fx.Node, Range]) -> None:
    """Put the pairs into the graph. ranges: of all `ranged` nodes."""
    whole = integers(editor, plan)
    for node in ranged(editor, whole):
        _round(editor, node, ranges[shared_range(editor, whole, node)], whole)
    for node, form in whole.forms.items():
        given = argument(node, "weight")
        weight = editor.value(given)
        assert weight is not None
        with editor.before(node):
            node.replace_input_with(given, stored_weight(editor, stored(weight, form)))
            bias = argument(node, "bias")
            if bias is not None and len(bias.users) > 1:  # stored in steps of input and weight: not those of another layer
                value = editor.value(bias)
                assert value is not None
                node.replace_input_with(bias, editor.constant(value))
            if node in whole.dynamic:
                source = argument(node, "input")
                node.replace_input_with(source, rounded_at_run_time(editor, source))
        editor.drop(given)


def _round(editor: Editor, node: fx.Node, given: Range, whole: Integers) -> None:
    """Make a result int8, once, and float32 again for each of its readers."""
    readers = [user for user in node.users if whole.is_rounded(node, user)]
    with editor.after(node):
        small = quantized(editor, node, given)
    for reader in readers:
        with editor.before(reader):
            reader.replace_input_with(node, dequantized(editor, small, given))


@torch.no_grad()
def rounded_as_it_comes(values: Tensor, is_conv: bool) -> Tensor:
    """What XNNPACK makes of a dynamic layer's input: int8 with a range for each row, or of a picture for all of it."""
    axes = tuple(range(1, values.dim())) if is_conv else (-1,)
    low = values.amin(axes, keepdim=True).clamp_max(0)
    high = values.amax(axes, keepdim=True).clamp_min(0)
    scale = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).eps)
    zero = (-128 - low / scale).round().clamp(-128, 127)
    return ((values / scale).round() + zero).clamp(-128, 127).sub(zero) * scale
