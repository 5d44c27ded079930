"""Rounding weights to integers: symmetric, with the scales that leave the least squared error."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the scale that reaches the largest value. Of 8 bits nothing can be gained by saturating a weight, of 4 bits much.
_CLIPS = {8: (1.0,), 4: (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)}

_LEAST = 2**-16  # of the largest value of all rows


def rounded(rows: Tensor, bits: int, stored_as: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """rows: (R, N) float32 -> values (R, N) int8 within -2^(bits-1)+1 .. 2^(bits-1)-1, and scales (R) float32.

    stored_as: what is left of the scales in the file; they have such values from the start.
    """
    highest = 2 ** (bits - 1) - 1
    largest = rows.abs().amax(1, keepdim=True)
    # XNNPACK stores a layer's bias as int32 in steps of its row's scale: next to nothing in a row must not make that tiny.
    largest = largest.clamp_min(float(largest.max()) * _LEAST if largest.any() else 1.0)
    best, least = torch.ones_like(largest), torch.full_like(largest, torch.inf)
    for clip in _CLIPS[bits]:
        scales = (clip * largest / highest).to(stored_as).float()
        error = ((rows / scales).round().clamp(-highest, highest) * scales - rows).square().sum(1, keepdim=True)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
    return (rows / best).round().clamp(-highest, highest).to(torch.int8), best.squeeze(1)
