"""Compressed constants against coremltools' decompression."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeclip.errors import BundleError
from tests.reference.oracle import REFUSED, Case, check, each, floats, integers, ours


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


def _packed(shape: tuple[int, ...], bits: int, lut: np.ndarray | None = None) -> Case:
    """iOS16: a table, and indices packed by NumPy's bits."""
    table = floats(1 << bits) if lut is None else lut
    indices = integers(*shape, low=0, high=1 << bits).astype(np.uint8)
    flags = np.unpackbits(indices.reshape(-1, 1), axis=1, bitorder="little")[:, :bits]
    inputs = {"indices": np.packbits(flags, bitorder="little"), "lut": table, "shape": np.array(shape, np.uint32)}
    return Case("constexpr_lut_to_dense", inputs, opset="iOS16", note=f"{shape}{bits}{table.dtype}")


def _narrow(values: np.ndarray, bits: int) -> np.ndarray:
    """As coremltools marks arrays of few bits."""
    from coremltools.converters.mil.mil import types

    return values.astype(types.nptype_from_builtin(types.string_to_builtin(f"uint{bits}")))


def _tables(
    shape: tuple[int, ...], blocks: tuple[int, ...], bits: int, size: int = 1, lut: Any = None, vector_axis: int | None = None
) -> Case:
    values = floats(*blocks, 1 << bits, size) if lut is None else _bytes(*blocks, 1 << bits, size, dtype=lut)
    inputs = {"indices": _narrow(integers(*shape, low=0, high=1 << bits), bits), "lut": values}
    inputs |= {} if vector_axis is None else {"vector_axis": vector_axis}
    return Case("constexpr_lut_to_dense", inputs, opset="iOS18", note=f"{shape}{blocks}{bits}x{size}{values.dtype}")


def _mask(*shape: int) -> np.ndarray:
    return floats(*shape, seed=7) > 0.3


def _sparse16(shape: tuple[int, ...], dtype: Any = np.float32) -> Case:
    mask = _mask(*shape)
    inputs = {
        "nonzero_data": (9 * floats(int(mask.sum()))).astype(dtype),
        "mask": np.packbits(mask.reshape(-1), bitorder="little"),
        "shape": np.array(shape, np.uint32),
    }
    return Case("constexpr_sparse_to_dense", inputs, _scattered, "iOS16", f"{shape}{dtype.__name__}")


