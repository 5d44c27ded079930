"""Compressed constants that are numbers times scales, decoded when a program is loaded."""

from __future__ import annotations

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import along
from edgeclip.reference.mil.ops.sparse import dense, picked
from edgeclip.reference.mil.ops.table import Tensor, op


def _spread(values: Tensor, data: Tensor) -> Tensor:
    """One value per block, repeated to the shape of `data`."""
    if values.dim() != data.dim() or any(
        not blocks or size % blocks for size, blocks in zip(data.shape, values.shape, strict=True)
    ):
        raise BundleError(f"blocks {list(values.shape)} of data {list(data.shape)}")
    for axis, (size, blocks) in enumerate(zip(data.shape, values.shape, strict=True)):
        if 1 < blocks < size:  # one for all, and one for each, spread by themselves
            values = values.repeat_interleave(size // blocks, axis)
    return values.float()


@op("constexpr_affine_dequantize")
def constexpr_affine_dequantize(*, quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: int) -> Tensor:
    """iOS16 form: (q - zero_point) * scale, per tensor or along `axis`."""
    shifted = quantized_data.float() - along(zero_point, quantized_data, axis)
    return shifted * along(scale, quantized_data, axis)


@op("constexpr_blockwise_shift_scale")
def constexpr_blockwise_shift_scale(*, data: Tensor, scale: Tensor, offset: Tensor | None = None) -> Tensor:
    """iOS18 form: (q - offset) * scale; `scale` and `offset` have one value per block along every axis."""
    if offset is not None and offset.shape != scale.shape:
        raise BundleError(f"offset {list(offset.shape)} for scale {list(scale.shape)}")
    shifted = data.float() if offset is None else data.float() - _spread(offset, data)
    return shifted * _spread(scale, data)


@op("constexpr_sparse_blockwise_shift_scale")
def constexpr_sparse_blockwise_shift_scale(
    *, data_mask: Tensor, nonzero_data: Tensor, scale: Tensor, offset: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same for the places of a mask: the mask, and what lies there, in row-major order."""
    data = constexpr_blockwise_shift_scale(data=dense(nonzero_data, data_mask), scale=scale, offset=offset)
    return data_mask, picked(data, data_mask, nonzero_data.numel())


@op("constexpr_cast")
def constexpr_cast(*, source_val: Tensor, output_dtype: str) -> Tensor:
    if output_dtype != "fp32":  # the only one that the format knows
        raise BundleError(f"unknown dtype {output_dtype!r}")
    return source_val.float()
