"""Linear layers as 1x1 convolutions.

Given:  y = x W^T + b       x: (..., L, C_in), W: (C_out, C_in)
Result: y = conv1x1(x; W)   x: (N, C_in, H, W), the kernel W as (C_out, C_in, 1, 1)

Identity: a 1x1 convolution applies one matrix to the channels of each position. Nothing is rounded.
Why: the Neural Engine computes convolutions on channels-first maps; `linear` and its transposes are moved around it.
Source: Apple, "Deploying Transformers on the Apple Neural Engine" (2022), principle 1, and its code, ml-ane-transformers.
"""

from __future__ import annotations

from torch import Tensor, nn


def pointwise(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """A 1x1 convolution. Shapes: weight (C_out, C_in), bias (C_out) -> module (N, C_in, H, W) -> (N, C_out, H, W)."""
    return _convolution(weight, bias, groups=1)


def per_channel(scale: Tensor, shift: Tensor | None) -> nn.Conv2d:
    """x * scale + shift as a convolution of one tap per channel. Shapes: scale, shift (C) -> module (N, C, H, W)."""
    return _convolution(scale[:, None], shift, groups=len(scale))


def pointwise_linear(linear: nn.Linear) -> nn.Conv2d:
    """The 1x1 convolution of a linear layer."""
    return pointwise(linear.weight, linear.bias)


def projection(matrix: Tensor | nn.Linear | None) -> nn.Module:
    """What a CLIP tower ends in: x @ matrix, (C_in, C_out); a linear layer; or nothing."""
    if matrix is None:
        return nn.Identity()
    return pointwise_linear(matrix) if isinstance(matrix, nn.Linear) else pointwise(matrix.T, None)


def _convolution(weight: Tensor, bias: Tensor | None, groups: int) -> nn.Conv2d:
    c_out, c_in = weight.shape
    conv = nn.Conv2d(c_in * groups, c_out, 1, groups=groups, bias=bias is not None, device="meta")  # draws no weights
    conv.weight = nn.Parameter(weight.detach().clone()[:, :, None, None], requires_grad=False)
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return conv.eval()
