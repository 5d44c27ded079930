"""Depthwise convolutions that give several channels for each, as several that give one.

Given:  conv2d with as many groups as input channels C, and m C outputs; output g m + k reads input g
Result: for each k < m a depthwise convolution of C channels with the kernels of outputs k, m + k, 2 m + k, ..., side by
        side; every layer that reads or scales these channels has its weights in the new order

Identity: channels are names; a dense layer that reads them in another order needs its columns in that order.
Why: XNNPACK's depthwise kernels give one channel for each; with more it falls to its general grouped convolution, which
is 10 to 20 times slower for the same products.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.weights import Layer, layer, layer_call, rebuilt

_EACH = frozenset(
    {
        aten.gelu.default,
        aten.relu.default,
        aten.sigmoid.default,
        aten.silu.default,
        aten.hardswish.default,
        aten.mean.dim,
        aten.adaptive_avg_pool2d.default,
    }
)
_PAIRS = frozenset({aten.add.Tensor, aten.mul.Tensor, aten.sub.Tensor})
_JOINS = frozenset({aten.flatten.using_ints, aten.view.default, aten.reshape.default})


def split(editor: Editor) -> int:
    """Split every one whose channels can be renamed."""
    return sum(_rewritten(editor, node) for node in editor.calls(aten.conv2d.default))


def _rewritten(editor: Editor, node: fx.Node) -> bool:
    found = layer(editor, node)
    if found is None or found.groups == 1 or found.weight.shape[1] != 1 or found.weight.shape[0] == found.groups:
        return False
    multiplier = found.weight.shape[0] // found.groups
    named = _Named(editor, found.weight.shape[0])
    if not named.grow(node):
        return False
    order = torch.arange(found.weight.shape[0]).reshape(-1, multiplier).T.reshape(-1)
    named.rename(order)
    with editor.before(node):
        parts = [
            layer_call(
                editor,
                node.target,
                found.source,
                found.weight[k::multiplier],
                None if found.bias is None else found.bias[k::multiplier],
                found.options,
                found.name,
            )
            for k in range(multiplier)
        ]
        editor.replace(node, editor.call(aten.cat.default, parts, 1))
    return True


class _Named:
    """All tensors that share their channels' names with one, and the layers where the names begin and end."""

    def __init__(self, editor: Editor, count: int) -> None:
        self._editor, self._count = editor, count
        self._seen: set[fx.Node] = set()
        self._makers: set[fx.Node] = set()  # layers whose outputs are such channels
        self._readers: set[fx.Node] = set()  # dense layers that read such channels

    def grow(self, start: fx.Node) -> bool:
        """Collect them; False if something reads channels by their place."""
        self._seen.add(start)
        waiting = [start]
        while waiting:
            node = waiting.pop()
            steps = [self._forward(node, user) for user in node.users]
            if node is not start:
                steps.append(self._backward(node))
            for step in steps:
                if step is None:
                    return False
                waiting += [found for found in step if found not in self._seen]
                self._seen.update(step)
        return True

    def _forward(self, node: fx.Node, user: fx.Node) -> list[fx.Node] | None:
        """What gets the names of `node` through `user`; None if that cannot be told."""
        found = layer(self._editor, user)
        if found is not None:
            if found.source is not node:
                return None
            if found.groups == 1:
                self._readers.add(user)
                return []
            return [user] if _is_depthwise(found) else None
        if user.target in _EACH or user.target in _PAIRS:
            return [user]
        if user.target in _JOINS and shape(node)[2:] in ((1, 1), ()) and shape(user)[:2] == shape(node)[:2]:
            return [user]
        return None

    def _backward(self, node: fx.Node) -> list[fx.Node] | None:
        """What else has the names of `node` because it is made from it."""
        found = layer(self._editor, node)
        if found is not None:
            self._makers.add(node)
            return [found.source] if found.groups > 1 else []
        if node.target in _PAIRS:
            constants = [given for given in node.all_input_nodes if self._editor.value(given) is not None]
            if any(self._editor.value(given).numel() != 1 for given in constants):  # type: ignore[union-attr]
                return None
            return [given for given in node.all_input_nodes if given not in constants]
        if node.target in _EACH or node.target in _JOINS:
            return node.all_input_nodes
        return None

    def rename(self, order: Tensor) -> None:
        """Put channel order[i] at place i."""
        for node in sorted(self._makers):
            self._rebuild(node, lambda found: (found.weight[order], None if found.bias is None else found.bias[order]))
        for node in sorted(self._readers):
            self._rebuild(node, lambda found: (found.weight[:, order], found.bias))

    def _rebuild(self, node: fx.Node, change: Callable[[Layer], tuple[Tensor, Tensor | None]]) -> None:
        found = layer(self._editor, node)
        assert found is not None
        with self._editor.before(node):
            new = rebuilt(self._editor, found, *change(found))
        self._readers = {new if other is node else other for other in self._readers}
        self._editor.replace(node, new)


def _is_depthwise(found: Layer) -> bool:
    return found.groups == found.weight.shape[0] and found.weight.shape[1] == 1 and argument(found.node, "groups") > 1
