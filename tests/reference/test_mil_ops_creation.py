"""Tensors made from sizes, padding, and what moves values by place, against coremltools' evaluation or NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from tests.reference.oracle import REFUSED, Case, check, each, floats, integers, ours

_X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
_SQUARE = np.arange(1, 41, dtype=np.float32).reshape(2, 4, 5)
_IDS = np.array([[0, 2, 5], [4, 1, 7]], np.int32)


def _pad(*, x: np.ndarray, pad: tuple[int, ...], mode: str = "constant", constant_val: float = 0.0) -> np.ndarray:
    amounts = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        return np.pad(x, amounts, constant_values=constant_val)
    return np.pad(x, amounts, mode={"reflect": "reflect", "replicate": "edge"}[mode])  # type: ignore[call-overload]


def _one_hot(
    *, indices: np.ndarray, one_hot_vector_size: int, axis: int = -1, on_value: Any = 1, off_value: Any = 0
) -> np.ndarray:
    """Place by place."""
    kind = np.asarray(on_value).dtype
    out = np.full((*indices.shape, one_hot_vector_size), off_value, kind)
    for place in np.ndindex(indices.shape):
        if 0 <= indices[place] < one_hot_vector_size:
            out[(*place, indices[place])] = on_value
    return np.moveaxis(out, -1, axis)


def _band(*, x: np.ndarray, lower: int = -1, upper: int = -1) -> np.ndarray:
    out = np.zeros_like(x)
    for m, n in np.ndindex(x.shape[-2:]):
        if (lower < 0 or m - n <= lower) and (upper < 0 or n - m <= upper):
            out[..., m, n] = x[..., m, n]
    return out


def _cumsum(*, x: np.ndarray, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> np.ndarray:
    rows = np.moveaxis(x, axis, 0)
    rows = rows[::-1] if reverse else rows
    out = np.zeros_like(rows)
    for k in range(len(rows)):
        out[k] = rows[: k if exclusive else k + 1].sum(0)
    return np.moveaxis(out[::-1] if reverse else out, 0, axis)


def _shuffled(*, x: np.ndarray, upscale_factor: int) -> np.ndarray:
    n, channels, height, width = x.shape
    r = upscale_factor
    parts = x.reshape(n, channels // r**2, r, r, height, width)
    return parts.transpose(0, 1, 4, 2, 5, 3).reshape(n, channels // r**2, height * r, width * r)


_BATCHED: tuple[tuple[tuple[int, ...], tuple[int, ...], int, int], ...] = (
    ((3, 5), (3, 2), 1, 1),
    ((3, 5, 4), (3, 2), 1, 1),
    ((3, 5, 4), (3, 2), 2, 1),
    ((2, 3, 5, 4), (2, 3, 6), 2, 2),
    ((2, 3, 5, 4), (2, 3, 6), 3, 2),
    ((2, 3, 5), (2, 4, 2), -1, 1),
    ((2, 3, 5), (2,), 2, 1),
)


def _gather_batched(*, x: np.ndarray, indices: np.ndarray, axis: int, batch_dims: int) -> np.ndarray:
    rows = [np.take(x[place], indices[place], axis % x.ndim - batch_dims) for place in np.ndindex(x.shape[:batch_dims])]
    return np.stack(rows).reshape(*x.shape[:batch_dims], *rows[0].shape)


def _gather_nd_batched(*, x: np.ndarray, indices: np.ndarray, batch_dims: int) -> np.ndarray:
    out = np.zeros((*indices.shape[:-1], *x.shape[batch_dims + indices.shape[-1] :]), x.dtype)
    for place in np.ndindex(indices.shape[:-1]):
        out[place] = x[(*place[:batch_dims], *indices[place])]
    return out


_LOOKUP_CASES = (
    *(
        Case(
            "gather",
            {"x": floats(*x), "indices": integers(*indices, low=0, high=x[axis]), "axis": axis, "batch_dims": batch_dims},
            _gather_batched,
            note=f"{x}{indices}",
        )
        for x, indices, axis, batch_dims in _BATCHED
    ),
    Case("gather_nd", {"x": floats(3, 5, 4), "indices": integers(3, 2, 1, low=0, high=5), "batch_dims": 1}, _gather_nd_batched),
    Case("gather_nd", {"x": floats(3, 5, 4), "indices": integers(3, 2, low=0, high=4), "batch_dims": 1}, _gather_nd_batched),
    Case(
        "gather_nd", {"x": floats(2, 3, 5), "indices": integers(2, 3, 6, 1, low=0, high=5), "batch_dims": 2}, _gather_nd_batched
    ),
    *(
        Case("gather_along_axis", {"x": floats(3, 4, 5), "indices": integers(*shape, low=0, high=3), "axis": axis})
        for shape, axis in (((7, 4, 5), 0), ((3, 2, 5), 1), ((3, 4, 9), -1))
    ),
)
CASES = (
    *_LOOKUP_CASES,
    Case("shape", {"x": _X}),
    Case("fill", {"shape": (2, 3), "value": np.float32(1.5)}),
    Case("fill", {"shape": (4,), "value": np.int32(7)}),
    Case("fill", {"shape": (2, 1)}, lambda shape: np.zeros(shape, np.float32)),
    Case("fill_like", {"ref_tensor": _X, "value": np.float32(2.5)}, lambda ref_tensor, value: np.full(ref_tensor.shape, value)),
    Case("range_1d", {"start": 2, "end": 17, "step": 4}),
    Case("range_1d", {"start": 5, "end": -3, "step": -2}),
    Case("range_1d", {"start": 0.0, "end": 1.0, "step": 0.25}),
    *(Case("one_hot", {"indices": _IDS, "one_hot_vector_size": 6, "axis": axis}, _one_hot) for axis in (0, 1, 2, -1, -3)),
    Case(
        "one_hot", {"indices": _IDS, "one_hot_vector_size": 8, "on_value": np.float32(3), "off_value": np.float32(-1)}, _one_hot
    ),
    *(
        Case("band_part", {"x": _SQUARE, "lower": lower, "upper": upper}, _band)
        for lower, upper in ((-1, 0), (0, -1), (0, 0), (1, 2), (-1, -1), (3, 1))
    ),
    Case("band_part", {"x": integers(3, 3), "lower": 0}, _band, note="int32"),
    *(
        Case("cumsum", {"x": values, "axis": axis, "exclusive": exclusive, "reverse": reverse}, _cumsum, note=str(values.dtype))
        for values in (integers(3, 4), floats(3, 4))
        for axis in (0, -1)
        for exclusive in (False, True)
        for reverse in (False, True)
    ),
    *(Case("cumsum", {"x": integers(3, 4), "axis": axis}, note="coremltools") for axis in (0, 1)),
    *(Case("pad", {"x": _X, "pad": pad}, _pad) for pad in ((1, 2), (0, 1, 2, 0), (1, 0, 0, 2, 1, 1))),
    Case("pad", {"x": _X, "pad": (1, 1, 2, 0), "mode": "constant", "constant_val": -3.5}, _pad),
    *(Case("pad", {"x": _X, "pad": (1, 2, 3, 2), "mode": mode}, _pad) for mode in ("reflect", "replicate")),
    Case("pad", {"x": _X, "pad": (2, 3), "mode": "replicate"}, _pad),
    *(
        Case("slice_by_size", {"x": _X, "begin": begin, "size": size})
        for begin, size in (((0, 1, 1), (2, 2, 3)), ((1, 0, 2), (1, -1, -1)), ((-1, -2, 0), (1, 1, 4)))
    ),
    *(Case("reverse", {"x": _X, "axes": axes}) for axes in ((0,), (1, -1))),
    Case("reverse", {"x": _X}, note="all"),
    *(
        Case("flatten2d", {"x": _X, "axis": axis}, lambda x, axis: x.reshape(int(np.prod(x.shape[:axis], dtype=int)), -1))
        for axis in (0, 1, 2, -1)
    ),
    Case("pixel_shuffle", {"x": floats(2, 12, 3, 2), "upscale_factor": 2}, _shuffled),
)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("fill", {"shape": (-2, 3)}),
        ("fill", {"shape": (2,), "value": floats(2)}),
        ("range_1d", {"start": 0, "end": 5, "step": 0}),
        ("range_1d", {"start": 0, "end": 5, "step": -1}),
        ("range_1d", {"start": 0, "end": 2**31, "step": 1}),
        ("range_1d", {"start": 0.0, "end": float("nan"), "step": 1.0}),
        ("one_hot", {"indices": floats(2), "one_hot_vector_size": 3}),
        ("one_hot", {"indices": _IDS, "one_hot_vector_size": 2**31}),
        ("one_hot", {"indices": _IDS, "one_hot_vector_size": 4, "axis": 3}),
        ("band_part", {"x": floats(3)}),
        ("pad", {"x": _X, "pad": (1,)}),
        ("pad", {"x": _X, "pad": (-1, 0)}),
        ("pad", {"x": _X, "pad": (0,) * 8}),
        ("pad", {"x": _X, "pad": (4, 0), "mode": "reflect"}),
        ("pad", {"x": _X, "pad": (1, 0), "mode": "circular"}),
        ("slice_by_size", {"x": _X, "begin": (0, 0), "size": (1, 1)}),
        ("slice_by_size", {"x": _X, "begin": (0, 0, 2), "size": (1, 1, 3)}),
        ("slice_by_size", {"x": _X, "begin": (0, 0, 0), "size": (1, 1, -2)}),
        ("flatten2d", {"x": _X, "axis": 4}),
        ("cumsum", {"x": _X, "axis": 3}),
        ("gather", {"x": floats(3, 5), "indices": integers(2, 2, low=0), "axis": 1, "batch_dims": 1}),
        ("gather", {"x": floats(3, 5), "indices": integers(3, 2, low=0, high=3), "axis": 0, "batch_dims": 1}),
        ("gather", {"x": floats(3, 5), "indices": integers(3, low=0, high=3), "axis": 0, "batch_dims": -1}),
        ("gather_nd", {"x": floats(3, 5), "indices": integers(3, 2, low=0), "batch_dims": 1}),
        ("gather_along_axis", {"x": floats(3, 5), "indices": integers(2, 5, low=0), "axis": 1}),
        ("gather_along_axis", {"x": floats(3, 5), "indices": integers(3, low=0), "axis": 1}),
        ("gather_along_axis", {"x": floats(3, 5), "indices": integers(3, 5, low=9, high=10), "axis": 1}),
    ],
)
def test_what_makes_no_sense_is_refused(op: str, inputs: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        ours(op, **inputs)


def test_messages_name_the_operation() -> None:
    with pytest.raises(BundleError, match="gather: 1 batch_dims of"):
        ours("gather", x=floats(3, 5), indices=integers(2, 2, low=0), axis=1, batch_dims=1)
