"""Transformer blocks of which pruning has left parts, under open_clip's parameter names."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Shift(nn.Module):
    """What is left of a linear layer without inputs: its bias. Shapes: () -> (C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self) -> Tensor:
        return self.bias


class PrunedAttention(nn.Module):
    """Self-attention whose heads together need not be as wide as the tokens. Shapes: (N, L, C), mask (L, L) -> (N, L, C).

    in_proj_weight: (3 h d, C); queries, keys, values, each with heads one after the other. Without heads (C) is left.
    """

    def __init__(self, dim: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        if heads:
            self.in_proj_weight = nn.Parameter(torch.empty(3 * heads * head_width, dim))
            self.in_proj_bias = nn.Parameter(torch.zeros(3 * heads * head_width))
            nn.init.xavier_uniform_(self.in_proj_weight)
        self.out_proj = nn.Linear(heads * head_width, dim) if heads else Shift(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not self.heads:
            return self.out_proj()
        batch, length, _ = x.shape
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        q, k, v = (part.reshape(batch, length, self.heads, self.head_width).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, length, -1))


class PrunedBlock(nn.Module):
    """Pre-norm attention and perceptron, either may be gone (None) or a constant (0). Shapes: (N, L, C) -> (N, L, C)."""

    def __init__(self, dim: int, heads: int | None, head_width: int, mlp_width: int | None) -> None:
        super().__init__()
        if heads is not None:
            if heads:
                self.ln_1 = nn.LayerNorm(dim)
            self.attn = PrunedAttention(dim, heads, head_width)
        if mlp_width is not None:
            if mlp_width:
                self.ln_2 = nn.LayerNorm(dim)
            self.mlp = _perceptron(dim, mlp_width)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        if hasattr(self, "attn"):
            x = x + (self.attn(self.ln_1(x), attn_mask) if hasattr(self, "ln_1") else self.attn(x))
        if hasattr(self, "mlp"):
            x = x + (self.mlp(self.ln_2(x)) if hasattr(self, "ln_2") else self.mlp.get_submodule("c_proj")())
        return x

    def get_weight_dtype(self) -> torch.dtype:
        """open_clip's text tower asks its first block for the type to compute in."""
        return next((parameter.dtype for parameter in self.parameters()), torch.float32)


def _perceptron(dim: int, width: int) -> nn.Sequential:
    if not width:
        return nn.Sequential(OrderedDict(c_proj=Shift(dim)))
    return nn.Sequential(OrderedDict(c_fc=nn.Linear(dim, width), gelu=nn.GELU(), c_proj=nn.Linear(width, dim)))
