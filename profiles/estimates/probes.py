"""The primitives that are timed on this machine: which kernels, on which sizes, and how a chain of each is written.

Sizes are as `edgeclip.operations` has them. They lie about where towers have theirs, but are of no model in particular;
between them `kernels.py` interpolates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from profiles.estimates.delegate import INPUT, OUTPUT, Delegate

_Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Probe:
    """`count` times a kernel in a chain.

    sizes: of each link; with two, they alternate, as in an MLP or in attention. beside: kernels that each link needs besides,
    whose own time is taken off.
    """

    kernel: str
    sizes: tuple[_Sizes, ...]
    count: int
    inputs: tuple[_Sizes, ...]
    program: Callable[[], bytes]
    beside: tuple[tuple[str, _Sizes], ...] = ()


# rows, width in, width out: token counts and stages of towers; a single row is what is done for one token or for the whole
_PRODUCTS = (
    (1, 512, 512), (1, 256, 1024), (8, 128, 128), (16, 256, 1024), (64, 512, 512), (64, 512, 1536), (64, 64, 192),
    (77, 64, 128), (77, 256, 256), (77, 512, 2048), (197, 256, 256), (197, 256, 1024), (256, 256, 768), (1024, 128, 384),
    (4096, 64, 192),
)  # fmt: skip
_MEANS = ((77, 64, 1), (77, 512, 1), (197, 256, 1))
_DENSE = ((128 * 128, 27, 64), (32 * 32, 27, 64), (14 * 14, 768, 256), (8 * 8, 192, 192), (16 * 16, 576, 64))
_DEPTHWISE = (
    *((4096, 64, taps) for taps in (4, 9, 25)),
    *((1024, 128, taps) for taps in (4, 6, 9, 25)),
    *((256, 256, taps) for taps in (4, 6, 9, 25)),
    *((64, 512, taps) for taps in (4, 9, 25)),
    *((64, 64, taps) for taps in (4, 9, 25)),
    (1024, 128, 49),
    (77, 512, 11),
)
_ATTENTION = ((4, 197, 64, 197), (8, 77, 64, 77), (16, 64, 32, 64), (3, 65, 64, 65))
_ROWS = ((4 * 197, 197), (8 * 77, 77), (16 * 64, 64))
_ELEMENTS = (512, 4096, 16384, 65536, 262144, 1048576)
_PRODUCT_TYPES = ("fp32", "fp16", "qdint8-qcint8", "qint8-qcint8", "qdint8-qbint4")
_FLOATS = ("fp32", "fp16")
_UNARY = {
    "gelu": "Gelu",
    "sigmoid": "Sigmoid",
    "reciprocalsquareroot": "ReciprocalSquareRoot",
    "clamp": "Clamp",
    "tanh": "Tanh",
}
_MACS = 4e7  # multiply-adds in a chain, about a millisecond
_CHAIN_ELEMENTS = 2e6
_LONGEST = 24


def probes() -> Iterator[Probe]:
    """All of them, each kernel's together."""
    for dtype in _PRODUCT_TYPES:
        for rows, width, out in _PRODUCTS:
            yield _gemm(dtype, rows, width, out)
    for dtype in _FLOATS:
        for sizes in _MEANS:
            yield _mean(dtype, *sizes)
        for sizes in _DENSE:
            yield _conv(dtype, *sizes)
    for dtype in (*_FLOATS, "qint8-qcint8"):
        for sizes in _DEPTHWISE:
            yield _depthwise(dtype, *sizes)
    for dtype in _FLOATS:
        for count, rows, width, _ in _ATTENTION:
            yield _bmm(dtype, count, rows, width)
        for rows, width in _ROWS:
            yield _simple(f"softmax {dtype}", (rows, width), (1, rows, width), "Softmax", dtype)
    for dtype in (*_FLOATS, "qint8"):
        for elements in _ELEMENTS:
            yield _simple(f"binary {dtype}", (elements,), (1, elements // 64, 64), "Add", dtype, twice=True)
            if dtype != "qint8":  # a process that ran such chains in int8 ended with a corrupted heap; by what is not known
                yield _simple(f"gelu {dtype}", (elements,), (1, elements // 64, 64), "Gelu", dtype)
    for dtype in _FLOATS:
        for elements in _ELEMENTS:
            yield _copy(dtype, elements)
            if elements > 512:
                yield _transpose(dtype, elements, rows=True)
                yield _transpose(dtype, elements, rows=False)
    for dtype in _FLOATS:
        for elements in (512, 65536, 1048576):
            yield _broadcast(dtype, elements)
            for kernel, name in _UNARY.items():
                if kernel != "gelu":
                    yield _simple(f"{kernel} {dtype}", (elements,), (1, elements // 64, 64), name, dtype)
        for places, channels in ((64, 512), (256, 256), (1024, 128)):
            yield _reduce(dtype, places, channels)


def idle() -> Probe:
    """A program that does next to nothing: what calling one takes."""
    return _simple("clamp fp32", (64,), (1, 1, 64), "Clamp", "fp32", most=1)


def _input(graph: Delegate, dims: _Sizes, dtype: str) -> int:
    value = graph.value("fp32", dims, flag=INPUT)
    return value if dtype == "fp32" else _converted(graph, value, dims, dtype)


def _converted(graph: Delegate, value: int, dims: _Sizes, dtype: str) -> int:
    result = graph.value(dtype, dims)
    graph.node("Convert", input_id=value, output_id=result)
    return result


def _close(graph: Delegate, value: int, dims: _Sizes, dtype: str) -> bytes:
    """Copy the last value out; at most a few percent of the chain."""
    result = graph.value("fp32", dims, flag=OUTPUT)
    if dtype == "fp32":
        graph.node("Copy", input_id=value, output_id=result)
    else:
        graph.node("Convert", input_id=value, output_id=result)
    return graph.program()


def _split(dtype: str) -> tuple[str, str, str, str]:
    """(of inputs, of weights, of biases, of results)."""
    inputs, _, weights = dtype.partition("-")
    if not weights:
        return dtype, dtype, dtype, dtype
    return inputs, weights, *(("fp32", "fp32") if inputs == "qdint8" else ("qcint32", inputs))


def _gemm(dtype: str, rows: int, width: int, out: int) -> Probe:
    """Width in -> width out -> width in ...; inputs that are rounded as they come are rounded before each,
    so that the product's time has it in."""
    inputs, weights, biases, results = _split(dtype)
    links = ((rows, width, out), (rows, out, width))
    count = 2 * _links(rows * width * out * 2, _MACS)

    def program() -> bytes:
        graph = Delegate()
        value = _input(graph, (1, rows, width), "fp32" if inputs == "qdint8" else inputs)
        for link in range(count):
            _, into, onto = links[link % 2]
            if inputs == "qdint8":
                value = _converted(graph, value, (1, rows, into), inputs)
            filters = graph.value(weights, (onto, into), constant=True)
            bias = graph.value(biases, (onto,), constant=True)
            result = graph.value(results, (1, rows, onto))
            graph.node("FullyConnected", input1_id=value, filter_id=filters, bias_id=bias, output_id=result)
            value = result
        return _close(graph, value, (1, rows, width), results)

    return Probe(f"gemm {dtype}", links, count, ((1, rows, width),), program)


def _mean(dtype: str, rows: int, width: int, out: int) -> Probe:
    """A row of weights, and its results subtracted, which brings back the width."""
    count = _links(rows * width * 8, _CHAIN_ELEMENTS)

    def program() -> bytes:
        graph = Delegate()
        value = _input(graph, (1, rows, width), dtype)
        for _ in range(count):
            filters = graph.value(dtype, (out, width), constant=True)
            mean, result = graph.value(dtype, (1, rows, out)), graph.value(dtype, (1, rows, width))
            graph.node("FullyConnected", input1_id=value, filter_id=filters, output_id=mean)
            graph.node("Subtract", input1_id=value, input2_id=mean, output_id=result)
            value = result
        return _close(graph, value, (1, rows, width), dtype)

    beside = ((f"broadcast {dtype}", (rows * width,)),)
    return Probe(f"mean {dtype}", ((rows, width, out),), count, ((1, rows, width),), program, beside)


def _window(kernel: int | tuple[int, int], stride: int, padding: tuple[int, int]) -> dict[str, int]:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return {
        "kernel_height": height, "kernel_width": width, "subsampling_height": stride, "subsampling_width": stride,
        "dilation_height": 1, "dilation_width": 1, "padding_top": padding[0], "padding_left": padding[0],
        "padding_bottom": padding[1], "padding_right": padding[1],
    }  # fmt: skip


def _conv(dtype: str, places: int, products: int, filters: int) -> Probe:
    """27 products: 3x3 at stride 2 on RGB; 768: 16x16 patches of RGB; else 3x3 at stride 1. Once."""
    side = math.isqrt(places)
    kernel, stride = (16, 16) if products == 768 else (3, 2 if products == 27 else 1)
    channels = products // kernel**2
    padding = (0, 0) if kernel == 16 else (1, 1 if stride == 1 else 0)
    dims = (1, side * stride, side * stride, channels)

    def program() -> bytes:
        graph = Delegate()
        value = _input(graph, dims, dtype)
        # ExecuTorch keeps weights of convolutions in float32; XNNPACK rounds them when it packs
        weights = graph.value("fp32", (filters, kernel, kernel, channels), constant=True)
        bias = graph.value("fp32", (filters,), constant=True)
        result = graph.value(dtype, (1, side, side, filters))
        graph.node(
            "Conv2d", input1_id=value, filter_id=weights, bias_id=bias, output_id=result, groups=1,
            group_input_channels=channels, group_output_channels=filters, **_window(kernel, stride, padding),
        )  # fmt: skip
        return _close(graph, result, (1, side, side, filters), dtype)

    return Probe(f"conv {dtype}", ((places, products, filters),), 1, (dims,), program)


_SHAPES = {4: (2, 2), 6: (2, 3), 9: (3, 3), 11: (1, 11), 25: (5, 5), 49: (7, 7)}


def _depthwise(dtype: str, places: int, channels: int, taps: int) -> Probe:
    inputs, weights, biases, results = _split(dtype)
    side = math.isqrt(places)
    dims = (1, side, side, channels) if side * side == places else (1, 1, places, channels)
    height, width = _SHAPES[taps]
    window = _window((height, width), 1, (0, 0)) | {
        "padding_top": (height - 1) // 2, "padding_bottom": height // 2,
        "padding_left": (width - 1) // 2, "padding_right": width // 2,
    }  # fmt: skip
    count = _links(places * channels * taps * 4, _MACS)

    def program() -> bytes:
        graph = Delegate()
        value = _input(graph, dims, inputs)
        for _ in range(count):
            stored = weights if weights == "qcint8" else "fp32"
            filters = graph.value(stored, (1, height, width, channels), constant=True, channel_dim=3)
            bias = graph.value(biases if weights == "qcint8" else "fp32", (channels,), constant=True)
            result = graph.value(results, dims)
            graph.node(
                "DepthwiseConv2d", input1_id=value, filter_id=filters, bias_id=bias, output_id=result, groups=channels,
                group_input_channels=1, group_output_channels=1, **window,
            )  # fmt: skip
            value = result
        return _close(graph, value, dims, results)

    return Probe(f"depthwise {dtype}", ((places, channels, taps),), count, (dims,), program)


def _bmm(dtype: str, matrices: int, rows: int, width: int) -> Probe:
    """x -> (x y) x -> ..., as attention has it: y is (width, rows) for each matrix."""
    count = 2 * _links(2 * matrices * rows * rows * width, _MACS)
    first, second = (matrices, rows, width), (matrices, width, rows)

    def program() -> bytes:
        graph = Delegate()
        start, other = _input(graph, first, dtype), _input(graph, second, dtype)
        value = start
        for _ in range(count // 2):
            scores, result = graph.value(dtype, (matrices, rows, rows)), graph.value(dtype, first)
            graph.node("BatchMatrixMultiply", input1_id=value, input2_id=other, output_id=scores)
            graph.node("BatchMatrixMultiply", input1_id=scores, input2_id=start, output_id=result)
            value = result
        return _close(graph, value, first, dtype)

    links = ((matrices, rows, width, rows), (matrices, rows, rows, width))
    return Probe(f"bmm {dtype}", links, count, (first, second), program)


def _simple(
    kernel: str, sizes: _Sizes, dims: _Sizes, name: str, dtype: str, twice: bool = False, most: int = _LONGEST
) -> Probe:
    """An operation that keeps the shape; twice: of the value and the first one."""
    count = min(most, _links(math.prod(dims), _CHAIN_ELEMENTS))

    def program() -> bytes:
        graph = Delegate()
        start = value = _input(graph, dims, dtype)
        for _ in range(count):
            result = graph.value(dtype, dims)
            operands = {"input1_id": value, "input2_id": start} if twice else {"input_id": value}
            graph.node(name, output_id=result, **operands)
            value = result
        return _close(graph, value, dims, dtype)

    return Probe(kernel, (sizes,), count, (dims,), program)


def _broadcast(dtype: str, elements: int) -> Probe:
    dims, column = (1, elements // 64, 64), (1, elements // 64, 1)
    count = _links(elements, _CHAIN_ELEMENTS)

    def program() -> bytes:
        graph = Delegate()
        value, scale = _input(graph, dims, dtype), _input(graph, column, dtype)
        for _ in range(count):
            result = graph.value(dtype, dims)
            graph.node("Multiply", input1_id=value, input2_id=scale, output_id=result)
            value = result
        return _close(graph, value, dims, dtype)

    return Probe(f"broadcast {dtype}", ((elements,),), count, (dims, column), program)


def _copy(dtype: str, elements: int) -> Probe:
    """Reshapes to and fro."""
    dims = ((1, elements // 64, 64), (elements // 64, 8, 8))
    count = 2 * _links(2 * elements, _CHAIN_ELEMENTS)

    def program() -> bytes:
        graph = Delegate()
        value = _input(graph, dims[0], dtype)
        for link in range(count):
            shape = dims[(link + 1) % 2]
            result = graph.value(dtype, shape)
            graph.node("StaticReshape", num_dims=3, new_shape=list(shape), input_id=value, output_id=result)
            value = result
        return _close(graph, value, dims[0], dtype)

    return Probe(f"copy {dtype}", ((elements,),), count, (dims[0],), program)


def _transpose(dtype: str, elements: int, rows: bool) -> Probe:
    """To and fro; rows: the last axis, of 64, stays."""
    dims: _Sizes = (elements // 512, 8, 64) if rows else (1, elements // 64, 64)
    perm = (1, 0, 2) if rows else (0, 2, 1)
    count = 2 * _links(2 * elements, _CHAIN_ELEMENTS)

    def program() -> bytes:
        graph = Delegate()
        value, shape = _input(graph, dims, dtype), dims
        for _ in range(count):
            shape = tuple(shape[axis] for axis in perm)
            result = graph.value(dtype, shape)
            graph.node("StaticTranspose", num_dims=3, perm=list(perm), input_id=value, output_id=result)
            value = result
        return _close(graph, value, dims, dtype)

    return Probe(f"{'rows' if rows else 'transpose'} {dtype}", ((elements,),), count, (dims,), program)


def _reduce(dtype: str, places: int, channels: int) -> Probe:
    """A mean over all places, which a multiplication brings back to all of them."""
    side = math.isqrt(places)
    dims, one = (1, side, side, channels), (1, 1, 1, channels)
    count = _links(4 * places * channels, _CHAIN_ELEMENTS)

    def program() -> bytes:
        graph = Delegate()
        value = _input(graph, dims, dtype)
        for _ in range(count):
            mean, result = graph.value(dtype, one), graph.value(dtype, dims)
            graph.node("GlobalAvgPooling2d", input_id=value, output_id=mean)
            graph.node("Multiply", input1_id=value, input2_id=mean, output_id=result)
            value = result
        return _close(graph, value, dims, dtype)

    beside = ((f"broadcast {dtype}", (places * channels,)),)
    return Probe(f"reduce {dtype}", ((places * channels,),), count, (dims,), program, beside)


def _links(work: float, wanted: float) -> int:
    """Long chains also of what is done by elements: on either end is a conversion, or a copy, as long as a link."""
    least = 1 if wanted == _MACS else 8
    return max(least, min(_LONGEST, round(wanted / work)))
