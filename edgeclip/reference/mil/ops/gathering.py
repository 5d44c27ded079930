"""Lookups by index."""

from __future__ import annotations

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Tensor, op


def _checked(name: str, indices: Tensor, size: int) -> Tensor:
    """Indices as int64, negative ones counted from the end; outside is an error here and undefined on a device."""
    indices = indices.long()
    if indices.numel() and not (-size <= int(indices.min()) and int(indices.max()) < size):
        raise BundleError(f"{name}: index {int(indices.max())} outside an axis of {size}")
    return torch.where(indices < 0, indices + size, indices)


@op("gather")
def gather(*, x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    if batch_dims:
        raise BundleError("gather: batch_dims is not supported")
    axis = axis % x.dim()
    picked = x.index_select(axis, _checked("gather", indices, x.shape[axis]).reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


@op("gather_nd")
def gather_nd(*, x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    if batch_dims:
        raise BundleError("gather_nd: batch_dims is not supported")
    return x[tuple(_checked("gather_nd", part, x.shape[axis]) for axis, part in enumerate(indices.unbind(-1)))]
