"""Quantization of activations, while a program runs."""

from __future__ import annotations

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import along
from edgeclip.reference.mil.ops.table import Tensor, op

_RANGES = {"int8": (-128, 127, torch.int8), "uint8": (0, 255, torch.uint8)}


def _parameters(data: Tensor, scale: Tensor, zero_point: Tensor | None, axis: int | None) -> tuple[Tensor, Tensor]:
    """Scale and zero point as float32, shaped to broadcast with `data`."""
    zero = torch.zeros_like(scale) if zero_point is None else zero_point
    if scale.shape != zero.shape or (axis is None) != (scale.dim() == 0):
        raise BundleError(f"scale {list(scale.shape)}, zero point {list(zero.shape)} and axis {axis} do not go together")
    return along(scale, data, axis or 0), along(zero, data, axis or 0)


@op("quantize")
def quantize(
    *,
    input: Tensor,  # noqa: A002
    scale: Tensor,
    output_dtype: str,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """clip(round(input / scale) + zero_point), half to even, per tensor or along `axis`."""
    if output_dtype not in _RANGES:
        raise BundleError(f"unknown output_dtype {output_dtype!r}")
    low, high, held = _RANGES[output_dtype]
    factors, zero = _parameters(input, scale, zero_point, axis)
    return (torch.round(input / factors) + zero).clamp(low, high).to(held)


@op("dequantize")
def dequantize(
    *,
    input: Tensor,  # noqa: A002
    scale: Tensor,
    zero_point: Tensor | None = None,
    axis: int | None = None,
) -> Tensor:
    """(input - zero_point) * scale, per tensor or along `axis`."""
    factors, zero = _parameters(input, scale, zero_point, axis)
    return (input.float() - zero) * factors
