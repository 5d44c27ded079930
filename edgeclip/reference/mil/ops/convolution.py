"""Convolution and pooling over (N, C, *spatial)."""

from __future__ import annotations

import torch.nn.functional as F

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Ints, Tensor, op

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _windows(op: str, x: Tensor, kernel: Ints, strides: Ints | None, dilations: Ints | None) -> tuple[Ints, Ints]:
    """Strides and dilations, 1 where none are given, checked: one positive number for each spatial axis of `x`."""
    ones = (1,) * len(kernel)
    strides, dilations = ones if strides is None else strides, ones if dilations is None else dilations
    if len(kernel) not in _CONV or x.dim() != len(kernel) + 2:
        raise BundleError(f"{op}: {len(kernel)} spatial axes for a tensor of rank {x.dim()}")
    for name, amounts in (("kernel", kernel), ("strides", strides), ("dilations", dilations)):
        if len(amounts) != len(kernel) or min(amounts) < 1:
            raise BundleError(f"{op}: {name} {list(amounts)} for {len(kernel)} spatial axes")
    return strides, dilations


def _padding(op: str, pad_type: str, pad: Ints | None, sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints) -> Ints:
    """(before, after) per spatial axis, first axis first."""
    if pad_type == "valid":
        return (0,) * (2 * len(kernel))
    if pad_type == "custom":
        if pad is None or len(pad) != 2 * len(kernel) or min(pad) < 0:
            raise BundleError(f"{op}: pad_type 'custom' needs two values per axis, 0 or more, got {pad}")
        return pad
    if pad_type in ("same", "same_lower"):
        amounts: list[int] = []
        for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
            span = dilation * (k - 1) + 1
            total = max(0, (-(-size // stride) - 1) * stride + span - size)
            small, large = total // 2, total - total // 2
            amounts += [small, large] if pad_type == "same" else [large, small]
        return tuple(amounts)
    raise BundleError(f"{op}: unknown pad_type {pad_type!r}")


def _symmetric(padding: Ints) -> Ints | None:
    """One amount per axis if both sides are equal, which the convolution itself can do."""
    return padding[::2] if padding[::2] == padding[1::2] else None


def _for_torch_pad(padding: Ints) -> Ints:
    """`F.pad` wants the last axis first."""
    pairs = [padding[k : k + 2] for k in range(0, len(padding), 2)]
    return tuple(amount for pair in reversed(pairs) for amount in pair)


@op("conv")
def conv(
    *,
    x: Tensor,
    weight: Tensor,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
    bias: Tensor | None = None,
) -> Tensor:
    kernel = tuple(weight.shape[2:])
    strides, dilations = _windows("conv", x, kernel, strides, dilations)
    padding = _padding("conv", pad_type, pad, tuple(x.shape[2:]), kernel, strides, dilations)
    amount = _symmetric(padding)
    if amount is None:
        # the padded input is a tensor of its own: `shapes` sees its size when the program is loaded
        x, amount = F.pad(x, _for_torch_pad(padding)), (0,) * len(kernel)
    return _CONV[len(kernel)](x, weight, bias, strides, amount, dilations, groups)


@op("avg_pool")
def avg_pool(
    *,
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    strides, ones = _windows("avg_pool", x, kernel_sizes, strides, None)
    padding = _padding("avg_pool", pad_type, pad, tuple(x.shape[2:]), kernel_sizes, strides, ones)
    amount = _symmetric(padding)
    if amount is None:
        raise BundleError(f"avg_pool: different padding on two sides ({padding}) is not supported")
    return _AVG_POOL[len(kernel_sizes)](
        x, kernel_sizes, strides, amount, ceil_mode=ceil_mode, count_include_pad=not exclude_padding_from_average
    )
