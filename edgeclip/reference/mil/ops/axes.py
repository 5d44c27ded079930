"""Axes as the format gives them: negative ones count from the end."""

from __future__ import annotations

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Ints, Tensor


def places(op: str, axes: Ints, rank: int) -> Ints:
    """The same axes counted from the start; BundleError if one is not there, or there twice.

    >>> places("layer_norm", (-1, 0), 3)
    (2, 0)
    """
    for axis in axes:
        if not -rank <= axis < rank:
            raise BundleError(f"{op}: axis {axis} of a tensor of rank {rank}")
    found = tuple(axis % rank for axis in axes)
    if len(set(found)) != len(found):
        raise BundleError(f"{op}: axes {list(axes)} name one twice")
    return found


def along(values: Tensor, data: Tensor, axis: int) -> Tensor:
    """A scalar, or one value for each place of `axis`, as float32 that broadcasts with `data`."""
    if values.dim() == 0:
        return values.float()
    (axis,) = places("scale", (axis,), data.dim())
    if values.shape != (data.shape[axis],):
        raise BundleError(f"{list(values.shape)} values for an axis of {data.shape[axis]}")
    return values.float().reshape([-1 if k == axis else 1 for k in range(data.dim())])
