"""What can be computed in integers, as units that are decided on together.

A linear layer or dense convolution is a unit. A depthwise convolution that the graph passes split into parts is one with the
sums or concatenations that join the parts again: between them nothing has to leave int8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, aten, shape
from converters.executorch.passes.weights import Layer, layer

Kind = Literal["linear", "conv", "depthwise"]

# How a unit of a kind can be stored and computed, from the smallest to the most exact. w4 and w8: the input is rounded to
# int8 as it comes; w8a8: by a range known beforehand, as is the result. XNNPACK has int4 kernels for linear layers only, and
# none for depthwise convolutions whose input is rounded as it comes.
FORMS: dict[Kind, tuple[str, ...]] = {
    "linear": ("w4", "w8a8", "w8", "fp32"),
    "conv": ("w8a8", "w8", "fp32"),
    "depthwise": ("w8a8", "fp32"),
}
BLOCK = 32  # weights that share a scale in w4
_BITS = {"w4": 4 + 16 / BLOCK, "w8a8": 8, "w8": 8, "fp32": 32}  # of each weight; blocks have bfloat16 scales
_FEW = 8  # outputs: means, sums and lengths that the passes spell as linear layers are no layers
_MOST_TAPS = 25  # of XNNPACK's int8 kernels for depthwise convolutions


@dataclass(frozen=True)
class Unit:
    """name: of its weight. nodes: what it computes, in the order of execution; weights: those among them that have any.
    rounds_maps: whether a convolution can be `w8` in this tower.
    """

    name: str
    kind: Kind
    nodes: tuple[fx.Node, ...]
    weights: tuple[Tensor, ...]
    rounds_maps: bool = True

    @property
    def forms(self) -> tuple[str, ...]:
        """How it can be stored."""
        known = FORMS[self.kind]
        if self.kind == "conv" and not self.rounds_maps:
            return tuple(form for form in known if form != "w8")
        return known if self.kind != "linear" or self.weights[0].shape[1] % BLOCK == 0 else known[1:]

    @property
    def values(self) -> int:
        """How many weights it has."""
        return sum(weight.numel() for weight in self.weights)

    def size_bytes(self, form: str) -> int:
        """Of its weights."""
        return math.ceil(self.values * _BITS[form] / 8)


def find_units(editor: Editor) -> tuple[Unit, ...]:
    """The units of a tower, in the order of execution."""
    layers = [layer(editor, node) for node in editor.calls(aten.linear.default, aten.conv2d.default)]
    units: list[Unit] = []
    rounds_maps = _rounds_maps(editor)
    joined: set[fx.Node] = set()
    for found in layers:
        if found is None or found.node in joined or found.weight.shape[0] <= _FEW:
            continue
        kind = _kind(found)
        if kind is None:
            continue
        nodes = _joined(editor, found) if kind == "depthwise" else (found.node,)
        joined |= set(nodes)
        weights = tuple(other.weight for node in nodes for other in [layer(editor, node)] if other is not None)
        units.append(Unit(_unused(found.name, units), kind, nodes, weights, rounds_maps))
    return tuple(units)


def _unused(name: str, units: list[Unit]) -> str:
    """The name, with a number behind it if layers share their weights' origin."""
    same = sum(unit.name == name or unit.name.startswith(f"{name}.") for unit in units)
    return f"{name}.{same + 1}" if same else name


def _rounds_maps(editor: Editor) -> bool:
    """Whether a convolution's input can be rounded as it comes.

    ExecuTorch 1.4 puts the change to channels last in front of all that leads to such an input, up to the tower's own input
    (`ChannelsLastTaggedReshapePass.input_to_nhwc`), which fails for tokens: they have no four axes.
    """
    return any(len(shape(node)) == 4 for node in editor.graph.nodes if node.op == "placeholder")


def _kind(found: Layer) -> Kind | None:
    if not found.is_conv:
        return "linear"
    if found.groups == 1:
        return "conv"
    depthwise = found.groups == found.weight.shape[0] and found.weight.shape[1] == 1
    return "depthwise" if depthwise and math.prod(found.weight.shape[2:]) <= _MOST_TAPS else None


_JOINS = frozenset({aten.add.Tensor, aten.cat.default})


def _joined(editor: Editor, first: Layer) -> tuple[fx.Node, ...]:
    """A depthwise convolution with its siblings, which read the same tensor, and all that joins them to one result."""
    members = set(_siblings(editor, first.source))
    for node in first.node.graph.nodes:
        if node.target in _JOINS and all(given in members for given in node.all_input_nodes) and _plain(node):
            members.add(node)
    ends = [node for node in members if not all(user in members for user in node.users)]
    return tuple(sorted(members)) if len(ends) == 1 else (first.node,)


def _siblings(editor: Editor, source: fx.Node) -> Iterator[fx.Node]:
    for user in source.users:
        found = layer(editor, user)
        if found is not None and found.source is source and _kind(found) == "depthwise":
            yield user


def _plain(node: fx.Node) -> bool:
    """Whether a join is one of two or more results of the same rank, without factors."""
    if node.target is aten.add.Tensor:
        return len(node.all_input_nodes) == 2 and not node.kwargs and len({shape(given) for given in node.all_input_nodes}) == 1
    return True
