"""Matrix products and attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from edgeclip.reference.mil.ops.table import Tensor, op


@op("linear")
def linear(*, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


@op("matmul")
def matmul(*, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    left = x.transpose(-1, -2) if transpose_x else x
    right = y.transpose(-1, -2) if transpose_y else y
    return torch.matmul(left, right)


@op("scaled_dot_product_attention")
def scaled_dot_product_attention(*, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask)
