"""Compressed constants against coremltools' decompression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.reference.oracle import REFUSED, Case, check, each, floats, ours


def _bytes(*shape: int, dtype: type = np.int8) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.random.default_rng(list(shape)).integers(limits.min, limits.max + 1, shape).astype(dtype)


def _affine(data: np.ndarray, zero_point: Any, scale: Any, axis: int, note: str) -> Case:
    inputs = {"quantized_data": data, "zero_point": zero_point, "scale": scale, "axis": axis}
    return Case("constexpr_affine_dequantize", inputs, opset="iOS16", note=note)


def _blocks(data: np.ndarray, scale: np.ndarray, offset: np.ndarray | None = None, note: str = "") -> Case:
    inputs = {"data": data, "scale": scale} | ({} if offset is None else {"offset": offset})
    return Case(
        "constexpr_blockwise_shift_scale", inputs, opset="iOS18", note=f"{data.shape}{scale.shape}{note}", tolerance=1e-5
    )


_WEIGHT = _bytes(4, 3, 2, 5)
_CHANNELS = (floats(4, low=0.01), floats(3, low=0.01))
CASES = (
    _affine(_WEIGHT, np.int8(0), np.float32(0.02), 0, "scalars"),
    _affine(_WEIGHT, np.int8(-7), np.float32(0.02), 0, "shifted"),
    _affine(_bytes(4, 3, dtype=np.uint8), np.uint8(128), np.float32(0.5), 0, "uint8"),
    _affine(_WEIGHT, _bytes(4), _CHANNELS[0], 0, "axis0"),
    _affine(_WEIGHT, _bytes(3), _CHANNELS[1], 1, "axis1"),
    _affine(_WEIGHT, _bytes(5), floats(5, low=0.01), -1, "last-axis"),
    _affine(_WEIGHT, np.int8(3), _CHANNELS[0], 0, "scalar-zero-point"),
    _affine(_WEIGHT, _bytes(4), np.float32(0.1), 0, "scalar-scale"),
    _affine(_WEIGHT, np.array([0.5, -1.25, 3.0, 0.0], np.float32), _CHANNELS[0], 0, "float-zero-point"),
    _affine(np.array([-128, 127], np.int8), np.int8(127), np.float32(1), 0, "no-wrap"),
    _blocks(_bytes(6, 4), floats(6, 1, low=0.01), note="rows"),
    _blocks(_bytes(6, 4), floats(1, 1, low=0.01), note="tensor"),
    _blocks(_bytes(6, 4), floats(2, 4, low=0.01), note="blocks-of-3"),
    _blocks(_bytes(6, 4), floats(3, 2, low=0.01), note="tiles"),
    _blocks(_bytes(6, 4), floats(6, 4, low=0.01), note="each"),
    _blocks(_bytes(6, 4), floats(6, 2, low=0.01), _bytes(6, 2), note="offset"),
    _blocks(_bytes(6, 4, dtype=np.uint8), floats(3, 1, low=0.01), _bytes(3, 1, dtype=np.uint8), note="uint8"),
    _blocks(_bytes(4, 6, 3, 3), floats(4, 2, 1, 1, low=0.01), floats(4, 2, 1, 1, seed=4), note="float-offset"),
    _blocks(np.array([[-128, 127]], np.int8), np.ones((1, 1), np.float32), np.array([[127]], np.int8), note="no-wrap"),
    _blocks(floats(4, 6), floats(2, 3, low=0.01), note="float-data"),
)


@each(CASES)
def test_agrees(case: Case) -> None:
    check(case)


def test_one_scale_per_block_in_plain_numbers() -> None:
    data = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int8)
    (got,) = ours("constexpr_blockwise_shift_scale", data=data, scale=np.array([[1, 10], [100, 1000]], np.float32))
    assert got.tolist() == [[1, 2, 30, 40], [500, 600, 7000, 8000]]


@pytest.mark.parametrize("scale", [(2,), (2, 3), (4, 1), (2, 0), (2, 8)])
def test_blocks_that_do_not_divide_the_data_are_an_error(scale: tuple[int, ...]) -> None:
    """`scale` of the wrong rank, or with a number of blocks that is no factor of the axis."""
    with pytest.raises(REFUSED):
        ours("constexpr_blockwise_shift_scale", data=_bytes(2, 4), scale=np.ones(scale, np.float32))
