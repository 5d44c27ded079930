"""Compressed constants, decoded when a program is loaded."""

from __future__ import annotations

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import places
from edgeclip.reference.mil.ops.table import Tensor, op


def _along(values: Tensor, data: Tensor, axis: int) -> Tensor:
    """A scalar, or one value for each place of `axis`, shaped to broadcast with `data`."""
    if values.dim() == 0:
        return values.float()
    (axis,) = places("constexpr_affine_dequantize", (axis,), data.dim())
    if values.shape != (data.shape[axis],):
        raise BundleError(f"constexpr_affine_dequantize: {list(values.shape)} values for an axis of {data.shape[axis]}")
    return values.float().reshape([-1 if k == axis else 1 for k in range(data.dim())])


def _spread(values: Tensor, data: Tensor) -> Tensor:
    """One value per block, repeated to the shape of `data`."""
    if values.dim() != data.dim() or any(
        not blocks or size % blocks for size, blocks in zip(data.shape, values.shape, strict=True)
    ):
        raise BundleError(f"constexpr_blockwise_shift_scale: blocks {list(values.shape)} of data {list(data.shape)}")
    for axis, (size, blocks) in enumerate(zip(data.shape, values.shape, strict=True)):
        values = values.repeat_interleave(size // blocks, axis)
    return values.float()


@op("constexpr_affine_dequantize")
def constexpr_affine_dequantize(*, quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    """iOS16 form: (q - zero_point) * scale, per tensor or along `axis`."""
    return (quantized_data.float() - _along(zero_point, quantized_data, axis)) * _along(scale, quantized_data, axis)


@op("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(*, data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """iOS18 form: (q - offset) * scale; `scale` and `offset` have one value per block along every axis."""
    if offset is not None and offset.shape != scale.shape:
        raise BundleError(f"constexpr_blockwise_shift_scale: offset {list(offset.shape)} for scale {list(scale.shape)}")
    shifted = data.float() if offset is None else data.float() - _spread(offset, data)
    return shifted * _spread(scale, data)
