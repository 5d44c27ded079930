"""Compressed constants that are indices into lookup tables (LUTs), decoded when a program is loaded."""

from __future__ import annotations

import math

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import places
from edgeclip.reference.mil.ops.sparse import dense, picked
from edgeclip.reference.mil.ops.table import Ints, Tensor, later_form, op
from edgeclip.reference.mil.packing import look_up, packed_bytes

_BITS = {2: 1, 4: 2, 16: 4, 64: 6, 256: 8}  # by the size of an iOS16 table


@op("constexpr_lut_to_dense")
def constexpr_lut_to_dense(*, indices: Tensor, lut: Tensor, shape: Ints) -> Tensor:
    """iOS16 form: packed indices into one table, row by row into `shape`."""
    bits, count = _BITS.get(lut.numel()), math.prod(shape)
    if bits is None or lut.dim() != 1:
        raise BundleError(f"no table has the shape {list(lut.shape)}")
    if indices.dtype != torch.uint8 or tuple(indices.shape) != (packed_bytes(count, bits),) or min(shape, default=1) < 0:
        raise BundleError(f"indices of shape {list(indices.shape)} for {list(shape)} of {bits} bits")
    if indices.is_meta:  # shapes only, when a program is loaded
        return lut.new_empty(shape)
    return torch.from_numpy(look_up(indices.numpy(), bits, count, lut.numpy())).reshape(shape)


@later_form("constexpr_lut_to_dense")
def constexpr_lut_to_dense_ios18(*, indices: Tensor, lut: Tensor, vector_axis: int | None = None) -> Tensor:
    """iOS18 form: one table per block of indices, of scalars, or of vectors that are laid along `vector_axis`.

    indices: (s0, ..., sk); lut: (b0, ..., bk, entries, size), where bi divides si -> (s0, ..., sk), with the size of
    `vector_axis` multiplied by `size`.
    """
    if (
        lut.dim() != indices.dim() + 2
        or indices.dtype != torch.uint8
        or any(not blocks or size % blocks for size, blocks in zip(indices.shape, lut.shape[:-2], strict=True))
    ):
        raise BundleError(f"tables {list(lut.shape)} for indices {list(indices.shape)}")
    entries, size = lut.shape[-2:]
    axis = _vector_axis(indices, size, vector_axis)
    if not indices.is_meta and indices.numel() and int(indices.max()) >= entries:
        raise BundleError(f"index {int(indices.max())} into a table of {entries}")
    if lut.numel() == entries and not indices.is_meta and entries <= 256:
        return _in_one_table(indices, lut.reshape(-1))
    found = lut.reshape(-1, size).index_select(0, _rows(indices, lut).reshape(-1))
    found = found.reshape(*indices.shape, size)
    return found.movedim(-1, axis + 1).flatten(axis, axis + 1)


@op("constexpr_lut_to_sparse")
def constexpr_lut_to_sparse(
    *, indices_mask: Tensor, indices_nonzero_data: Tensor, lut: Tensor, vector_axis: int | None = None
) -> tuple[Tensor, Tensor]:
    """The same for the places of a mask: the mask, repeated where vectors are laid, and what lies there, row by row."""
    values = constexpr_lut_to_dense_ios18(indices=dense(indices_nonzero_data, indices_mask), lut=lut, vector_axis=vector_axis)
    size = lut.shape[-1]
    mask = indices_mask.repeat_interleave(size, _vector_axis(indices_mask, size, vector_axis))
    return mask, picked(values, mask, indices_nonzero_data.numel() * size)


def _vector_axis(indices: Tensor, size: int, vector_axis: int | None) -> int:
    if vector_axis is None and size == 1:
        return 0  # any would do
    if vector_axis is None:
        raise BundleError(f"vectors of {size} without a vector_axis")
    return places("vector_axis", (vector_axis,), indices.dim())[0]


def _in_one_table(indices: Tensor, table: Tensor) -> Tensor:
    full = table.new_zeros(256)
    full[: len(table)] = table
    packed = indices.contiguous().reshape(-1).numpy()
    return torch.from_numpy(look_up(packed, 8, len(packed), full.numpy())).reshape(indices.shape)


def _rows(indices: Tensor, lut: Tensor) -> Tensor:
    """Where each index points to among the rows of all tables."""
    rows = indices.to(torch.int32)
    stride = lut.shape[-2]
    for axis in reversed(range(indices.dim())):
        blocks = lut.shape[axis]
        if blocks > 1:
            block = torch.arange(blocks, dtype=torch.int32, device=indices.device) * stride
            block = block.repeat_interleave(indices.shape[axis] // blocks)
            rows += block.reshape([-1 if k == axis else 1 for k in range(indices.dim())])
        stride *= blocks
    return rows
