"""Rules of severity error: what the Neural Engine cannot run. The first that applies names the finding."""

from __future__ import annotations

from converters.coreml.neural_engine.graph import FLOATS, INTEGERS, Graph, Operation
from converters.coreml.neural_engine.lookup import token_lookups
from converters.coreml.neural_engine.operations import DOCUMENTED, INT8_ACTIVATIONS, UNSUPPORTED
from converters.coreml.neural_engine.rule import END_TOKEN, FINITE, HALF, Rule
from converters.coreml.neural_engine.sources import (
    DTYPES,
    GATHER,
    INDICES,
    LIMITS,
    OPS,
    RANGES,
    TRANSFORMERS,
    TYPED,
    WHISPERKIT,
)
from converters.limits import MAX_KERNEL_WIDTH

MAX_RANK = 5
MAX_WIDTH = 16384  # of the last two axes
MAX_CHANNELS = 65536

_GATHERS = frozenset({"gather", "gather_along_axis", "gather_nd"})
_SEARCHES = frozenset({"argsort", "non_maximum_suppression", "reduce_argmax", "reduce_argmin", "topk"})
_CONVOLUTIONS = frozenset({"conv", "conv_transpose"})
_PRODUCTS = frozenset({"linear", "matmul"})


def _runtime_gather(operation: Operation, graph: Graph) -> bool:
    indices = graph.operand(operation, "indices")
    return operation.type in _GATHERS and indices is not None and not graph.is_constant(indices)


def _boolean(operation: Operation, graph: Graph) -> bool:
    return any(kind.dtype == "BOOL" for kind in graph.values(operation))


def _cast(operation: Operation, graph: Graph) -> bool:
    kinds = {"float" if kind.dtype in FLOATS else "integer" for kind in graph.values(operation)}
    return operation.type == "cast" and len(kinds) > 1


def _integer(operation: Operation, graph: Graph) -> bool:
    """Int8 activations are no computing with integers: `quantize` and `dequantize` are part of the products between them."""
    return operation.type not in INT8_ACTIVATIONS and any(kind.dtype in INTEGERS for kind in graph.values(operation))


def _wide_float(operation: Operation, graph: Graph) -> bool:
    """A float result that is not float16, but for the program's interface: the last cast, and the pixels of a picture."""
    names = {name for name, kind in operation.results if kind.dtype in FLOATS - {"FLOAT16"}}
    if not names or names.issubset(graph.pictures):
        return False
    return not (operation.type == "cast" and names.issubset(graph.outputs))


def _rank(operation: Operation, graph: Graph) -> bool:
    return any(kind.rank > MAX_RANK for kind in graph.values(operation))


def _product_rank(operation: Operation, graph: Graph) -> bool:
    return operation.type in _PRODUCTS and any(kind.rank >= MAX_RANK for kind in graph.values(operation))


def _non_finite(operation: Operation, graph: Graph) -> bool:
    return any(not graph.non_finite.isdisjoint(names) for names in operation.operands.values())


def _dynamic(operation: Operation, graph: Graph) -> bool:
    return not graph.enumerated and any(None in kind.shape for kind in graph.values(operation))


def _wide_kernel(operation: Operation, graph: Graph) -> bool:
    width = graph.type_of(operation, "weight").shape[-1] if operation.type in _CONVOLUTIONS else None
    return width is not None and width > MAX_KERNEL_WIDTH


def _extent(operation: Operation, graph: Graph) -> bool:
    for kind in graph.values(operation):
        channels = kind.shape[1] if kind.rank > 2 else None
        spatial = kind.shape[2:] if kind.rank > 2 else kind.shape
        if (channels or 0) > MAX_CHANNELS or any((size or 0) > MAX_WIDTH for size in spatial):
            return True
    return False


def _channel_padding(operation: Operation, graph: Graph) -> bool:
    """`pad` holds (before, after) for the last axes."""
    if operation.type != "pad":
        return False
    amounts = graph.numbers(operation, "pad")
    return amounts is None or any(amounts[:-4])


ERRORS: tuple[Rule, ...] = (
    Rule(
        "token-lookup",
        "error",
        "the table of token embeddings is read by the ids, which only the CPU can; unavoidable in a text model, and a single "
        "switch at the start",
        WHISPERKIT,
        lambda operation, graph: operation.index in token_lookups(graph),
    ),
    Rule(
        "unsupported-operation",
        "error",
        "the Neural Engine has no such operation",
        OPS,
        lambda operation, _: operation.nested or operation.type in UNSUPPORTED,
    ),
    Rule(
        "runtime-gather",
        "error",
        "a gather by indices that are computed runs on the CPU; a product with a one-hot row picks the same",
        GATHER,
        _runtime_gather,
        END_TOKEN,
    ),
    Rule(
        "index-search",
        "error",
        "searches for indices (argmax, top-k, sort) run on the CPU, and so does what reads the indices",
        INDICES,
        lambda operation, _: operation.type in _SEARCHES,
        END_TOKEN,
    ),
    Rule(
        "boolean-compute",
        "error",
        "comparisons, and selections by their results, are of booleans",
        DTYPES,
        _boolean,
        END_TOKEN,
    ),
    Rule(
        "integer-float-cast",
        "error",
        "casts between integers and floats are refused",
        LIMITS,
        _cast,
        END_TOKEN,
    ),
    Rule(
        "integer-compute",
        "error",
        "computes with integers; the Neural Engine's values are float16",
        DTYPES,
        _integer,
        END_TOKEN,
    ),
    Rule(
        "float32-compute",
        "error",
        "float32 runs on the CPU or the GPU; only float16 operations are eligible",
        TYPED,
        _wide_float,
        HALF,
    ),
    Rule("rank", "error", f"more than {MAX_RANK} axes", LIMITS, _rank),
    Rule("product-rank", "error", f"`linear` and `matmul` take fewer than {MAX_RANK} axes", LIMITS, _product_rank),
    Rule(
        "non-finite-constant",
        "error",
        "a constant with infinities or NaNs: float16 arithmetic turns an infinite mask into NaNs",
        TRANSFORMERS,
        _non_finite,
        FINITE,
    ),
    Rule("dynamic-shape", "error", "with a range of shapes only the default shape runs on the Neural Engine", RANGES, _dynamic),
    Rule("wide-kernel", "error", f"a convolution kernel wider than {MAX_KERNEL_WIDTH}", LIMITS, _wide_kernel),
    Rule(
        "extent",
        "error",
        f"an axis longer than {MAX_WIDTH:,} (channels: {MAX_CHANNELS:,})",
        LIMITS,
        _extent,
    ),
    Rule("channel-padding", "error", "padding of other axes than the last two", LIMITS, _channel_padding),
    Rule(
        "undocumented-operation",
        "error",
        "no document says that the Neural Engine has this operation, so it is taken to run on the CPU",
        OPS,
        lambda operation, _: operation.type not in DOCUMENTED,
    ),
)
