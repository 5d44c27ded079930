"""The picture's standard deviation, moved into the first convolution.

Given:  W * ((image - mean) / std) + b
Result: (W / std) * (image - mean) + b

Identity: a convolution is linear in each input channel, and zeros of its padding stay zeros.
Why: one operation less on the largest map of the program, and its rounding in float16. The mean stays where it is: in the bias
it would be exact too, but then compressed kernels see pictures around mean instead of around 0, and what they are off by is
multiplied by that. Measured on TinyCLIP's image tower with 8-bit weights: three times the error.
Source: arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalisation(nn.Module):
    """(image - mean) / std per channel, or image - mean. Shapes: (N, 3, H, W) -> (N, 3, H, W).

    Not as a product and a sum, for the reason that `layer_norm.channel_norm` gives.
    """

    mean: Tensor
    std: Tensor | None

    def __init__(self, mean: Tensor, std: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> Tensor:
        centred = image - self.mean
        return centred if self.std is None else centred / self.std


@torch.no_grad()
def deviation_into(conv: nn.Conv2d, std: Tensor) -> None:
    """Move the division by a deviation (1, 3, 1, 1) into the convolution that reads the result, in place.

    It may read several channels of each color, one color after the other (see `patches`).
    """
    per_color = conv.in_channels // std.numel()
    weight = conv.weight.double() / std.double().repeat_interleave(per_color, 1)  # rounded once, at the end
    conv.weight = nn.Parameter(weight.to(conv.weight.dtype), requires_grad=False)
