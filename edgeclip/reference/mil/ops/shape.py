"""Operations that move values without computing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import places
from edgeclip.reference.mil.ops.table import Ints, Sizes, Tensor, op
from edgeclip.reference.mil.ops.windows import for_torch_pad


@op("identity")
def identity(*, x: Tensor) -> Tensor:
    return x


@op("reshape")
def reshape(*, x: Tensor, shape: Sizes) -> Tensor:
    """-1 is inferred; 0 copies the size that lies as far from the last one, or is 1 where there is none.

    That is iOS17's rule; iOS15 has the same one for as many sizes as `x` has axes, and no other.
    """
    sizes = (1,) * (len(shape) - x.dim()) + tuple(x.shape[max(x.dim() - len(shape), 0) :])
    return x.reshape([given or size for given, size in zip(shape, sizes, strict=True)])


@op("transpose")
def transpose(*, x: Tensor, perm: Ints) -> Tensor:
    return x.permute(perm)


@op("squeeze")
def squeeze(*, x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.squeeze(axes) if axes else x.squeeze()


@op("expand_dims")
def expand_dims(*, x: Tensor, axes: Ints) -> Tensor:
    for axis in sorted(places("expand_dims", axes, x.dim() + len(axes))):
        x = x.unsqueeze(axis)
    return x


@op("concat")
def concat(*, values: tuple[Tensor, ...], axis: int, interleave: bool = False) -> Tensor:
    if interleave:
        raise BundleError("concat: interleave is not supported")
    if all(value.dim() == 0 for value in values):  # sizes, which become a shape
        return torch.stack(values, axis)
    return torch.cat(values, axis)


@op("stack")
def stack(*, values: tuple[Tensor, ...], axis: int) -> Tensor:
    return torch.stack(values, axis)


@op("split")
def split(*, x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> tuple[Tensor, ...]:
    if split_sizes is not None:
        return x.split(list(split_sizes), axis)
    if num_splits is None or not 0 < num_splits <= x.shape[axis] or x.shape[axis] % num_splits:
        raise BundleError(f"split: {x.shape[axis]} values do not split into {num_splits} equal parts")
    return x.chunk(num_splits, axis)


@op("tile")
def tile(*, x: Tensor, reps: Sizes) -> Tensor:
    return x.tile(reps)


@op("slice_by_index")
def slice_by_index(
    *,
    x: Tensor,
    begin: Sizes,
    end: Sizes,
    stride: Ints | None = None,
    begin_mask: tuple[bool, ...] | None = None,
    end_mask: tuple[bool, ...] | None = None,
    squeeze_mask: tuple[bool, ...] | None = None,
) -> Tensor:
    """Python's slices; where `squeeze_mask` is set, one index, and the axis goes."""
    none = (False,) * x.dim()
    columns = {
        "begin": begin,
        "end": end,
        "stride": (1,) * x.dim() if stride is None else stride,
        "begin_mask": none if begin_mask is None else begin_mask,
        "end_mask": none if end_mask is None else end_mask,
        "squeeze_mask": none if squeeze_mask is None else squeeze_mask,
    }
    for name, column in columns.items():
        if len(column) != x.dim():
            raise BundleError(f"slice_by_index: {name} has {len(column)} entries for {x.dim()} axes")
    index: list[int | slice] = []
    for first, last, step, from_start, to_end, squeezed in zip(*columns.values(), strict=True):
        if step < 1:
            raise BundleError("slice_by_index: negative strides are not supported")
        if squeezed:
            index.append(0 if from_start else first)
        else:
            index.append(slice(None if from_start else first, None if to_end else last, step))
    return x[tuple(index)]


@op("slice_by_size")
def slice_by_size(*, x: Tensor, begin: Sizes, size: Sizes) -> Tensor:
    """`size` values from `begin`, which counts from the end where it is negative; -1 takes all that follow."""
    if len(begin) != x.dim() or len(size) != x.dim():
        raise BundleError(f"slice_by_size: {len(begin)} starts and {len(size)} sizes for {x.dim()} axes")
    for axis, (first, count) in enumerate(zip(begin, size, strict=True)):
        start = first + x.shape[axis] if first < 0 else first
        x = x.narrow(axis, start, x.shape[axis] - start if count == -1 else count)
    return x


@op("pad")
def pad(*, x: Tensor, pad: Sizes, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """(before, after) for each of the last axes, the first of them first."""
    if len(pad) % 2 or len(pad) > 2 * x.dim() or min(pad, default=0) < 0:
        raise BundleError(f"pad: amounts {list(pad)} for a tensor of rank {x.dim()}")
    if mode == "constant":
        return F.pad(x, for_torch_pad(pad), value=constant_val)
    if mode not in ("reflect", "replicate"):
        raise BundleError(f"pad: unknown mode {mode!r}")
    for axis, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True), x.dim() - len(pad) // 2):
        x = x.index_select(axis, _mirrored(x.shape[axis], before, after, mode, x.device))
    return x


def _mirrored(size: int, before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """Which place each place of a padded axis copies."""
    if size < 1 or (mode == "reflect" and max(before, after) >= size):
        raise BundleError(f"pad: {before} before and {after} after an axis of {size}, by mode {mode}")
    places = torch.arange(-before, size + after, device=device)
    if mode == "replicate":
        return places.clamp(0, size - 1)
    return (size - 1) - ((size - 1) - places.abs()).abs()


@op("reverse")
def reverse(*, x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.flip(places("reverse", tuple(range(x.dim())) if axes is None else axes, x.dim()))


@op("flatten2d")
def flatten2d(*, x: Tensor, axis: int = 1) -> Tensor:
    """Axes before `axis` together, and those from it on."""
    if not -x.dim() <= axis <= x.dim():
        raise BundleError(f"flatten2d: axis {axis} of a tensor of rank {x.dim()}")
    split = axis + x.dim() if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:split]), math.prod(x.shape[split:]))


@op("pixel_shuffle")
def pixel_shuffle(*, x: Tensor, upscale_factor: int) -> Tensor:
    return F.pixel_shuffle(x, upscale_factor)
