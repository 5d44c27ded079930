"""Operations that move values, against coremltools' evaluation."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.errors import BundleError
from tests.reference.oracle import PROPERTY, REFUSED, Case, check, each, floats, integers, ours

_X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
_WIDE = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
_ONES = np.arange(6, dtype=np.float32).reshape(1, 2, 1, 3, 1)


def _slice(shape: tuple[int, ...], begin: Any, end: Any, **rest: Any) -> Case:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Case("slice_by_index", {"x": x, "begin": begin, "end": end, **rest}, note=str(shape))


_RESHAPES: tuple[tuple[tuple[int, ...], str], ...] = (
    ((4, 6), "iOS15"),
    ((24,), "iOS15"),
    ((-1,), "iOS15"),
    ((2, -1), "iOS16"),
    ((0, 0, 0), "iOS16"),
    ((0, -1, 2), "iOS16"),
    ((0, -1, 2), "iOS17"),
    ((1, 2, 3, 4), "iOS17"),
    # iOS17 counts a 0 from the right: it copies the size that lies as far from the end
    ((1, 2, 0, 0), "iOS17"),
    ((-1, 0), "iOS17"),
    ((0, 2, -1, 0, 2), "iOS17"),
    ((6, 0), "iOS17"),
)
CASES = (
    *(Case("reshape", {"x": _X, "shape": shape}, opset=opset) for shape, opset in _RESHAPES),
    Case("reshape", {"x": floats(1), "shape": (1, 1, -1)}, note="one"),
    Case("reshape", {"x": integers(2, 6), "shape": (3, 4)}, note="int32"),
    *(Case("transpose", {"x": _WIDE, "perm": perm}) for perm in ((3, 2, 1, 0), (0, 2, 1, 3), (0, 1, 3, 2), (-1, 0, -2, 1))),
    *(Case("expand_dims", {"x": _X, "axes": axes}) for axes in ((0,), (3,), (-1,), (-4,), (0, 2), (0, -1), (-1, -2))),
    Case("expand_dims", {"x": _X[0], "axes": (4, 0, 2)}, note="unsorted"),
    Case("expand_dims", {"x": np.float32(3), "axes": (0,)}, note="scalar"),
    *(Case("squeeze", {"x": _ONES, "axes": axes}) for axes in ((0,), (2,), (-1,), (0, 2), (4, 0), (-3, -1), (0, 2, 4))),
    Case("squeeze", {"x": _ONES}, note="all"),
    *(Case("concat", {"values": (_X, _X + 100, _X[:, :, :]), "axis": axis}) for axis in (0, 1, 2, -1, -3)),
    Case("concat", {"values": (_X, _X[:, :1]), "axis": 1}, note="uneven"),
    Case("concat", {"values": (_X,), "axis": -2}, note="one"),
    Case("concat", {"values": (integers(2, 2), integers(2, 3)), "axis": 1}, note="int32"),
    *(Case("stack", {"values": (_X, _X + 100), "axis": axis}) for axis in (0, 1, 3, -1, -4)),
    Case("stack", {"values": (integers(3), integers(3, seed=1)), "axis": 1}, note="int32"),
    *(Case("split", {"x": _WIDE, "axis": axis, "num_splits": parts}) for axis, parts in ((0, 2), (1, 3), (2, 2), (-2, 4))),
    *(
        Case("split", {"x": _WIDE, "axis": axis, "split_sizes": sizes})
        for axis, sizes in ((3, (1, 3, 1)), (-1, (2, 3)), (1, (2, 1)))
    ),
    Case("split", {"x": _WIDE, "axis": 3, "split_sizes": (4, 1), "num_splits": 2}, note="both"),
    *(Case("tile", {"x": _X, "reps": reps}) for reps in ((1, 1, 1), (2, 1, 3), (3, 2, 1))),
    _slice((5, 6), (1, 2), (4, 5)),
    _slice((5, 6), (-3, 0), (-1, -2)),
    _slice((5, 6), (0, 1), (5, 6), stride=(2, 3)),
    _slice((5, 6), (3, 1), (0, 0), end_mask=(True, True)),
    _slice((5, 6), (3, 1), (4, 3), begin_mask=(True, False)),
    _slice((5, 6), (3, 1), (2, 3), begin_mask=(True, True), end_mask=(True, False), stride=(3, 1)),
    _slice((5, 6), (2, 0), (0, 6), squeeze_mask=(True, False)),
    _slice((5, 6), (-1, 1), (0, 3), squeeze_mask=(True, False)),
    _slice((5, 6), (-1, -6), (0, 0), squeeze_mask=(True, True)),
    _slice((5, 6), (3, 0), (0, 6), squeeze_mask=(True, False), begin_mask=(True, False)),
    _slice((5, 6), (0, 0), (100, 2), squeeze_mask=(False, False)),
    _slice((1, 77, 3), (0, 76, 0), (1, 77, 3)),
    _slice((1, 5, 3), (0, 0, 0), (1, 1, 3), squeeze_mask=(False, True, False), end_mask=(True, False, True)),
    _slice((7,), (-100,), (100,)),
    Case("slice_by_index", {"x": integers(4, 4), "begin": (1, 1), "end": (3, 2)}, note="int32"),
)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("reshape", {"x": _X, "shape": (5, 5)}),
        ("reshape", {"x": _X, "shape": (-1, -1)}),
        ("transpose", {"x": _X, "perm": (0, 0, 1)}),
        ("transpose", {"x": _X, "perm": (0, 1)}),
        ("squeeze", {"x": _X, "axes": (3,)}),
        ("expand_dims", {"x": _X, "axes": (4,)}),
        ("expand_dims", {"x": _X, "axes": (-5,)}),
        ("concat", {"values": (_X, _WIDE), "axis": 0}),
        ("concat", {"values": (_X, _X), "axis": 3}),
        ("concat", {"values": (_X, _X), "axis": 0, "interleave": True}),
        ("stack", {"values": (_X, _X[:1]), "axis": 0}),
        ("split", {"x": _X, "axis": 2, "num_splits": 3}),
        ("split", {"x": _X, "axis": 2}),
        ("split", {"x": _X, "axis": 2, "split_sizes": (1, 2)}),
        ("split", {"x": _X, "axis": 2, "split_sizes": (6, -2)}),
        ("split", {"x": _X, "axis": 2, "num_splits": -2}),
        ("tile", {"x": _X, "reps": (1, -1, 1)}),
        ("slice_by_index", {"x": _X, "begin": (0, 0), "end": (1, 1)}),
        ("slice_by_index", {"x": _X, "begin": (0, 0, 0), "end": (1, 1, 1), "stride": (1, 1, -1)}),
        ("slice_by_index", {"x": _X, "begin": (0, 0, 0), "end": (1, 1, 1), "stride": (1, 0, 1)}),
        ("slice_by_index", {"x": _X, "begin": (5, 0, 0), "end": (1, 1, 1), "squeeze_mask": (True, False, False)}),
    ],
)
def test_what_makes_no_sense_is_refused(op: str, inputs: dict[str, Any]) -> None:
    with pytest.raises(REFUSED):
        ours(op, **inputs)


def test_messages_name_the_operation() -> None:
    with pytest.raises(BundleError, match="split: 4 values do not split into 3"):
        ours("split", x=_X, axis=2, num_splits=3)
    with pytest.raises(BundleError, match="concat: interleave"):
        ours("concat", values=(_X, _X), axis=0, interleave=True)
    with pytest.raises(BundleError, match="slice_by_index: negative strides"):
        ours("slice_by_index", x=_X, begin=(0, 0, 0), end=(1, 1, 1), stride=(1, 1, -1))


_SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=6)


@PROPERTY
@given(shape=_SHAPES, data=st.data())
def test_slices_as_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    """Any slice that keeps something; ends beyond an axis are cut, negative ones count from the end, masks ignore them."""
    rank = len(shape)
    starts = [data.draw(st.integers(0, size - 1)) for size in shape]
    stops = [data.draw(st.integers(start + 1, size)) for start, size in zip(starts, shape, strict=True)]
    begin = [start - size if data.draw(st.booleans()) else start for start, size in zip(starts, shape, strict=True)]
    end = [
        data.draw(st.sampled_from([stop, stop - size] if stop < size else [stop, stop + 3]))
        for stop, size in zip(stops, shape, strict=True)
    ]
    stride = [data.draw(st.integers(1, 3)) for _ in shape]
    masks = [tuple(data.draw(st.lists(st.booleans(), min_size=rank, max_size=rank))) for _ in range(3)]
    inputs = {"begin": tuple(begin), "end": tuple(end), "stride": tuple(stride)}
    inputs |= dict(zip(("begin_mask", "end_mask", "squeeze_mask"), masks, strict=True))
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    begins = [0 if ignored else start for start, ignored in zip(starts, masks[0], strict=True)]
    picked = [
        first if squeezed else slice(first, None if to_end else stop, step)
        for first, stop, step, to_end, squeezed in zip(begins, stops, stride, masks[1], masks[2], strict=True)
    ]
    (got,) = ours("slice_by_index", x=x, **inputs)
    np.testing.assert_array_equal(got, x[tuple(picked)])
    if not all(masks[2]):  # coremltools cannot make a scalar here
        check(Case("slice_by_index", {"x": x, **inputs}))


@PROPERTY
@given(shape=_SHAPES, data=st.data())
def test_reshape_and_transpose_as_numpy(shape: tuple[int, ...], data: st.DataObject) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    perm = tuple(data.draw(st.permutations(range(len(shape)))))
    (moved,) = ours("transpose", x=x, perm=perm)
    np.testing.assert_array_equal(moved, np.transpose(x, perm))
    target = [shape[axis] for axis in perm]
    if data.draw(st.booleans()):
        target[data.draw(st.integers(0, len(shape) - 1))] = -1
    (got,) = ours("reshape", x=moved, shape=tuple(target))
    np.testing.assert_array_equal(got, np.transpose(x, perm))
    (flat,) = ours("reshape", x=moved, shape=(-1,))
    np.testing.assert_array_equal(flat, np.ascontiguousarray(np.transpose(x, perm)).reshape(-1))


@PROPERTY
@given(shape=arrays.array_shapes(min_dims=1, max_dims=3, max_side=4), length=st.integers(1, 4), data=st.data())
def test_zeros_in_a_shape_copy_sizes_from_the_right(shape: tuple[int, ...], length: int, data: st.DataObject) -> None:
    """iOS17's rule, by coremltools."""
    zero = [False, *(data.draw(st.booleans()) for _ in range(length - 1))]
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    kept = np.prod([shape[-1 - k] for k in range(length) if zero[-1 - k] and k < len(shape)], dtype=int)
    target = tuple(0 if keep else 1 for keep in zero[1:])
    assert x.size % kept == 0
    check(Case("reshape", {"x": x, "shape": (-1, *target)}))
