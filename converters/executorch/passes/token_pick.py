"""The one token that counts, picked before the work on the others is done.

Given:  a tower that computes all tokens to its end and takes one: the class token, x[:, 0], or the end token,
        x[0, argmax(ids)]
Result: the pick moved up through all that works on each token alone, to where others need the whole: in the last block only
        keys and values see all tokens; queries, the output layer and the perceptron see one
        the end token's pick is a product with a one-hot row, (1, 1, L) float32, made once from its position

Identity: what works token by token commutes with taking a token.
Why: in the last block 5/6 of the products are for tokens that nobody reads: 8 % of a tower of 10 blocks, 28 % of one of
3. `index` with a computed position is not in XNNPACK, and would end the delegate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from converters.executorch.passes.editor import Editor, argument, aten, shape

# The arguments of which only the pick is needed, by their axis; None where the result's axis cannot be picked.
_Axes = dict[fx.Node, int] | None


def sink(editor: Editor) -> int:
    """Move every pick up as far as it goes."""
    picks = [*editor.calls(aten.select.int), *editor.calls(aten.index.Tensor)]
    return sum(_sunk(editor, node) for node in picks)


@dataclass(frozen=True)
class _Pick:
    """Which token: a position known now, or a one-hot row, (1, 1, L) float32."""

    index: int | None
    one_hot: fx.Node | None


def _sunk(editor: Editor, node: fx.Node) -> bool:
    found = _static(node) if node.target is aten.select.int else _end_token(editor, node)
    if found is None:
        return False
    pick, axis = found
    source = node.args[0]
    assert isinstance(source, fx.Node)
    wanted = _plan(source, axis, node)
    if pick.index is not None and not wanted:
        return False  # it already stands where it has to
    picked = _Builder(editor, pick, wanted).picked(source, axis)
    with editor.before(node):
        editor.replace(node, editor.call(aten.reshape.default, picked, list(shape(node))))
    return True


def _static(node: fx.Node) -> tuple[_Pick, int] | None:
    source = argument(node, "self")
    rank = len(shape(source))
    if rank < 3 or not _is_computed(source):
        return None
    return _Pick(argument(node, "index"), None), argument(node, "dim") % rank


def _is_computed(node: fx.Node) -> bool:
    """Whether a node is computed, in float."""
    return node.op == "call_function" and node.meta["val"].dtype.is_floating_point


def _end_token(editor: Editor, node: fx.Node) -> tuple[_Pick, int] | None:
    """x[[0], position], x: (1, L, C)."""
    source, indices = argument(node, "self"), argument(node, "indices")
    if len(indices) != 2 or shape(source)[0] != 1 or len(shape(source)) != 3 or shape(indices[1]) != (1,):
        return None
    position = indices[1]
    editor.to_the_front(position)
    with editor.after(position):
        places = editor.constant(torch.arange(shape(source)[1]))
        hit = editor.call(aten.eq.Tensor, places, position)
        row = editor.call(aten.reshape.default, editor.call(aten.to.dtype, hit, source.meta["val"].dtype), [1, 1, -1])
    return _Pick(None, row), 1


def _plan(source: fx.Node, axis: int, reader: fx.Node) -> dict[fx.Node, int]:
    """The nodes of which only the pick is needed, each with its axis, if it can be moved up through them."""
    wanted: dict[fx.Node, int] = {}
    asked: dict[fx.Node, set[tuple[fx.Node, int]]] = {source: {(reader, axis)}}
    for node in reversed(list(source.graph.nodes)):
        requests = asked.get(node, set())
        axes = {axis for _, axis in requests}
        if len(axes) != 1 or {reader for reader, _ in requests} != set(node.users) or not _is_computed(node):
            continue
        at = axes.pop()
        sources = _sources(node, at)
        if sources is None:
            continue
        wanted[node] = at
        for given, where in sources.items():
            asked.setdefault(given, set()).add((node, where))
    return wanted


class _Builder:
    """Builds the picked versions of nodes, each once."""

    def __init__(self, editor: Editor, pick: _Pick, wanted: dict[fx.Node, int]) -> None:
        self._editor, self._pick, self._wanted = editor, pick, wanted
        self._made: dict[tuple[fx.Node, int], fx.Node] = {}

    def picked(self, node: fx.Node, axis: int) -> fx.Node:
        """The pick along `axis`, of length 1 there."""
        key = node, axis
        if key not in self._made:
            again = self._wanted.get(node) == axis
            self._made[key] = self._again(node, axis) if again else self._taken(node, axis)
        return self._made[key]

    def _again(self, node: fx.Node, axis: int) -> fx.Node:
        """The operation on picked arguments."""
        sources = _sources(node, axis)
        assert sources is not None
        args = fx.node.map_arg(node.args, lambda given: self.picked(given, sources[given]) if given in sources else given)
        with self._editor.before(node):
            if node.target in _RESHAPES:
                size = list(shape(node))
                size[axis] = 1
                return self._editor.call(aten.reshape.default, args[0], size)
            return self._editor.call(node.target, *args, **node.kwargs)  # type: ignore[arg-type]

    def _taken(self, node: fx.Node, axis: int) -> fx.Node:
        """The pick itself."""
        editor, pick = self._editor, self._pick
        with editor.after(self._later(node)):
            if pick.index is not None:
                index = pick.index % shape(node)[axis]
                return editor.call(aten.slice.Tensor, node, axis, index, index + 1)
            assert pick.one_hot is not None
            size = shape(node)
            before, length, behind = math.prod(size[:axis]), size[axis], math.prod(size[axis + 1 :])
            result = list(size)
            result[axis] = 1
            if before == 1:
                tokens = editor.call(aten.reshape.default, node, [1, length, behind])
                row = editor.call(aten.bmm.default, pick.one_hot, tokens)
            elif behind > 1:
                tokens = editor.call(aten.reshape.default, node, [before, length, behind])
                tokens = editor.call(aten.permute.default, tokens, [1, 0, 2])
                tokens = editor.call(aten.reshape.default, tokens, [1, length, before * behind])
                row = editor.call(aten.bmm.default, pick.one_hot, tokens)
            else:
                tokens = editor.call(aten.reshape.default, node, [1, before, length])
                row = editor.call(aten.bmm.default, tokens, editor.call(aten.reshape.default, pick.one_hot, [1, length, 1]))
            return editor.call(aten.reshape.default, row, result)

    def _later(self, node: fx.Node) -> fx.Node:
        """The later of a node and the one-hot row."""
        row = self._pick.one_hot
        return row if row is not None and node < row else node


_EACH = frozenset(
    {
        aten.gelu.default,
        aten.relu.default,
        aten.sigmoid.default,
        aten.tanh.default,
        aten.rsqrt.default,
        aten.clamp.default,
    }
)
_PAIRS = frozenset({aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor})
_RESHAPES = frozenset(
    {
        aten.view.default,
        aten.reshape.default,
        aten.flatten.using_ints,
        aten.squeeze.dim,
        aten.unsqueeze.default,
    }
)


def _sources(node: fx.Node, axis: int) -> _Axes:
    """The arguments of which only the pick is needed, by their axis; None if the operation does not allow it."""
    if node.target in _EACH:
        return {_first(node): axis}
    if node.target in _PAIRS:
        return _pair(node, axis)
    rule = _RULES.get(node.target)
    return None if rule is None else rule(node, axis)


def _first(node: fx.Node) -> fx.Node:
    first = node.args[0]
    assert isinstance(first, fx.Node)
    return first


def _pair(node: fx.Node, axis: int) -> _Axes:
    found = {}
    for given in node.all_input_nodes:
        own = axis - (len(shape(node)) - len(shape(given)))
        if own >= 0 and shape(given)[own] != 1:
            found[given] = own
    return found


def _linear(node: fx.Node, axis: int) -> _Axes:
    return {_first(node): axis} if axis != len(shape(node)) - 1 else None


def _softmax(node: fx.Node, axis: int) -> _Axes:
    return {_first(node): axis} if axis != argument(node, "dim") % len(shape(node)) else None


def _bmm(node: fx.Node, axis: int) -> _Axes:
    left, right = node.args
    assert isinstance(left, fx.Node)
    assert isinstance(right, fx.Node)
    return None if axis == 0 or left is right else {left: 1} if axis == 1 else {right: 2}


def _permute(node: fx.Node, axis: int) -> _Axes:
    order: Any = node.args[1]
    return {_first(node): order[axis] % len(order)}


def _transpose(node: fx.Node, axis: int) -> _Axes:
    rank = len(shape(node))
    one, other = argument(node, "dim0") % rank, argument(node, "dim1") % rank
    return {_first(node): {one: other, other: one}.get(axis, axis)}


def _reshape(node: fx.Node, axis: int) -> _Axes:
    """An axis that keeps its length and what is in front of it and behind it."""
    size, given = shape(node), shape(_first(node))
    for own in range(len(given)):
        same = given[own] == size[axis] and math.prod(given[:own]) == math.prod(size[:axis])
        if same:
            return {_first(node): own}
    return None


def _pointwise_conv(node: fx.Node, axis: int) -> _Axes:
    weight = node.args[1]
    assert isinstance(weight, fx.Node)
    plain = all(argument(node, name) == value for name, value in (("stride", [1, 1]), ("padding", [0, 0])))
    return {_first(node): axis} if axis >= 2 and plain and shape(weight)[2:] == (1, 1) else None


_RULES: dict[Any, Callable[[fx.Node, int], _Axes]] = {
    aten.linear.default: _linear,
    aten.softmax.int: _softmax,
    aten.bmm.default: _bmm,
    aten.permute.default: _permute,
    aten.transpose.int: _transpose,
    **dict.fromkeys(_RESHAPES, _reshape),
    aten.conv2d.default: _pointwise_conv,
}
