"""Rules of severity warning: what runs on the Neural Engine, but has a better form."""

from __future__ import annotations

import math

from converters.coreml.neural_engine.graph import Graph, Operation
from converters.coreml.neural_engine.operations import INT8_ACTIVATIONS, NEWER_CHIPS
from converters.coreml.neural_engine.rule import CONVOLUTIONS, HEADS, Rule
from converters.coreml.neural_engine.sources import (
    ANE_TRANSFORMERS,
    FLEXIBLE,
    HOLLANCE,
    LIMITS,
    OPS,
    QUANTIZATION,
    TRANSFORMERS,
)

ALIGNMENT_BYTES = 64
LARGE_BYTES = 2 * 1024 * 1024
TALL_KERNEL = 13
CORES = 4
_TILES = frozenset({1, 2, 3, 4, 8})

_COPIES = frozenset({"reshape", "transpose"})
# What only renames axes or changes the type: the shape of its result is decided by others.
_VIEWS = INT8_ACTIVATIONS | {"cast", "expand_dims", "reshape", "slice_by_index", "split", "squeeze", "transpose"}
_CONVOLUTIONS = frozenset({"conv", "conv_transpose"})
# What stands between the product of queries and keys and its softmax.
_MASKS = frozenset({"add", "maximum", "mul", "real_div", "select", "sub"})
_GATHERS = frozenset({"gather", "gather_along_axis", "gather_nd"})


def _linear(operation: Operation, graph: Graph) -> bool:
    """A product with a constant weight, other than a convolution."""
    if operation.type == "linear":
        return True
    return operation.type == "matmul" and len(graph.runtime(operation)) == 1


def _whole_attention(operation: Operation, graph: Graph) -> bool:
    """A product before or after a softmax, for several heads at once."""
    if operation.type == "scaled_dot_product_attention":
        return math.prod(size or 1 for size in operation.result.shape[1:-2]) > 1
    if operation.type != "matmul" or math.prod(size or 1 for size in operation.result.shape[:-2]) <= 1:
        return False
    makers = [graph.makers[name] for name in graph.runtime(operation) if name in graph.makers]
    return any(maker.type == "softmax" for maker in makers) or _reaches_softmax(operation, graph)


def _reaches_softmax(operation: Operation, graph: Graph, steps: int = 3) -> bool:
    """Whether a softmax reads the result, as it is or scaled, masked and clamped."""
    readers = [reader for name, _ in operation.results for reader in graph.readers.get(name, ())]
    return any(
        reader.type == "softmax" or (steps > 0 and reader.type in _MASKS and _reaches_softmax(reader, graph, steps - 1))
        for reader in readers
    )


def _softmax_axis(operation: Operation, graph: Graph) -> bool:
    if operation.type != "softmax":
        return False
    rank = operation.result.rank
    axis = (graph.numbers(operation, "axis") or (-1,))[0]
    return rank != 4 or axis % rank != 1


def _rank(operation: Operation, graph: Graph) -> bool:
    return operation.type not in _VIEWS and operation.result.rank != 4


