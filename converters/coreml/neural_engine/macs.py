"""Multiply-adds of the operations that are sums of products, from declared shapes.

Everything else (norms, activations, softmax, additions) counts as 0, as PyTorch's `torch.utils.flop_counter` has it, whose
figures are twice these.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from converters.coreml.neural_engine.graph import Graph, Operation, Type

_Count = Callable[[Operation, Graph], "int | None"]


def multiply_adds(operation: Operation, graph: Graph) -> int | None:
    """How many multiply-adds an operation is; None where flexible shapes or control flow leave that open.

    `linear` of x (65, 144) with weight (432, 144): 65 * 432 * 144 = 4,043,520.
    """
    if operation.nested:
        return None
    count = _COUNTS.get(operation.type)
    return 0 if count is None else count(operation, graph)


def _times(*parts: int | None) -> int | None:
    known = [part for part in parts if part is not None]
    return math.prod(known) if len(known) == len(parts) else None


def _conv(operation: Operation, graph: Graph) -> int | None:
    """weight: (C_out, C_in / groups, *kernel); every result needs one filter."""
    return _times(operation.result.elements, *graph.type_of(operation, "weight").shape[1:])


def _conv_transpose(operation: Operation, graph: Graph) -> int | None:
    """weight: (C_in, C_out / groups, *kernel); every input value is spread over one filter."""
    return _times(graph.type_of(operation, "x").elements, *graph.type_of(operation, "weight").shape[1:])


def _linear(operation: Operation, graph: Graph) -> int | None:
    """weight: (C_out, C_in)."""
    return _times(operation.result.elements, graph.type_of(operation, "weight").shape[-1])


def _matmul(operation: Operation, graph: Graph) -> int | None:
    """x: (..., M, K), or (..., K, M) with transpose_x."""
    x = graph.type_of(operation, "x")
    transposed = (graph.numbers(operation, "transpose_x") or (False,))[0]
    return _times(operation.result.elements, x.shape[-2 if transposed and x.rank > 1 else -1])


def _attention(operation: Operation, graph: Graph) -> int | None:
    """query (..., L, E), key (..., S, E), value (..., S, V): L S (E + V) for each of the leading axes."""
    query, key, value = (graph.type_of(operation, name) for name in ("query", "key", "value"))
    width = (query.shape[-1], value.shape[-1])
    both = None if None in width else sum(size for size in width if size is not None)
    return _times(*query.shape[:-1], key.shape[-2], both)


def _einsum(operation: Operation, graph: Graph) -> int | None:
    """One product for each combination of all indices: `bchq,bkhc->bkhq` is b c h q k."""
    equation = graph.numbers(operation, "equation")
    if equation is None:
        return None
    terms = str(equation[0]).replace(" ", "").split("->")[0].split(",")
    kinds: list[Type] = [graph.types[name] for name in operation.operands.get("values", ())]
    sizes: dict[str, int | None] = {}
    for term, kind in zip(terms, kinds, strict=True):
        for letter, size in zip(term, kind.shape, strict=True):
            if sizes.get(letter, 1) == 1:  # an axis of one is repeated
                sizes[letter] = size
    return _times(*sizes.values())


_COUNTS: dict[str, _Count] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "einsum": _einsum,
    "linear": _linear,
    "matmul": _matmul,
    "scaled_dot_product_attention": _attention,
}
