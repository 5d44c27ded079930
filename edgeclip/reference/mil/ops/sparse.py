"""Compressed constants that hold only what is not zero, and a mask of one bit per place."""

from __future__ import annotations

import math

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Ints, Tensor, later_form, op
from edgeclip.reference.mil.packing import packed_bytes, unpack


def dense(nonzero: Tensor, mask: Tensor) -> Tensor:
    """nonzero: (D,); mask: D ones, in row-major order the places of `nonzero` -> the mask's shape, 0 elsewhere."""
    out = nonzero.new_zeros(mask.shape)
    if nonzero.dim() != 1:
        raise BundleError(f"nonzero data of shape {list(nonzero.shape)} is no list")
    if mask.is_meta:  # shapes only, when a program is loaded
        return out
    places = mask.bool()
    if (count := int(places.sum())) != len(nonzero):
        raise BundleError(f"{len(nonzero)} values for the {count} places of a mask")
    out[places] = nonzero
    return out


def picked(values: Tensor, mask: Tensor, count: int) -> Tensor:
    """What lies at the `count` places of a mask: (count,)."""
    return values.new_empty(count) if mask.is_meta else values[mask.bool()]


@op("constexpr_sparse_to_dense")
def constexpr_sparse_to_dense(*, nonzero_data: Tensor, mask: Tensor, shape: Ints) -> Tensor:
    """iOS16 form: the mask's bits are packed, lowest first, and `shape` says how many there are."""
    count = math.prod(shape)
    if mask.dtype != torch.uint8 or tuple(mask.shape) != (packed_bytes(count, 1),) or min(shape, default=1) < 0:
        raise BundleError(f"a mask of shape {list(mask.shape)} for {list(shape)}")
    if mask.is_meta:
        return nonzero_data.new_empty(shape)
    bits = unpack(mask.numpy(), 1, 8 * len(mask))
    if bits[count:].any():
        raise BundleError("bits beyond the end of the mask")
    return dense(nonzero_data, torch.from_numpy(bits[:count]).reshape(shape))


@later_form("constexpr_sparse_to_dense")
def constexpr_sparse_to_dense_ios18(*, nonzero_data: Tensor, mask: Tensor) -> Tensor:
    return dense(nonzero_data, mask)
