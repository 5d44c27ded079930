"""Lookups by index."""

from __future__ import annotations

import math

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
    """x: (*B, *D, size, *E), indices: (*B, *N) -> (*B, *D, *N, *E), where B are the `batch_dims` first axes of both."""
    (axis,) = places("gather", (axis,), x.dim())
    _check_batch("gather", x, indices, batch_dims)
    if axis < batch_dims:
        raise BundleError(f"gather: axis {axis} among the {batch_dims} of the batch")
    found = _checked("gather", indices, x.shape[axis])
    if not batch_dims:
        picked = x.index_select(axis, found.reshape(-1))
        return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    # Bring the axis behind the batch, pick for each row of the batch, and bring what was picked back.
    rest = x.shape[batch_dims:axis] + x.shape[axis + 1 :]
    rows = x.movedim(axis, batch_dims).reshape(-1, x.shape[axis], *rest)
    flat = found.reshape(len(rows), -1)
    picked = rows[torch.arange(len(rows), device=x.device)[:, None], flat]
    picked = picked.reshape(*x.shape[:batch_dims], flat.shape[1], *rest).movedim(batch_dims, axis)
    return picked.reshape(*x.shape[:axis], *indices.shape[batch_dims:], *x.shape[axis + 1 :])


@op("gather_along_axis")
def gather_along_axis(*, x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    """Each index picks along `axis` in its own row."""
    (axis,) = places("gather_along_axis", (axis,), x.dim())
    sizes = [(a, b) for k, (a, b) in enumerate(zip(x.shape, indices.shape, strict=True)) if k != axis]
    if any(a != b for a, b in sizes):
        raise BundleError(f"gather_along_axis: indices {list(indices.shape)} into {list(x.shape)}")
    return x.gather(axis, _checked("gather_along_axis", indices, x.shape[axis]))


@op("gather_nd")
def gather_nd(*, x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """x: (*B, *D), indices: (*B, *N, depth) -> (*B, *N, *D[depth:]), where B are the `batch_dims` first axes of both."""
    _check_batch("gather_nd", x, indices, batch_dims)
    depth = indices.shape[-1] if indices.dim() > batch_dims else 0
    if not 0 < depth <= x.dim() - batch_dims:
        raise BundleError(f"gather_nd: indices {list(indices.shape)} into a tensor of rank {x.dim()}")
    # One row of places per axis, not scalars: torch would read the value of a scalar.
    batch = math.prod(x.shape[:batch_dims])
    rows = x.reshape(batch, *x.shape[batch_dims:])
    columns = indices.reshape(batch, -1, depth).unbind(-1)
    found = [_checked("gather_nd", column, x.shape[batch_dims + axis]) for axis, column in enumerate(columns)]
    index = (torch.arange(batch, device=x.device)[:, None], *found)
    picked = rows[index]
    return picked.reshape((*indices.shape[:-1], *x.shape[batch_dims + depth :]))


def _check_batch(op: str, x: Tensor, indices: Tensor, batch_dims: int) -> None:
    fits = 0 <= batch_dims <= min(x.dim(), indices.dim()) and x.shape[:batch_dims] == indices.shape[:batch_dims]
    if not fits:
        raise BundleError(f"{op}: {batch_dims} batch_dims of {list(x.shape)} and {list(indices.shape)}")
