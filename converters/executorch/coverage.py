"""How much of a lowered graph runs in delegates, what is left behind, and why.

Counted are the operations of the graph that ExecuTorch lowers, inside delegates as they were when the backend took them. Not
counted is what moves no number: unpacking of results, and views, which ExecuTorch turns into other shapes of the same memory;
and, in delegates, quantization and dequantization around an operation, which are part of it there.
Multiply-accumulates are those of convolutions and matrix products.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import fx

from converters.executorch.watching import Reasons, plain_name
from edgeclip.manifest import LeftBehind
from edgeclip.target import Delegation

_VIEWS = ("alias", "alias_copy", "view", "view_copy", "_unsafe_view", "squeeze", "squeeze_copy", "unsqueeze", "unsqueeze_copy")
_QUANTIZATION = ("quantize_", "dequantize_", "choose_qparams_")
_UNCOUNTED = frozenset(("getitem", "executorch_call_delegate", "alloc", *_VIEWS))


def coverage(module: fx.GraphModule, reasons: Reasons) -> Delegation:
    """The delegates of a lowered method, the share of operations and of products in them, and the rest."""
    outside = Counter[tuple[str, str]]()
    inside = macs_inside = macs_outside = 0
    delegates = Counter[str]()
    for lowered in _delegates(module):
        delegates[lowered.backend_id] += 1
        for node in _counted(lowered.original_module.graph.nodes):
            inside += not plain_name(node.target).startswith(_QUANTIZATION)
            macs_inside += macs(node)
    for node in _counted(module.graph.nodes):
        name = plain_name(node.target)
        outside[name, reasons.why(node.name, name)] += 1
        macs_outside += macs(node)
    total, macs_total = inside + outside.total(), macs_inside + macs_outside
    return Delegation(
        delegates=dict(delegates),
        ops_percent=round(100 * inside / total, 2) if total else 0.0,
        macs_percent=round(100 * macs_inside / macs_total, 2) if macs_total else 0.0,
        left=tuple(LeftBehind(op=op, count=count, why=why) for (op, why), count in outside.most_common()),
    )


def _delegates(module: fx.GraphModule) -> Iterator[Any]:
    """The lowered modules that the graph calls, once for each call."""
    for node in module.graph.nodes:
        if node.op == "call_function" and plain_name(node.target) == "executorch_call_delegate":
            yield getattr(module, str(node.args[0].target))


def _counted(nodes: Iterable[fx.Node]) -> Iterator[fx.Node]:
    return (node for node in nodes if node.op == "call_function" and plain_name(node.target) not in _UNCOUNTED)


def macs(node: fx.Node) -> int:
    """Multiply-accumulates of a convolution or matrix product; 0 for other operations."""
    rule = _MACS.get(plain_name(node.target))
    return 0 if rule is None else rule(node)


def _shape(node: Any) -> tuple[int, ...]:
    value = node.meta["val"]
    return tuple((value[0] if isinstance(value, (tuple, list)) else value).shape)


def _convolution(node: fx.Node) -> int:
    """Each number of the result is a sum over the kernel and the input channels of its group: weight (O, I / groups, ...)."""
    return math.prod(_shape(node)) * math.prod(_shape(node.args[1])[1:])


def _product(at: int) -> Callable[[fx.Node], int]:
    """Each number of the result is a sum over the last axis of an operand."""
    return lambda node: math.prod(_shape(node)) * _shape(node.args[at])[-1]


def _attention(node: fx.Node) -> int:
    """Scores (..., L, S) from queries and keys of E features, and their products with the values: (..., L, Ev)."""
    query, key, value = (_shape(node.args[at]) for at in range(3))
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


_MACS: dict[str, Callable[[fx.Node], int]] = {
    "convolution": _convolution,
    "conv1d": _convolution,
    "conv2d": _convolution,
    "linear": _product(0),
    "mm": _product(0),
    "bmm": _product(0),
    "matmul": _product(0),
    "addmm": _product(1),
    "scaled_dot_product_attention": _attention,
}
