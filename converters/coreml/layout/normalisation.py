"""The picture's mean and deviation, moved into the first convolution.

Given:  W * ((image - mean) / std) + b, a convolution without padding
Result: (W / std) * image + (b - sum of W mean / std)

Identity: a convolution is linear in each input channel. With padding the borders differ: a zero is the mean color after
normalisation, and black before.
Why: two operations less on the largest map of the program, and their rounding in float16.
Source: arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalisation(nn.Module):
    """(image - mean) / std per channel. Shapes: (N, 3, H, W) -> (N, 3, H, W).

    Not as a product and a sum, for the reason that `layer_norm.channel_norm` gives.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.std


@torch.no_grad()
def normalisation_into(conv: nn.Conv2d, mean: Tensor, std: Tensor) -> bool:
    """Move a normalisation into the convolution that reads it, in place; False if that cannot be done exactly."""
    if conv.padding not in ((0, 0), "valid") or conv.groups != 1:
        return False
    dtype = conv.weight.dtype
    weight = conv.weight.double() / std.double().reshape(1, -1, 1, 1)  # rounded once, at the end
    bias = -(weight * mean.double().reshape(1, -1, 1, 1)).sum((1, 2, 3))
    if conv.bias is not None:
        bias = bias + conv.bias.double()
    conv.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return True
