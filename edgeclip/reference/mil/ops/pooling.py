"""Pooling over (N, C, *spatial)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgeclip.reference.mil.ops.table import Ints, Tensor, op
from edgeclip.reference.mil.ops.windows import for_torch_pad, padding, symmetric, windows

_AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAXIMUM = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
Sums = Callable[[Tensor, Ints, Ints], Tensor]  # of all windows of a kernel's size, with strides


def _beyond(sizes: Ints, kernel: Ints, strides: Ints, amounts: Ints) -> Ints:
    """Padding, enlarged at the end so that the last window that starts inside is whole: what `ceil_mode` means."""
    out: list[int] = []
    for axis, (size, k, stride) in enumerate(zip(sizes, kernel, strides, strict=True)):
        before, after = amounts[2 * axis : 2 * axis + 2]
        count = -(-(size + before + after - k) // stride) + 1
        if (count - 1) * stride >= size + before:
            count -= 1
        out += [before, max(after, (count - 1) * stride + k - size - before)]
    return tuple(out)


def window_sums(x: Tensor, kernel: Ints, strides: Ints) -> Tensor:
    """(N, C, *spatial) -> (N, C, *outputs)."""
    return _AVERAGE[len(kernel)](x, kernel, strides) * math.prod(kernel)


def averages(
    x: Tensor,
    sums: Sums,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """Sums of windows by how much of each counts: what lies inside, with or without padding, never what `ceil_mode` adds."""
    strides, ones = windows("avg_pool", x, kernel_sizes, strides, None)
    sizes = tuple(x.shape[2:])
    amounts = padding("avg_pool", pad_type, pad, sizes, kernel_sizes, strides, ones)
    beyond = _beyond(sizes, kernel_sizes, strides, amounts) if ceil_mode else amounts
    inside = F.pad(torch.ones_like(x[:1, :1]), for_torch_pad(amounts), value=0.0 if exclude_padding_from_average else 1.0)
    added = tuple(large - small for large, small in zip(beyond, amounts, strict=True))
    counts = window_sums(F.pad(inside, for_torch_pad(added)), kernel_sizes, strides)
    return sums(F.pad(x, for_torch_pad(beyond)), kernel_sizes, strides) / counts


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
    steps, ones = windows("avg_pool", x, kernel_sizes, strides, None)
    amount = symmetric(padding("avg_pool", pad_type, pad, tuple(x.shape[2:]), kernel_sizes, steps, ones))
    if amount is None or any(2 * a > k for a, k in zip(amount, kernel_sizes, strict=True)):  # more than torch takes
        return averages(x, window_sums, kernel_sizes, strides, pad_type, pad, exclude_padding_from_average, ceil_mode)
    return _AVERAGE[len(kernel_sizes)](
        x, kernel_sizes, steps, amount, ceil_mode=ceil_mode, count_include_pad=not exclude_padding_from_average
    )


@op("max_pool")
def max_pool(
    *,
    x: Tensor,
    kernel_sizes: Ints,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Padding is below every value."""
    strides, ones = windows("max_pool", x, kernel_sizes, strides, None)
    sizes = tuple(x.shape[2:])
    amounts = padding("max_pool", pad_type, pad, sizes, kernel_sizes, strides, ones)
    beyond = _beyond(sizes, kernel_sizes, strides, amounts) if ceil_mode else amounts
    return _MAXIMUM[len(kernel_sizes)](F.pad(x, for_torch_pad(beyond), value=-math.inf), kernel_sizes, strides)
