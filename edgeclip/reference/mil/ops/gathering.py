"""Lookups by index."""

from __future__ import annotations

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import places
from edgeclip.reference.mil.ops.table import Tensor, op
from edgeclip.reference.mil.values import kind


def _checked(op: str, indices: Tensor, size: int) -> Tensor:
    """Indices as int64, negative ones counted from the end; outside is an error here and undefined on a device."""
    if kind(indices.dtype) != "integer":
        raise BundleError(f"{op}: indices must be integers")
    indices = indices.long()
    if indices.is_meta:  # shapes only, when a program is loaded
        return indices
    outside = indices[(indices < -size) | (indices >= size)]
    if outside.numel():
        raise BundleError(f"{op}: index {int(outside[0])} outside an axis of {size}")
    return torch.where(indices < 0, indices + size, indices)


@op("gather")
def gather(*, x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    if batch_dims:
        raise BundleError("gather: batch_dims is not supported")
    (axis,) = places("gather", (axis,), x.dim())
    picked = x.index_select(axis, _checked("gather", indices, x.shape[axis]).reshape(-1))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


@op("gather_nd")
def gather_nd(*, x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    if batch_dims:
        raise BundleError("gather_nd: batch_dims is not supported")
    depth = indices.shape[-1] if indices.dim() else 0
    if not 0 < depth <= x.dim():
        raise BundleError(f"gather_nd: indices {list(indices.shape)} into a tensor of rank {x.dim()}")
    # One row of places per axis, not scalars: torch would read the value of a scalar.
    rows = indices.reshape(-1, depth).unbind(-1)
    picked = x[tuple(_checked("gather_nd", row, x.shape[axis]) for axis, row in enumerate(rows))]
    return picked.reshape((*indices.shape[:-1], *x.shape[depth:]))
