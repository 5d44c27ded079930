"""Rounding weights to integers: symmetric, with the scales that leave the least squared error."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the scale that reaches the largest value. Of 8 bits nothing can be gained by saturating a weight, of 4 bits much.
_CLIPS = {8: (1.0,), 4: (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)}


def rounded(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """rows: (R, N) float32 -> values (R, N) int8 within -2^(bits-1)+1 .. 2^(bits-1)-1, and scales (R) float32."""
    highest = 2 ** (bits - 1) - 1
    largest = rows.abs().amax(1, keepdim=True)
    # Rows of zeros can have any scale; XNNPACK stores a layer's bias in steps of it, so it should not be a tiny one.
    largest = torch.where(largest > 0, largest, largest.max() if largest.any() else torch.ones(()))
    best, least = largest / highest, torch.full_like(largest, torch.inf)
    for clip in _CLIPS[bits]:
        scales = clip * largest / highest
        error = ((rows / scales).round().clamp(-highest, highest) * scales - rows).square().sum(1, keepdim=True)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return (rows / best).round().clamp(-highest, highest).to(torch.int8), best.squeeze(1)
