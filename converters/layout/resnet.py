"""CLIP's ResNets: convolutions are left as they are, and pooling by attention works on the map.

Given:  the map as tokens (L, N, C), their mean in front, + positions; attention; the first token's row of the result
Result: the map as (N, C, 1, L), a reshape that moves nothing; its mean in front, + positions (1, C, 1, L + 1); attention by
        heads, asked for the first column only -> (N, D, 1, 1)

Identity: rows of an attention depend on their own query alone. The three projections are those of one packed layer.
Why: as in `attention`; the scores are a column instead of a matrix.
Source: "Learning Transferable Visual Models From Natural Language Supervision" (arXiv 2103.00020), section 2.4.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from converters.layout.attention import SplitAttention
from converters.layout.kinds import rewrites


class AttentionPool(nn.Module):
    """Attention from the mean to all positions. Shapes: (N, C, H, W) -> (N, D, 1, 1)."""

    positions: Tensor

    def __init__(self, positions: Tensor, attention: SplitAttention) -> None:
        """positions: (1 + H W, C), that of the mean first."""
        super().__init__()
        self.register_buffer("positions", positions.detach().T[None, :, None, :].clone())
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(*x.shape[:2], 1, -1)
        x = torch.cat([x.mean(3, keepdim=True), x], 3) + self.positions
        return self.attention.answers(x[..., :1], x)


@rewrites("open_clip.modified_resnet.AttentionPool2d")
def attention_pool(pool: Any) -> nn.Module:
    layers = (pool.q_proj, pool.k_proj, pool.v_proj)
    weight, bias = torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])
    attention = SplitAttention(weight, bias, pool.c_proj.weight, pool.c_proj.bias, pool.num_heads)
    return AttentionPool(pool.positional_embedding, attention)