def _scattered(*, nonzero_data: np.ndarray, mask: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """coremltools' own evaluation fails where the number of places is no multiple of 8."""
    out = np.zeros(np.prod(shape), nonzero_data.dtype)
    places = [k for k in range(len(out)) if mask[k // 8] >> (k % 8) & 1]
    out[places] = nonzero_data
    return out.reshape(shape)


def _sparse18(shape: tuple[int, ...], dtype: Any = np.float32) -> Case:
    mask = _mask(*shape)
    inputs = {"nonzero_data": (9 * floats(int(mask.sum()), low=0.0)).astype(dtype), "mask": _narrow(mask, 1)}
    return Case("constexpr_sparse_to_dense", inputs, opset="iOS18", note=f"{shape}{dtype.__name__}")


def _sparse_tables(
    shape: tuple[int, ...], blocks: tuple[int, ...], bits: int, size: int = 1, vector_axis: int | None = None
) -> Case:
    mask = _mask(*shape)
    indices = _narrow(integers(int(mask.sum()), low=0, high=1 << bits), bits)
    inputs = {"indices_mask": _narrow(mask, 1), "indices_nonzero_data": indices, "lut": floats(*blocks, 1 << bits, size)}
    inputs |= {} if vector_axis is None else {"vector_axis": vector_axis}
    return Case("constexpr_lut_to_sparse", inputs, opset="iOS18", note=f"{shape}{blocks}{bits}x{size}")


def _sparse_blocks(shape: tuple[int, ...], blocks: tuple[int, ...], offset: bool) -> Case:
    mask = _mask(*shape)
    inputs = {"data_mask": _narrow(mask, 1), "nonzero_data": _bytes(int(mask.sum())), "scale": floats(*blocks, low=0.01)}
    inputs |= {"offset": _bytes(*blocks)} if offset else {}
    note = f"{shape}{blocks}{offset}"
    return Case("constexpr_sparse_blockwise_shift_scale", inputs, opset="iOS18", note=note, tolerance=1e-5)


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
    *(_packed((5, 7, 3), bits) for bits in (1, 2, 4, 6, 8)),
    # many values are looked up in another way, and very many in a third
    *(_packed((1, 100, 203), bits) for bits in (1, 2, 4, 6, 8)),
    *(_packed((1025, 1027), bits) for bits in (1, 4)),
    _packed((4, 9), 4, lut=_bytes(16)),
    _packed((3,), 2),
    *(_tables((6, 4), (1, 1), bits) for bits in (1, 2, 3, 4, 6, 8)),
    _tables((220, 101), (1, 1), 3),
    *(_tables((6, 4), blocks, 2) for blocks in ((2, 1), (1, 4), (3, 2), (6, 4))),
    _tables((8, 6, 3, 3), (4, 1, 1, 1), 4),
    _tables((8, 6, 3, 3), (2, 3, 1, 3), 4, lut=np.uint8),
    *(_tables((4, 6), (2, 1), 2, size=3, vector_axis=axis) for axis in (0, 1, -1)),
    *(_tables((4, 6, 5), (2, 3, 1), 3, size=2, vector_axis=axis) for axis in (0, 1, -1)),
    _tables((4, 6), (1, 1), 2, vector_axis=1),
    *(_sparse16(shape) for shape in ((5,), (4, 9), (3, 5, 7))),
    _sparse16((4, 9), dtype=np.int8),
    *(_sparse18(shape) for shape in ((5,), (4, 9), (3, 5, 7))),
    _sparse18((4, 9), dtype=np.uint8),
    *(_sparse_tables((6, 4), blocks, 2) for blocks in ((1, 1), (3, 2))),
    *(_sparse_tables((6, 4), (2, 1), 4, size=2, vector_axis=axis) for axis in (0, -1)),
    *(_sparse_blocks((6, 4), blocks, offset) for blocks in ((1, 1), (3, 1), (6, 4)) for offset in (False, True)),
    Case("constexpr_cast", {"source_val": floats(3, 4).astype(np.float16), "output_dtype": "fp32"}, opset="iOS16"),
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


_HALF = np.array([1, 0, 0, 1], np.uint8)
_REFUSALS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("constexpr_lut_to_dense", {"indices": _bytes(4, dtype=np.uint8), "lut": floats(8), "shape": (9,)}, "no table"),
    ("constexpr_lut_to_dense", {"indices": _bytes(4, dtype=np.uint8), "lut": floats(16), "shape": (9,)}, "indices of shape"),
    (
        "constexpr_lut_to_dense",
        {"indices": _bytes(4, dtype=np.uint8), "lut": floats(16), "shape": (-2, -4)},
        "indices of shape",
    ),
    ("constexpr_lut_to_dense", {"indices": _HALF, "lut": floats(1, 4)}, "tables"),
    ("constexpr_lut_to_dense", {"indices": _HALF, "lut": floats(3, 4, 1)}, "tables"),
    ("constexpr_lut_to_dense", {"indices": _HALF, "lut": floats(0, 4, 1)}, "tables"),
    ("constexpr_lut_to_dense", {"indices": _HALF, "lut": floats(1, 4, 2)}, "without a vector_axis"),
    ("constexpr_lut_to_dense", {"indices": _HALF, "lut": floats(1, 4, 2), "vector_axis": 1}, "axis 1 of"),
    ("constexpr_lut_to_dense", {"indices": 4 * _HALF, "lut": floats(1, 4, 1)}, "index 4 into a table of 4"),
    ("constexpr_lut_to_dense", {"indices": 4 * _HALF, "lut": floats(2, 4, 1)}, "index 4 into a table of 4"),
    ("constexpr_sparse_to_dense", {"nonzero_data": floats(3), "mask": _HALF}, "3 values for the 2 places"),
    ("constexpr_sparse_to_dense", {"nonzero_data": floats(1, 2), "mask": _HALF}, "no list"),
    ("constexpr_sparse_to_dense", {"nonzero_data": floats(2), "mask": _HALF[:1] * 3, "shape": (9,)}, "a mask of shape"),
    ("constexpr_sparse_to_dense", {"nonzero_data": floats(2), "mask": _HALF[:1] * 131, "shape": (7,)}, "beyond the end"),
    ("constexpr_blockwise_shift_scale", {"data": _bytes(4), "scale": floats(4), "offset": floats(2)}, "offset"),
    ("constexpr_cast", {"source_val": floats(2), "output_dtype": "int32"}, "unknown dtype 'int32'"),
    ("constexpr_lut_to_dense", {"indices": _HALF, "lut": floats(1, 4, 1), "places": 1}, "unknown input 'places'"),
    ("constexpr_lut_to_dense", {"indices": _HALF, "lut": floats(4), "vector_axis": 1, "shape": (9,)}, "where it takes"),
    (
        "constexpr_lut_to_dense",
        {"lut": floats(4)},
        "inputs lut, where it takes indices, lut, shape; or indices, lut, vector_axis",
    ),
)


@pytest.mark.parametrize(("op", "inputs", "message"), _REFUSALS)
def test_what_does_not_go_together_is_refused(op: str, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        ours(op, **inputs)
