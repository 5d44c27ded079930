"""Convolution over (N, C, *spatial)."""

from __future__ import annotations

import torch.nn.functional as F

from edgeclip.reference.mil.ops.table import Ints, Tensor, op
from edgeclip.reference.mil.ops.windows import for_torch_pad, padding, symmetric, windows

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


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
    strides, dilations = windows("conv", x, kernel, strides, dilations)
    amounts = padding("conv", pad_type, pad, tuple(x.shape[2:]), kernel, strides, dilations)
    amount = symmetric(amounts)
    if amount is None:
        # the padded input is a tensor of its own: `shapes` sees its size when the program is loaded
        x, amount = F.pad(x, for_torch_pad(amounts)), (0,) * len(kernel)
    return _CONV[len(kernel)](x, weight, bias, strides, amount, dilations, groups)
