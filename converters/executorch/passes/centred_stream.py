"""A residual stream whose tokens have mean 0, so that its layer norms need not subtract one.

Given:  x = a + b + ..., read only by layer norms and by further sums of the same kind
Result: each addend centred: linear layers and constants by their weights, (I - 1/C) W and (I - 1/C) b, others by one
        subtraction; the norms become x * rsqrt(mean(x^2) + eps)

Identity: a layer norm does not see what is added to all channels of a token; sums of centred addends are centred.
Why: a mean and a subtraction less per norm, two of six passes over the tokens.
Source: the same step turns layer norms into RMS norms in "SliceGPT" (arXiv 2401.15024), section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.layer_norm import centred, normalised
from converters.executorch.passes.views import origin, sole_origin
from converters.executorch.passes.weights import channels, layer, rebuilt


def centre(editor: Editor) -> int:
    """Centre every stream that only layer norms over its last axis read."""
    count = 0
    done: set[fx.Node] = set()
    for node in editor.calls(aten.layer_norm.default):
        if node in done or len(argument(node, "normalized_shape")) != 1:
            continue
        stream = _Stream(editor)
        whole = stream.grow(node.args[0])
        done |= stream.norms
        by_hand = [addend for addend in stream.addends if not _foldable(editor, addend)]
        if not whole or len(by_hand) >= len(stream.norms):
            continue
        count += len(stream.norms)
        _apply(editor, stream)
    return count


class _Stream:
    """Sums that feed each other, the addends from outside, and the norms that read them."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self.sums: set[fx.Node] = set()
        self.addends: set[fx.Node] = set()
        self.norms: set[fx.Node] = set()

    def grow(self, start: object) -> bool:
        """Collect all that belongs to one stream; False if something else reads it."""
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if not isinstance(node, fx.Node) or node in self.sums or node in self.addends:
                continue
            if self._is_sum(node):
                self.sums.add(node)
                waiting += node.all_input_nodes
            else:
                self.addends.add(node)
                if self.editor.value(node) is not None:
                    continue  # other readers keep their own constant
                if layer(self.editor, origin(node)) is not None and len(node.users) == 1:
                    continue
            for user in node.users:
                if user.target is aten.layer_norm.default and len(argument(user, "normalized_shape")) == 1:
                    self.norms.add(user)
                elif self._is_sum(user):
                    waiting.append(user)
                elif node in self.sums:
                    return False
        return True

    def _is_sum(self, node: fx.Node) -> bool:
        plain = node.target is aten.add.Tensor and len(node.all_input_nodes) == len(node.args) == 2 and not node.kwargs
        return plain and all(shape(given)[-1] == shape(node)[-1] for given in node.all_input_nodes)


def _apply(editor: Editor, stream: _Stream) -> None:
    norms = sorted(stream.norms)  # in the same order every time, so that a file has the same bytes
    for addend in sorted(stream.addends):
        _let_read_centred(editor, addend, stream)
    for norm in norms:
        source = norm.args[0]
        assert isinstance(source, fx.Node)
        with editor.before(norm):
            editor.replace(norm, normalised(editor, source, norm))


def _foldable(editor: Editor, addend: fx.Node) -> bool:
    """Whether the mean can be taken out of constants."""
    if editor.value(addend) is not None:
        return True
    if sole_origin(addend) is None:
        return False
    if addend.target is aten.embedding.default:
        return editor.value(addend.args[0]) is not None
    found = layer(editor, origin(addend))
    if found is None or shape(addend)[-1] != found.weight.shape[0]:
        return False
    return bool((channels(found, addend) == torch.arange(found.weight.shape[0])).all())


def _let_read_centred(editor: Editor, addend: fx.Node, stream: _Stream) -> None:
    """Let the stream read an addend without its mean."""

    def of_the_stream(user: fx.Node) -> bool:
        return user in stream.sums or user in stream.norms

    value = editor.value(addend)
    if value is not None:
        new = editor.constant(_without_mean(value, -1))
    elif not _foldable(editor, addend):
        with editor.after(addend):
            new = centred(editor, addend)
    elif addend.target is aten.embedding.default:
        table = editor.value(addend.args[0])
        assert table is not None
        with editor.before(addend):
            new = editor.call(aten.embedding.default, editor.constant(_without_mean(table, -1)), *addend.args[1:])
    else:
        found = layer(editor, origin(addend))
        assert found is not None
        bias = None if found.bias is None else _without_mean(found.bias, 0)
        with editor.before(found.node):
            editor.replace(found.node, rebuilt(editor, found, _without_mean(found.weight, 0), bias))
        return
    addend.replace_all_uses_with(new, delete_user_cb=of_the_stream)
    editor.drop(addend)


def _without_mean(values: Tensor, axis: int) -> Tensor:
    exact = values.double()
    return (exact - exact.mean(axis, keepdim=True)).to(values.dtype)
