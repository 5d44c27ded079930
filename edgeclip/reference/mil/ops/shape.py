"""Operations that move values without computing."""

from __future__ import annotations

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Ints, Tensor, op


@op("identity")
def identity(*, x: Tensor) -> Tensor:
    return x


@op("reshape")
def reshape(*, x: Tensor, shape: Ints, allowzero: bool = False) -> Tensor:
    # 0 copies the input's size at that place, -1 is inferred
    return x.reshape([x.shape[k] if size == 0 and not allowzero else size for k, size in enumerate(shape)])


@op("transpose")
def transpose(*, x: Tensor, perm: Ints) -> Tensor:
    return x.permute(perm)


@op("squeeze")
def squeeze(*, x: Tensor, axes: Ints | None = None) -> Tensor:
    return x.squeeze(axes) if axes else x.squeeze()


@op("expand_dims")
def expand_dims(*, x: Tensor, axes: Ints) -> Tensor:
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op("concat")
def concat(*, values: tuple[Tensor, ...], axis: int, interleave: bool = False) -> Tensor:
    if interleave:
        raise BundleError("concat: interleave is not supported")
    return torch.cat(values, axis)


@op("stack")
def stack(*, values: tuple[Tensor, ...], axis: int) -> Tensor:
    return torch.stack(values, axis)


@op("split")
def split(*, x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> tuple[Tensor, ...]:
    if split_sizes is not None:
        return x.split(list(split_sizes), axis)
    if not num_splits or x.shape[axis] % num_splits:
        raise BundleError(f"split: {x.shape[axis]} values do not split into {num_splits} equal parts")
    return x.chunk(num_splits, axis)


@op("tile")
def tile(*, x: Tensor, reps: Ints) -> Tensor:
    return x.tile(reps)


@op("slice_by_index")
def slice_by_index(
    *,
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: tuple[bool, ...] | None = None,
    end_mask: tuple[bool, ...] | None = None,
    squeeze_mask: tuple[bool, ...] | None = None,
) -> Tensor:
    rank = x.dim()
    stride = stride or (1,) * rank
    index: list[int | slice] = []
    for axis in range(rank):
        if squeeze_mask and squeeze_mask[axis]:
            index.append(begin[axis])
            continue
        if stride[axis] < 1:
            raise BundleError("slice_by_index: negative strides are not supported")
        start = None if begin_mask and begin_mask[axis] else begin[axis]
        stop = None if end_mask and end_mask[axis] else end[axis]
        index.append(slice(start, stop, stride[axis]))
    return x[tuple(index)]
