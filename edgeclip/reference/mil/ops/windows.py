"""Strides, dilations and padding of convolutions and pooling."""

from __future__ import annotations

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Ints, Tensor


def windows(op: str, x: Tensor, kernel: Ints, strides: Ints | None, dilations: Ints | None) -> tuple[Ints, Ints]:
    """Strides and dilations, 1 where none are given, checked: one positive number for each spatial axis of `x`."""
    ones = (1,) * len(kernel)
    strides, dilations = ones if strides is None else strides, ones if dilations is None else dilations
    if not 1 <= len(kernel) <= 3 or x.dim() != len(kernel) + 2:
        raise BundleError(f"{op}: {len(kernel)} spatial axes for a tensor of rank {x.dim()}")
    for name, amounts in (("kernel", kernel), ("strides", strides), ("dilations", dilations)):
        if len(amounts) != len(kernel) or min(amounts) < 1:
            raise BundleError(f"{op}: {name} {list(amounts)} for {len(kernel)} spatial axes")
    return strides, dilations


def padding(op: str, pad_type: str, pad: Ints | None, sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints) -> Ints:
    """(before, after) per spatial axis, first axis first."""
    if pad_type == "valid":
        return (0,) * (2 * len(kernel))
    if pad_type == "custom":
        if pad is None or len(pad) != 2 * len(kernel) or min(pad) < 0:
            raise BundleError(f"{op}: pad_type 'custom' needs two values per axis, 0 or more, got {pad}")
        return pad
    if pad_type in ("same", "same_lower"):
        amounts: list[int] = []
        for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
            span = dilation * (k - 1) + 1
            total = max(0, (-(-size // stride) - 1) * stride + span - size)
            small, large = total // 2, total - total // 2
            amounts += [small, large] if pad_type == "same" else [large, small]
        return tuple(amounts)
    raise BundleError(f"{op}: unknown pad_type {pad_type!r}")


def symmetric(amounts: Ints) -> Ints | None:
    """One amount per axis if both sides are equal, which the convolution itself can do."""
    return amounts[::2] if amounts[::2] == amounts[1::2] else None


def for_torch_pad(amounts: Ints) -> Ints:
    """`F.pad` wants the last axis first."""
    pairs = [amounts[k : k + 2] for k in range(0, len(amounts), 2)]
    return tuple(amount for pair in reversed(pairs) for amount in pair)
