"""Reductions."""

from __future__ import annotations

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import places
from edgeclip.reference.mil.ops.table import Ints, Tensor, op


def all_axes(x: Tensor, axes: Ints | None) -> Ints:
    """`axes`, or where none are given every axis of `x`."""
    return tuple(range(x.dim())) if axes is None else axes


@op("reduce_mean")
def reduce_mean(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return x.mean(all_axes(x, axes), keepdim=keep_dims)


@op("reduce_sum")
def reduce_sum(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return x.sum(all_axes(x, axes), keepdim=keep_dims, dtype=x.dtype)  # torch would widen integers to int64


@op("reduce_max")
def reduce_max(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return x.amax(all_axes(x, axes), keepdim=keep_dims)


@op("reduce_min")
def reduce_min(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return x.amin(all_axes(x, axes), keepdim=keep_dims)


@op("reduce_prod")
def reduce_prod(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    for axis in sorted(places("reduce_prod", all_axes(x, axes), x.dim()), reverse=True):
        x = x.prod(axis, keepdim=keep_dims, dtype=x.dtype)
    return x


@op("reduce_sum_square")
def reduce_sum_square(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return reduce_sum(x=x * x, axes=axes, keep_dims=keep_dims)


@op("reduce_l1_norm")
def reduce_l1_norm(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return reduce_sum(x=x.abs(), axes=axes, keep_dims=keep_dims)


@op("reduce_log_sum")
def reduce_log_sum(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.log(reduce_sum(x=x, axes=axes, keep_dims=keep_dims))


@op("reduce_log_sum_exp")
def reduce_log_sum_exp(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.logsumexp(x, all_axes(x, axes), keepdim=keep_dims)


@op("reduce_l2_norm")
def reduce_l2_norm(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.linalg.vector_norm(x, dim=all_axes(x, axes), keepdim=keep_dims)


def _checked(op: str, output_dtype: str) -> None:
    if output_dtype not in ("int32", "uint16"):
        raise BundleError(f"{op}: unknown output_dtype {output_dtype!r}")


# torch and Core ML both take the first of equal values
@op("reduce_argmax")
def reduce_argmax(*, x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    _checked("reduce_argmax", output_dtype)
    return x.argmax(axis, keepdim=keep_dims).to(torch.int32)


@op("reduce_argmin")
def reduce_argmin(*, x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    _checked("reduce_argmin", output_dtype)
    return x.argmin(axis, keepdim=keep_dims).to(torch.int32)


@op("cumsum")
def cumsum(*, x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Sums up to each place of `axis`, without its own value where `exclusive`; from the other end where `reverse`."""
    (axis,) = places("cumsum", (axis,), x.dim())
    x = x.flip(axis) if reverse else x
    sums = x.cumsum(axis, dtype=x.dtype)  # torch would widen integers to int64
    if exclusive and x.shape[axis]:
        sums = torch.cat([torch.zeros_like(x.narrow(axis, 0, 1)), sums.narrow(axis, 0, x.shape[axis] - 1)], axis)
    return sums.flip(axis) if reverse else sums
