"""Reductions."""

from __future__ import annotations

import torch

from edgeclip.errors import BundleError
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


@op("reduce_l2_norm")
def reduce_l2_norm(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.linalg.vector_norm(x, dim=all_axes(x, axes), keepdim=keep_dims)


@op("reduce_argmax")
def reduce_argmax(*, x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    if output_dtype not in ("int32", "uint16"):
        raise BundleError(f"reduce_argmax: unknown output_dtype {output_dtype!r}")
    # torch and Core ML both take the first of equal values
    return x.argmax(axis, keepdim=keep_dims).to(torch.int32)
