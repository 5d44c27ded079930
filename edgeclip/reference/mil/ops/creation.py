"""Tensors made from sizes, places and numbers."""

from __future__ import annotations

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import places
from edgeclip.reference.mil.ops.table import Number, Sizes, Tensor, op
from edgeclip.reference.mil.values import kind

_LONGEST = 1 << 20  # of a range, which is made when a program is loaded


@op("shape")
def shape(*, x: Tensor) -> Tensor:
    return torch.tensor(x.shape, dtype=torch.int32)


@op("fill")
def fill(*, shape: Sizes, value: Tensor | None = None) -> Tensor:
    filler = torch.tensor(0.0) if value is None else value
    if filler.numel() != 1:
        raise BundleError(f"fill: {filler.numel()} values to fill with")
    return filler.reshape(()).expand(shape)


@op("fill_like")
def fill_like(*, ref_tensor: Tensor, value: Tensor | None = None) -> Tensor:
    return fill(shape=Sizes(ref_tensor.shape), value=value)


@op("range_1d")
def range_1d(*, start: Number, end: Number, step: Number) -> Tensor:
    """As NumPy's `arange`: the end is not reached."""
    if not step or not 0 <= (end - start) / step <= _LONGEST:
        raise BundleError(f"range_1d: from {start} to {end} by {step}")
    whole = all(isinstance(part, int) for part in (start, end, step))
    return torch.arange(start, end, step, dtype=torch.int32 if whole else torch.float32)


@op("one_hot")
def one_hot(
    *,
    indices: Tensor,
    one_hot_vector_size: Number,
    axis: int = -1,
    on_value: Tensor | None = None,
    off_value: Tensor | None = None,
) -> Tensor:
    """`on_value` where an index points to, along a new axis; an index beyond it points nowhere."""
    if kind(indices.dtype) != "integer":
        raise BundleError("one_hot: indices must be integers")
    if not 0 <= one_hot_vector_size <= _LONGEST:
        raise BundleError(f"one_hot: vectors of {one_hot_vector_size}")
    (place,) = places("one_hot", (axis,), indices.dim() + 1)
    positions = torch.arange(int(one_hot_vector_size), dtype=torch.int32, device=indices.device)
    hits = indices.unsqueeze(place) == positions.reshape([-1 if k == place else 1 for k in range(indices.dim() + 1)])
    on = torch.tensor(1, dtype=torch.int32) if on_value is None else on_value.reshape(())
    off = torch.zeros((), dtype=on.dtype) if off_value is None else off_value.reshape(())
    return torch.where(hits, on.to(hits.device), off.to(hits.device))


@op("band_part")
def band_part(*, x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """What lies at most `lower` below and `upper` above the diagonal of the last two axes, 0 elsewhere; negative: all."""
    if x.dim() < 2:
        raise BundleError(f"band_part: a tensor of rank {x.dim()}")
    rows, columns = (torch.arange(size, device=x.device) for size in x.shape[-2:])
    below = rows[:, None] - columns
    inside = torch.ones_like(below, dtype=torch.bool)
    if lower >= 0:
        inside = inside & (below <= lower)
    if upper >= 0:
        inside = inside & (-below <= upper)
    return torch.where(inside, x, torch.zeros((), dtype=x.dtype, device=x.device))
