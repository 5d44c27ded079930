"""Axes as the format gives them: negative ones count from the end."""

from __future__ import annotations

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Ints


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
