"""Patch embeddings whose kernel is too wide.

Given:  a convolution of kernel p x p and stride p, no padding, p > 13 (ViT: 14, 16, 32)
Result: a convolution of kernel a x a and stride a that only sorts: each pixel of an a x a square to a channel of its own;
        then one of kernel p/a and stride p/a on 3 a a channels, with the same weights

        p = 16, a = 2:  (N, 3, 224, 224) -> (N, 12, 112, 112) -> (N, C, 14, 14)

Identity: patches do not overlap, so a patch is (p/a)^2 squares of a x a pixels. One-hot kernels round nothing.
Why: the Neural Engine does not take kernels wider than 13; the whole picture would go to the CPU first. a is the smallest
factor that will do, for 3 H W a^2 multiply-adds more. Reshaping instead needs rank 6 and a transpose.
Source: hollance/neural-engine on the limit; sorting pixels into channels is `torch.nn.PixelUnshuffle`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from converters.layout.kinds import require
from converters.limits import MAX_KERNEL_WIDTH


def patch_embedding(conv: nn.Conv2d) -> tuple[nn.Module, nn.Conv2d]:
    """(what sorts, what computes), one after the other the same as `conv`; an Identity and `conv` if that is narrow enough."""
    if max(conv.kernel_size) <= MAX_KERNEL_WIDTH:
        return nn.Identity(), conv
    size = conv.kernel_size[0]
    plain = conv.kernel_size == conv.stride == (size, size) and conv.padding in ((0, 0), "valid")
    require(conv, plain and conv.groups == 1 and conv.dilation == (1, 1), f"a kernel of {size} that is no patch embedding")
    steps = [a for a in range(2, MAX_KERNEL_WIDTH + 1) if size % a == 0 and size // a <= MAX_KERNEL_WIDTH]
    require(conv, bool(steps), f"a kernel of {size}, which is no product of two up to {MAX_KERNEL_WIDTH},")
    return _sorting(conv.in_channels, steps[0], conv.weight.dtype), _on_squares(conv, steps[0])


def _sorting(channels: int, step: int, dtype: torch.dtype) -> nn.Conv2d:
    """(N, C, H, W) -> (N, C a a, H/a, W/a), channel c a a + i a + j being pixel (i, j) of a square, as in PixelUnshuffle."""
    one_hot = torch.eye(step * step, dtype=dtype).reshape(step * step, 1, step, step).repeat(channels, 1, 1, 1)
    return _with_weights(one_hot, None, step, groups=channels)


def _on_squares(conv: nn.Conv2d, step: int) -> nn.Conv2d:
    """The same kernel on sorted pixels: (C_out, C, p, p) -> (C_out, C a a, p/a, p/a)."""
    weight = torch.nn.functional.pixel_unshuffle(conv.weight.detach(), step)
    return _with_weights(weight, conv.bias, conv.kernel_size[0] // step, groups=1)


def _with_weights(weight: Tensor, bias: Tensor | None, stride: int, groups: int) -> nn.Conv2d:
    c_out, c_in, *kernel = weight.shape
    conv = nn.Conv2d(c_in * groups, c_out, (kernel[0], kernel[1]), stride, groups=groups, bias=bias is not None, device="meta")
    conv.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return conv.eval()
