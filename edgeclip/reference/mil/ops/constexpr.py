"""Compressed constants, decoded when a program is loaded."""

from __future__ import annotations

from edgeclip.reference.mil.ops.table import Tensor, op


def _along(values: Tensor, rank: int, axis: int) -> Tensor:
    """A scalar or vector shaped to broadcast along one axis."""
    if values.dim() == 0:
        return values
    shape = [1] * rank
    shape[axis] = values.numel()
    return values.reshape(shape)


@op("constexpr_affine_dequantize")
def constexpr_affine_dequantize(*, quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    """iOS16 form: (q - zero_point) * scale, per tensor or along `axis`."""
    rank = quantized_data.dim()
    return (quantized_data.float() - _along(zero_point, rank, axis).float()) * _along(scale, rank, axis)


@op("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(*, data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """iOS18 form: (q - offset) * scale; `scale` and `offset` have one value per block along every axis."""
    for axis, (size, blocks) in enumerate(zip(data.shape, scale.shape, strict=True)):
        scale = scale.repeat_interleave(size // blocks, axis)
        if offset is not None:
            offset = offset.repeat_interleave(size // blocks, axis)
    return (data.float() if offset is None else data.float() - offset.float()) * scale
