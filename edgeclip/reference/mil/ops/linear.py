"""Matrix products and attention."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Tensor, op

# The equations that the format allows: `nchw,nwhu->nchu`, `chw,whu->chu`, whatever the letters.
_EQUATION = re.compile(r"([a-z]?)([a-z])([a-z])([a-z]),\1\4\3([a-z])->\1\2\3\5")


@op("linear")
def linear(*, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


@op("matmul")
def matmul(*, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    left = x.transpose(-1, -2) if transpose_x else x
    right = y.transpose(-1, -2) if transpose_y else y
    return torch.matmul(left, right)


@op("einsum")
def einsum(*, values: tuple[Tensor, ...], equation: str) -> Tensor:
    plain = equation.replace(" ", "")
    match = _EQUATION.fullmatch(plain)
    if match is None or len(set("".join(match.groups()))) != len("".join(match.groups())):
        raise BundleError(f"einsum: unknown equation {equation!r}")
    return torch.einsum(plain, *values)


@op("scaled_dot_product_attention")
def scaled_dot_product_attention(*, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask)