def _unaligned(operation: Operation, graph: Graph) -> bool:
    kind = operation.result
    if operation.type in _VIEWS or not kind.shape or kind.elements is None or kind.size_bytes is None or not kind.elements:
        return False
    last = kind.shape[-1]
    assert last is not None
    return last * (kind.size_bytes // kind.elements) % ALIGNMENT_BYTES != 0


def _copies(operation: Operation, graph: Graph) -> bool:
    """One transposition for each attention (of its keys), and one on either end, are in Apple's own implementation."""
    if operation.type not in _COPIES:
        return False
    attentions = sum(graph.counts[name] for name in ("softmax", "scaled_dot_product_attention"))
    return sum(graph.counts[name] for name in _COPIES) > attentions + 2


def _tall_kernel(operation: Operation, graph: Graph) -> bool:
    if operation.type not in _CONVOLUTIONS:
        return False
    weight = graph.type_of(operation, "weight")
    return weight.rank > 3 and (weight.shape[-2] or 0) > TALL_KERNEL


def _dilated(operation: Operation, graph: Graph) -> bool:
    return operation.type in _CONVOLUTIONS and any(size > 1 for size in graph.numbers(operation, "dilations") or ())


def _groups(operation: Operation, graph: Graph) -> bool:
    if operation.type not in _CONVOLUTIONS:
        return False
    groups = (graph.numbers(operation, "groups") or (1,))[0]
    x = graph.type_of(operation, "x")
    return bool(groups != x.shape[1] and CORES % groups)


def _constant_gather(operation: Operation, graph: Graph) -> bool:
    return operation.type in _GATHERS


def _tile(operation: Operation, graph: Graph) -> bool:
    return operation.type == "tile" and not _TILES.issuperset(graph.numbers(operation, "reps") or (0,))


def _large(operation: Operation, graph: Graph) -> bool:
    return any((kind.size_bytes or 0) > LARGE_BYTES for kind in graph.values(operation))


def _enumerated(operation: Operation, graph: Graph) -> bool:
    return graph.enumerated and any(None in kind.shape for kind in graph.values(operation))


WARNINGS: tuple[Rule, ...] = (
    Rule(
        "linear-layer",
        "warning",
        "a product with a constant weight runs best as a 1x1 convolution",
        TRANSFORMERS,
        _linear,
        CONVOLUTIONS,
    ),
    Rule(
        "whole-attention",
        "warning",
        "one product for all heads: one for each head keeps the parts small enough to stay in the cache",
        TRANSFORMERS,
        _whole_attention,
        HEADS,
    ),
    Rule("softmax-axis", "warning", "softmax runs best over axis 1 of 4 axes", ANE_TRANSFORMERS, _softmax_axis, HEADS),
    Rule(
        "many-copies",
        "warning",
        "copies of memory; the layout (N, C, 1, L) needs hardly any",
        TRANSFORMERS,
        _copies,
        CONVOLUTIONS,
    ),
    Rule(
        "rank-not-4",
        "warning",
        "the Neural Engine's own layout has 4 axes, channels second",
        TRANSFORMERS,
        _rank,
        CONVOLUTIONS,
    ),
    Rule(
        "unaligned-axis",
        "warning",
        f"the last axis is padded to a multiple of {ALIGNMENT_BYTES} bytes",
        TRANSFORMERS,
        _unaligned,
    ),
    Rule(
        "tall-kernel",
        "warning",
        f"a kernel higher than {TALL_KERNEL} runs only where the input is high enough, and not on all chips",
        LIMITS,
        _tall_kernel,
    ),
    Rule(
        "dilated-convolution",
        "warning",
        "documents disagree whether dilated convolutions run; measure",
        HOLLANCE,
        _dilated,
    ),
    Rule(
        "grouped-convolution",
        "warning",
        f"groups that do not divide the {CORES} cores leave some idle; depthwise convolutions have a path of their own",
        LIMITS,
        _groups,
    ),
    Rule(
        "constant-gather",
        "warning",
        "a gather, even by constant indices, may fall back; slices do not",
        HOLLANCE,
        _constant_gather,
    ),
    Rule(
        "tile", "warning", "copies by other factors than 2, 3, 4 and 8; arithmetic repeats an axis of one by itself", OPS, _tile
    ),
    Rule(
        "large-activation",
        "warning",
        f"a value of more than {LARGE_BYTES >> 20} MB does not fit the memory on the chip and is streamed in parts",
        LIMITS,
        _large,
    ),
    Rule(
        "newer-chips",
        "warning",
        "runs on newer chips only (A14 and later, some A15)",
        OPS,
        lambda operation, _: operation.type in NEWER_CHIPS,
    ),
    Rule(
        "int8-activations",
        "warning",
        "products of 8-bit activations gain speed from the A17 Pro on; earlier chips compute them in float16",
        QUANTIZATION,
        lambda operation, _: operation.type == "quantize",
    ),
    Rule(
        "enumerated-shape",
        "warning",
        "each of the listed shapes is compiled on its own; one shape loads sooner",
        FLEXIBLE,
        _enumerated,
    ),
)
