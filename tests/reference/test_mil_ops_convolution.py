"""Convolution and pooling against direct sums in float64, with output sizes also from coremltools' shape inference."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from tests.reference.oracle import Case, check, each, floats, ours


def _pads(pad_type: str, pad: Any, sizes: Any, spans: Any, strides: Any) -> list[tuple[int, int]]:
    """Cells before and after each axis. `same` gives ceil(size / stride) outputs, odd cells after (`same_lower`: before)."""
    if pad_type == "valid":
        return [(0, 0) for _ in sizes]
    if pad_type == "custom":
        return [(pad[2 * axis], pad[2 * axis + 1]) for axis in range(len(sizes))]
    pairs = []
    for size, span, stride in zip(sizes, spans, strides, strict=True):
        outputs = (size + stride - 1) // stride
        total = max(0, (outputs - 1) * stride + span - size)
        less, more = total // 2, total - total // 2
        pairs.append((less, more) if pad_type == "same" else (more, less))
    return pairs


def _windows(x: np.ndarray, kernel: Any, strides: Any, dilations: Any) -> np.ndarray:
    """(N, C, *outputs, *kernel): what each output position sees."""
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    outputs = [(size - span) // stride + 1 for size, span, stride in zip(x.shape[2:], spans, strides, strict=True)]
    seen = np.zeros((*x.shape[:2], *outputs, *kernel))
    for place in itertools.product(*map(range, outputs)):
        window = tuple(
            slice(p * stride, p * stride + span, dilation)
            for p, stride, span, dilation in zip(place, strides, spans, dilations, strict=True)
        )
        seen[(slice(None), slice(None), *place)] = x[(slice(None), slice(None), *window)]
    return seen


def _conv(
    *,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    strides: Any = None,
    pad_type: str = "valid",
    pad: Any = None,
    dilations: Any = None,
    groups: int = 1,
) -> np.ndarray:
    kernel = weight.shape[2:]
    strides, dilations = strides or [1] * len(kernel), dilations or [1] * len(kernel)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *_pads(pad_type, pad, x.shape[2:], spans, strides)])
    seen = _windows(padded, kernel, strides, dilations)
    inputs, outputs = x.shape[1] // groups, weight.shape[0] // groups
    axes = list(range(-len(kernel), 0))
    parts = [
        np.moveaxis(
            np.tensordot(
                seen[:, g * inputs : (g + 1) * inputs],
                weight[g * outputs : (g + 1) * outputs].astype(np.float64),
                axes=([1, *axes], [1, *axes]),
            ),
            -1,
            1,
        )
        for g in range(groups)
    ]
    out = np.concatenate(parts, 1)
    return out if bias is None else out + bias.reshape(-1, *[1] * len(kernel))


def _pool_pads(x: np.ndarray, kernel: Any, pad_type: str, strides: Any, pad: Any, ceil_mode: bool) -> tuple[Any, Any]:
    """What is declared, and with room for one more, incomplete window."""
    pads = _pads(pad_type, pad, x.shape[2:], kernel, strides)
    if not ceil_mode:
        return pads, pads
    return pads, [
        (before, after + -(size + before + after - k) % stride)
        for (before, after), size, k, stride in zip(pads, x.shape[2:], kernel, strides, strict=True)
    ]


def _max_pool(
    *, x: np.ndarray, kernel_sizes: Any, pad_type: str = "valid", strides: Any = None, pad: Any = None, ceil_mode: bool = False
) -> np.ndarray:
    strides = strides or [1] * len(kernel_sizes)
    _, beyond = _pool_pads(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    padded = np.pad(x, [(0, 0), (0, 0), *beyond], constant_values=-np.inf)
    return _windows(padded, kernel_sizes, strides, [1] * len(kernel_sizes)).max(tuple(range(-len(kernel_sizes), 0)))


def _avg_pool(
    *,
    x: np.ndarray,
    kernel_sizes: Any,
    pad_type: str = "valid",
    strides: Any = None,
    pad: Any = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> np.ndarray:
    strides = strides or [1] * len(kernel_sizes)
    ones = [1] * len(kernel_sizes)
    pads, beyond = _pool_pads(x, kernel_sizes, pad_type, strides, pad, ceil_mode)
    fill = [(0, 0), (0, 0)]
    total = _windows(np.pad(x.astype(np.float64), fill + beyond), kernel_sizes, strides, ones)
    inside = np.pad(np.ones_like(x), fill + pads, constant_values=0.0 if exclude_padding_from_average else 1.0)
    inside = np.pad(inside, fill + [(0, b[1] - p[1]) for b, p in zip(beyond, pads, strict=True)])
    counts = _windows(inside, kernel_sizes, strides, ones)
    axes = tuple(range(-len(kernel_sizes), 0))
    return total.sum(axes) / counts.sum(axes)


def _convolution(x: tuple[int, ...], weight: tuple[int, ...], bias: bool = False, **rest: Any) -> Case:
    inputs: dict[str, Any] = {"x": floats(*x), "weight": floats(*weight, seed=1), **rest}
    if bias:
        inputs["bias"] = floats(weight[0], seed=2)
    return Case("conv", inputs, _conv, note=f"{x}{weight}{'bias' if bias else ''}", tolerance=1e-5)


_SAME = ("same", "same_lower")
_CONV_CASES = (
    _convolution((2, 3, 7, 8), (4, 3, 3, 3)),
    _convolution((2, 3, 7, 8), (4, 3, 3, 3), bias=True, pad_type="valid"),
    _convolution((1, 3, 7, 8), (4, 3, 1, 1), bias=True),
    _convolution((1, 3, 9, 9), (4, 3, 3, 3), pad_type="custom", pad=(1, 1, 1, 1)),
    _convolution((1, 3, 9, 8), (4, 3, 3, 3), pad_type="custom", pad=(1, 1, 2, 2), bias=True),
    _convolution((1, 3, 9, 8), (4, 3, 3, 3), pad_type="custom", pad=(0, 2, 3, 1)),
    _convolution((1, 3, 9, 8), (4, 3, 3, 3), pad_type="custom", pad=(0, 1, 0, 1), strides=(2, 2)),
    _convolution((1, 3, 9, 8), (4, 3, 3, 2), pad_type="custom", pad=(2, 0, 1, 1), strides=(2, 3), dilations=(2, 1)),
    *(_convolution((1, 2, 7, 8), (3, 2, k, k), pad_type=same) for same in _SAME for k in (1, 2, 3, 4, 5)),
    *(_convolution((1, 2, 7, 8), (3, 2, k, 3), pad_type=same, strides=(2, 3)) for same in _SAME for k in (1, 2, 3)),
    *(_convolution((1, 2, 9, 8), (3, 2, 2, 3), pad_type=same, dilations=(3, 2)) for same in _SAME),
    *(_convolution((1, 2, 9, 9), (3, 2, 2, 1), pad_type=same, strides=(4, 2)) for same in _SAME),
    _convolution((1, 2, 9, 9), (3, 2, 3, 3), dilations=(2, 3)),
    _convolution((1, 4, 6, 6), (6, 2, 3, 3), groups=2, bias=True),
    _convolution((1, 4, 6, 6), (4, 1, 3, 3), groups=4, pad_type="same"),
    _convolution((1, 4, 7, 7), (8, 1, 7, 7), groups=4, pad_type="custom", pad=(3, 3, 3, 3), strides=(2, 2)),
    _convolution((2, 3, 11), (4, 3, 3), bias=True),
    _convolution((2, 3, 11), (4, 3, 4), pad_type="same"),
    _convolution((2, 3, 11), (4, 3, 4), pad_type="same_lower", strides=(2,)),
    _convolution((2, 4, 11), (4, 1, 3), pad_type="custom", pad=(3, 0), groups=4, dilations=(2,)),
    _convolution((1, 96, 1, 13), (96, 1, 1, 11), groups=96, pad_type="custom", pad=(0, 0, 5, 5)),
    _convolution((1, 2, 4, 5, 6), (3, 2, 2, 3, 3), pad_type="same"),
)


def _pool(x: tuple[int, ...], op: str = "avg_pool", **rest: Any) -> Case:
    return Case(op, {"x": floats(*x), **rest}, {"avg_pool": _avg_pool, "max_pool": _max_pool}[op], note=str(x))


_POOL_CASES = (
    _pool((1, 2, 6, 8), kernel_sizes=(2, 2), pad_type="valid", strides=(2, 2)),
    _pool((2, 2, 7, 8), kernel_sizes=(7, 8), pad_type="valid"),
    _pool((1, 2, 7, 8), kernel_sizes=(3, 3), pad_type="same"),
    _pool((1, 2, 7, 9), kernel_sizes=(3, 3), pad_type="same", strides=(2, 2), exclude_padding_from_average=True),
    _pool((1, 2, 7, 9), kernel_sizes=(3, 3), pad_type="same_lower", strides=(2, 2)),
    *(
        _pool(
            (1, 2, 7, 8),
            kernel_sizes=(3, 2),
            pad_type="custom",
            pad=(1, 1, 1, 1),
            strides=(2, 1),
            exclude_padding_from_average=exclude,
        )
        for exclude in (False, True)
    ),
    *(
        _pool(
            (1, 2, 6, 9),
            kernel_sizes=(3, 3),
            pad_type="custom",
            pad=(1, 1, 0, 0),
            strides=(2, 2),
            ceil_mode=True,
            exclude_padding_from_average=exclude,
        )
        for exclude in (False, True)
    ),
    _pool((1, 2, 8, 8), kernel_sizes=(3, 3), pad_type="valid", strides=(2, 2), ceil_mode=True),
    _pool((2, 3, 11), kernel_sizes=(4,), pad_type="valid", strides=(3,)),
    _pool((2, 3, 11), kernel_sizes=(3,), pad_type="custom", pad=(1, 1)),
    _pool((1, 2, 4, 5, 6), kernel_sizes=(2, 2, 3), pad_type="valid"),
)
_EITHER_POOL_CASES = tuple(
    _pool(x, op, kernel_sizes=kernel, **rest)
    for op in ("avg_pool", "max_pool")
    for x, kernel, rest in (
        ((1, 2, 7, 8), (2, 2), {"pad_type": "same"}),
        ((1, 2, 7, 8), (2, 4), {"pad_type": "same_lower", "strides": (2, 3)}),
        ((1, 2, 7, 8), (3, 2), {"pad_type": "custom", "pad": (0, 2, 1, 0), "strides": (1, 2)}),
        ((1, 2, 7, 8), (2, 2), {"pad_type": "custom", "pad": (2, 2, 1, 1)}),
    )
)
_MAX_POOL_CASES = (
    _pool((1, 3, 9, 9), "max_pool", kernel_sizes=(3, 3), pad_type="custom", pad=(1, 1, 1, 1), strides=(2, 2)),  # ResNet's
    _pool((1, 2, 8, 9), "max_pool", kernel_sizes=(3, 2), pad_type="valid", strides=(2, 2), ceil_mode=True),
    _pool((1, 2, 6, 9), "max_pool", kernel_sizes=(3, 3), pad_type="custom", pad=(1, 1, 0, 0), strides=(2, 2), ceil_mode=True),
    _pool((2, 3, 11), "max_pool", kernel_sizes=(4,), pad_type="valid", strides=(3,)),
    _pool((1, 2, 4, 5, 6), "max_pool", kernel_sizes=(2, 2, 3), pad_type="valid"),
)
CASES = (
    *_CONV_CASES,
    *_POOL_CASES,
    *_EITHER_POOL_CASES,
    _pool((1, 2, 7, 9), kernel_sizes=(2, 2), pad_type="same", exclude_padding_from_average=True),
    *_MAX_POOL_CASES,
)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


@each(CASES)
def test_sizes_are_those_that_coremltools_infers(case: Case) -> None:
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb  # noqa: N813
    from coremltools.converters.mil.mil import Function

    with Function({}, opset_version=ct.target.iOS17):
        inferred = getattr(mb, case.op)(**case.inputs).shape
    (got,) = ours(case.op, **case.inputs)
    assert got.shape == tuple(inferred)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"pad_type": "custom"}, "two values per axis"),
        ({"pad_type": "custom", "pad": (1, 1)}, "two values per axis"),
        ({"pad_type": "reflect"}, "unknown pad_type 'reflect'"),
    ],
)
def test_bad_padding_is_refused(rest: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=f"conv.*{message}"):
        ours("conv", x=floats(1, 1, 5, 5), weight=floats(1, 1, 3, 3), **rest)
    with pytest.raises(BundleError, match=f"avg_pool.*{message}"):
        ours("avg_pool", x=floats(1, 1, 5, 5), kernel_sizes=(3, 3), **rest)
