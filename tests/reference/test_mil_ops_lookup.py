"""Lookups by index and reductions against coremltools' evaluation."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.errors import BundleError
from tests.reference.oracle import PROPERTY, REFUSED, Case, check, each, floats, integers, ours

_TABLE = floats(6, 4)
_CUBE = floats(3, 4, 5)


def _gather_nd(*, x: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
    """One place at a time."""
    out = np.zeros((*indices.shape[:-1], *x.shape[indices.shape[-1] :]), x.dtype)
    for place in np.ndindex(indices.shape[:-1]):
        out[place] = x[tuple(indices[place])]
    return out


def _int32(values: Any) -> np.ndarray:
    return np.array(values, np.int32)


_GATHER_CASES = (
    Case("gather", {"x": _TABLE, "indices": _int32([0, 5, 2, 2]), "axis": 0}),
    Case("gather", {"x": _TABLE, "indices": _int32([0, 5, 2, 2])}, note="default-axis"),
    Case("gather", {"x": _TABLE, "indices": _int32([[0, 3], [1, 1], [2, 0]]), "axis": 1}),
    Case("gather", {"x": _TABLE, "indices": _int32([[0, 3], [1, 1]]), "axis": -1}, note="2d-indices"),
    Case("gather", {"x": _TABLE, "indices": _int32([-1, -6, 5]), "axis": 0}, note="negative-indices"),
    Case("gather", {"x": _CUBE, "indices": _int32([[-1, 0], [-4, 3]]), "axis": -2}, note="negative-indices"),
    Case("gather", {"x": _CUBE, "indices": np.int32(2), "axis": 1}, note="scalar-index"),
    Case("gather", {"x": floats(7), "indices": np.int32(-2), "axis": 0}, note="scalar-of-vector"),
    Case("gather", {"x": integers(5, 2), "indices": _int32([4, 0]), "axis": 0, "validate_indices": True}, note="int32"),
    Case("gather", {"x": _TABLE, "indices": np.array([5, 0], np.uint8), "axis": 0}, note="uint8-indices"),
    Case("gather", {"x": _TABLE, "indices": _int32([1, 4]), "axis": 0}, opset="iOS16"),
    Case("gather", {"x": _TABLE, "indices": _int32([1, 4]), "axis": 0}, opset="iOS15"),
    Case("gather_nd", {"x": _TABLE, "indices": _int32([[0, 1], [5, 3], [2, 0]])}, _gather_nd),
    Case("gather_nd", {"x": _CUBE, "indices": _int32([[0, 1], [2, 3]])}, _gather_nd, note="rows"),
    Case("gather_nd", {"x": _CUBE, "indices": _int32([[[1], [2]], [[0], [0]]])}, _gather_nd, note="planes"),
    Case("gather_nd", {"x": _CUBE, "indices": _int32([1, 2, 3])}, _gather_nd, note="scalar"),
    Case("gather_nd", {"x": _CUBE, "indices": _int32([[-1, 0], [0, -4]])}, _gather_nd, note="negative"),
)
_TIES = np.array([[1, 3, 3, 0], [2, 2, 2, 2], [-1, -1, -3, -1], [0, 5, 4, 5]], np.float32)
_REDUCTIONS = (
    "reduce_l1_norm",
    "reduce_l2_norm",
    "reduce_log_sum_exp",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
    "reduce_sum_square",
)
_REDUCTION_CASES = (
    *(
        Case(op, {"x": _CUBE, "axes": axes, "keep_dims": keep}, tolerance=2e-6)
        for op in _REDUCTIONS
        for axes in ((0,), (-1,), (1, 2), (0, -1), (0, 1, 2))
        for keep in (False, True)
    ),
    *(Case(op, {"x": _CUBE}, note="all", tolerance=4e-6) for op in _REDUCTIONS),
    *(Case(op, {"x": _CUBE, "keep_dims": True}, note="all", tolerance=4e-6) for op in _REDUCTIONS),
    Case("reduce_log_sum", {"x": floats(3, 4, low=0.1), "axes": (1,)}),
    *(Case("reduce_argmin", {"x": -_TIES, "axis": axis, "keep_dims": keep}) for axis in (0, -1) for keep in (False, True)),
    Case("reduce_sum", {"x": integers(3, 4), "axes": (1,)}, note="int32"),
    *(Case("reduce_argmax", {"x": _TIES, "axis": axis, "keep_dims": keep}) for axis in (0, 1, -1) for keep in (False, True)),
    Case("reduce_argmax", {"x": _TIES}, note="defaults"),
    Case("reduce_argmax", {"x": _CUBE, "axis": -2, "output_dtype": "uint16"}),
    Case("reduce_argmax", {"x": _int32([[0, 49406, 320, 49407, 0, 49407]]), "axis": 1}, note="token-ids"),
    Case("reduce_argmax", {"x": _CUBE, "axis": 1, "keep_dims": True}, opset="iOS16"),
)
CASES = (*_GATHER_CASES, *_REDUCTION_CASES)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("bad", [6, -7, 2**31 - 1, -(2**31)])
def test_an_index_outside_the_axis_is_an_error(bad: int) -> None:
    """A device gives anything here; a reference must not."""
    with pytest.raises(BundleError, match=f"gather: index {bad} outside an axis of 6"):
        ours("gather", x=_TABLE, indices=_int32([0, bad, 3]), axis=0)
    with pytest.raises(BundleError, match=f"gather_nd: index {bad} outside an axis of 6"):
        ours("gather_nd", x=_TABLE, indices=_int32([[0, 0], [bad, 1]]))


def test_no_indices_give_no_rows() -> None:
    (got,) = ours("gather", x=_TABLE, indices=np.zeros((0,), np.int32), axis=0)
    assert got.shape == (0, 4)


@pytest.mark.parametrize("axis", [2, 5, -3])
def test_an_axis_that_is_not_there_is_an_error(axis: int) -> None:
    with pytest.raises(REFUSED):
        ours("gather", x=_TABLE, indices=_int32([0]), axis=axis)


def test_integer_sums_stay_int32() -> None:
    (got,) = ours("reduce_sum", x=integers(3, 4), axes=(0,))
    assert got.dtype == np.int32


@PROPERTY
@given(data=st.data(), shape=arrays.array_shapes(max_dims=4, max_side=5))
def test_gather_as_numpy_take(data: st.DataObject, shape: tuple[int, ...]) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    indices = data.draw(
        arrays.arrays(np.int32, arrays.array_shapes(max_dims=2, max_side=4), elements=st.integers(-size, size - 1))
    )
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    (got,) = ours("gather", x=x, indices=indices, axis=axis)
    np.testing.assert_array_equal(got, np.take(x, indices, axis))


@PROPERTY
@given(x=arrays.arrays(np.int32, arrays.array_shapes(max_dims=3, max_side=6), elements=st.integers(-2, 2)), data=st.data())
def test_argmax_takes_the_first_of_equals(x: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    (got,) = ours("reduce_argmax", x=x, axis=axis)
    np.testing.assert_array_equal(got, np.argmax(x, axis))
