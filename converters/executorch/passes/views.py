"""Chains of operations that only move elements, understood by what they do to an index.

Frameworks spell "split into heads" in many ways (`unflatten`, `chunk`, `view`, `permute`, `unbind`, ...). Running the chain on
a tensor of element numbers tells what it does, whatever its spelling.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import aten, shape

# Operations whose result holds elements of their first argument, moved.
MOVES = frozenset(
    {
        aten.view.default,
        aten._unsafe_view.default,
        aten.reshape.default,
        aten.transpose.int,
        aten.permute.default,
        aten.t.default,
        aten.unflatten.int,
        aten.flatten.using_ints,
        aten.squeeze.dim,
        aten.squeeze.dims,
        aten.squeeze.default,
        aten.unsqueeze.default,
        aten.select.int,
        aten.slice.Tensor,
        aten.narrow.default,
        aten.chunk.default,
        aten.split.Tensor,
        aten.split_with_sizes.default,
        aten.unbind.int,
        aten.contiguous.default,
        aten.clone.default,
        operator.getitem,
    }
)


def moves(node: Any) -> bool:
    """Whether a node only moves elements of its first argument."""
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target in MOVES


def origin(node: fx.Node) -> fx.Node:
    """The node whose elements a chain of moves hands on."""
    while moves(node):
        node = node.all_input_nodes[0]
    return node


def sole_origin(node: fx.Node) -> fx.Node | None:
    """As `origin`, if nothing else reads that node, or what lies between; else None."""
    while len(node.users) == 1:
        if not moves(node):
            return node
        node = node.all_input_nodes[0]
    return None


def element_numbers(node: fx.Node, source: fx.Node) -> Tensor:
    """For each element of `node` its number in `source`, int64 of the shape of `node`."""
    chain = []
    at = node
    while at is not source:
        chain.append(at)
        at = at.all_input_nodes[0]
    value: Any = torch.arange(torch.Size(shape(source)).numel()).reshape(shape(source))
    for step in reversed(chain):
        value = step.target(value, *step.args[1:], **step.kwargs)  # type: ignore[operator]
    return torch.as_tensor(value)


def keeps_order(node: fx.Node, source: fx.Node) -> bool:
    """Whether the moves between two nodes are one reshape."""
    numbers = element_numbers(node, source)
    return bool(torch.equal(numbers.reshape(-1), torch.arange(torch.Size(shape(source)).numel())))
