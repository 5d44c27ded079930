"""Self-attention as two batched products and a softmax, with the scale inside the weights of the queries.

Given:  softmax(s q k^T + mask) v of `scaled_dot_product_attention`, where q, k and v are parts of one linear layer's result
        or of three, split into heads in whatever way, and the heads are joined for a linear layer
Result: three linear layers, that of q with weights and bias times s; for all heads h at once, (h, L, d):
            p = softmax(bmm(q, k^T) + mask), bmm(p, v), joined by one transposition
        and the output layer with its columns in the order of the heads

Identity: (s W x)^T k = s (W x)^T k; rows of a packed projection are layers of their own.
Why: the decomposition that export brings guards against rows that are masked everywhere (`eq`, `any`, `where`), which
XNNPACK does not have, and makes `matmul`s with `expand_copy`. Parts of a packed result are copies; separate layers write
where the next operation reads. The scale costs nothing inside the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import Editor, argument, aten, shape
from converters.executorch.passes.views import element_numbers, keeps_order, moves, origin
from converters.executorch.passes.weights import Layer, layer, linear


@dataclass(frozen=True)
class _Part:
    """Queries, keys or values as rows of a layer: for each head and its element the layer's output channel."""

    layer: Layer
    channels: Tensor  # (h, d)


def split(editor: Editor) -> int:
    """Rewrite every attention of batch 1."""
    nodes = editor.calls(aten.scaled_dot_product_attention.default)
    return sum(_rewritten(editor, node) for node in nodes)


def _rewritten(editor: Editor, node: fx.Node) -> bool:
    query, key, value = (argument(node, name) for name in ("query", "key", "value"))
    plain = argument(node, "dropout_p") == 0 and not argument(node, "is_causal") and not argument(node, "enable_gqa")
    if not plain or math.prod(shape(query)[:-3]) != 1:
        return False
    heads, _, width = shape(query)[-3:]
    scale = argument(node, "scale") or 1 / math.sqrt(width)
    with editor.before(node):
        q = _heads(editor, query, "q", scale)
        k = _heads(editor, key, "k", transposed=True)
        v = _heads(editor, value, "v")
        scores = editor.call(aten.bmm.default, q, k)
        mask = argument(node, "attn_mask")
        if mask is not None:
            scores = editor.call(aten.add.Tensor, scores, _mask(editor, mask, heads))
        mixed = editor.call(aten.bmm.default, editor.call(aten.softmax.int, scores, -1), v)
    _join(editor, node, mixed)
    return True


def _heads(editor: Editor, node: fx.Node, role: str, scale: float = 1.0, transposed: bool = False) -> fx.Node:
    """(1, h, L, d) -> (h, L, d) times scale, or (h, d, L)."""
    heads, length, width = shape(node)[-3:]
    part = _part(editor, node)
    if part is None:
        flat = editor.call(aten.reshape.default, node, [heads, length, width])
        flat = flat if scale == 1 else editor.call(aten.mul.Tensor, flat, scale)
        return editor.call(aten.permute.default, flat, [0, 2, 1]) if transposed else flat
    rows = part.channels.reshape(-1)
    bias = None if part.layer.bias is None else part.layer.bias[rows] * scale
    source = _tokens(editor, part.layer.source, length)
    name = part.layer.name if len(rows) == len(part.layer.weight) else f"{part.layer.name}_{role}"
    projected = linear(editor, source, part.layer.weight[rows] * scale, bias, name)
    by_head = editor.call(aten.reshape.default, projected, [length, heads, width])
    return editor.call(aten.permute.default, by_head, [1, 2, 0] if transposed else [1, 0, 2])


def _part(editor: Editor, node: fx.Node) -> _Part | None:
    """Where queries, keys or values come from, if each token's come from the same token of one linear layer."""
    heads, length, width = shape(node)[-3:]
    found = layer(editor, origin(node))
    if found is None or found.is_conv or math.prod(shape(found.node)[:-1]) != length:
        return None
    numbers = element_numbers(node, found.node).reshape(heads, length, width)
    channels = numbers[:, 0, :]
    rows = torch.arange(length)[None, :, None] * found.weight.shape[0]
    return _Part(found, channels) if torch.equal(numbers, channels[:, None, :] + rows) else None


def _tokens(editor: Editor, node: fx.Node, length: int) -> fx.Node:
    """The tokens that a layer reads as (1, L, C), from before they were reshaped, if they only were reshaped."""
    wanted = (1, length, shape(node)[-1])
    source = node
    while moves(source) and shape(source) != wanted:
        source = source.all_input_nodes[0]
    if shape(source) == wanted and keeps_order(node, source):
        return source
    return editor.call(aten.reshape.default, node, list(wanted))


def _mask(editor: Editor, mask: fx.Node, heads: int) -> fx.Node:
    """An additive mask as (1 or h, L, L)."""
    size = list(shape(mask)[-2:])
    count = math.prod(shape(mask)[:-2])
    return editor.call(aten.reshape.default, mask, [heads if count == heads else 1, *size])


def _join(editor: Editor, node: fx.Node, mixed: fx.Node) -> None:
    """Put heads side by side: by the following layer's column order if there is one, else as the graph had them."""
    heads, length, width = shape(mixed)
    with editor.after(mixed):
        side_by_side = editor.call(aten.permute.default, mixed, [1, 0, 2])
        joined = editor.call(aten.reshape.default, side_by_side, [1, length, heads * width])
        found = _following(editor, node)
        if found is None:
            editor.replace(node, editor.call(aten.reshape.default, mixed, list(shape(node))))
            return
        out, order = found
        result = linear(editor, joined, out.weight[:, order], out.bias, out.name)
        editor.replace(out.node, editor.call(aten.reshape.default, result, list(shape(out.node))))


def _following(editor: Editor, node: fx.Node) -> tuple[Layer, Tensor] | None:
    """The linear layer that reads all heads, and which of its columns belongs to each element of each head, (h d)."""
    heads, length, width = shape(node)[-3:]
    at = node
    while len(at.users) == 1 and moves(user := next(iter(at.users))):
        at = user
    found = layer(editor, next(iter(at.users))) if len(at.users) == 1 else None
    if found is None or found.is_conv or shape(at)[-1] != heads * width:
        return None
    numbers = element_numbers(at, node).reshape(length, heads * width)
    places = numbers // (length * width) * width + numbers % width
    in_place = torch.equal(numbers // width % length, torch.arange(length)[:, None].expand_as(numbers))
    if not in_place or not torch.equal(places, places[:1].expand_as(places)):
        return None
    return found, torch.argsort(places[0])
