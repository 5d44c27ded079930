"""Unit length in float16.

Given:  x / max(|x|, 1e-12)
Result: y = x / max(largest |x_i|, 2^-14), then y / max(|y|, 1)

Identity: unit length does not depend on the scale. y has a component of size 1, so |y| lies in [1, sqrt(D)].
Why: squares of components overflow float16 from 256 on and lose digits below 2^-7; 1e-12 is 0 there. 2^-14 is its smallest
normal number: an embedding shorter than that has no digits left, and gets a shorter result instead of a division by 0.
Source: the scaling is that of LAPACK's `dnrm2`.
"""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_NORMAL = 2.0**-14


def unit_length(x: Tensor) -> Tensor:
    """Scale to length 1. Shapes: (N, D, 1, 1) -> (N, D, 1, 1)."""
    y = x / x.abs().amax(1, keepdim=True).clamp_min(SMALLEST_NORMAL)
    return y / torch.linalg.vector_norm(y, dim=1, keepdim=True).clamp_min(1.0)
