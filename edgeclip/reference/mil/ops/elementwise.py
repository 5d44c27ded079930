"""Elementwise arithmetic of two tensors, and casts."""

from __future__ import annotations

import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Tensor, op


@op("add")
def add(*, x: Tensor, y: Tensor) -> Tensor:
    return x + y


@op("sub")
def sub(*, x: Tensor, y: Tensor) -> Tensor:
    return x - y


@op("mul")
def mul(*, x: Tensor, y: Tensor) -> Tensor:
    return x * y


@op("real_div")
def real_div(*, x: Tensor, y: Tensor) -> Tensor:
    """Integers give integers, cut towards 0, as the format declares their quotient."""
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


@op("floor_div")
def floor_div(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="floor")


@op("mod")
def mod(*, x: Tensor, y: Tensor) -> Tensor:
    """Of the divisor's sign."""
    return torch.remainder(x, y)


@op("maximum")
def maximum(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x, y)


@op("minimum")
def minimum(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.minimum(x, y)


@op("pow")
def power(*, x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y)


# Integers are held as int32 whatever their width; a cast wraps them to the width, as two's complement hardware does.
_BITS = {"int8": 8, "int16": 16, "int32": 32, "uint8": 8, "uint16": 16}


@op("cast")
def cast(*, x: Tensor, dtype: str) -> Tensor:
    if dtype in ("fp16", "fp32"):
        # Rounding arithmetic to the declared type is the interpreter's job; an integer is rounded in every mode,
        # since a token id that changes is no loss of precision.
        return x.half().float() if dtype == "fp16" and not x.is_floating_point() else x.float()
    if dtype == "bool":
        return x != 0
    if dtype not in _BITS:
        raise BundleError(f"cast: unknown dtype {dtype!r}")
    bits = _BITS[dtype]
    values = x.to(torch.int64) & ((1 << bits) - 1)
    if not dtype.startswith("u"):
        values = values - ((values >> (bits - 1)) << bits)
    return values.to(torch.int32)
