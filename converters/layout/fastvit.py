"""FastViT's attention and head on its maps, (N, C, H, W).

Given:  attention: the map flattened and transposed to (N, L, C), linear layers, transposed back; head: mean, a linear layer;
        in front of attention in the larger ones (mci3, mci4) a layer norm over channels
Result: attention by heads on (N, C, 1, H W), a reshape that moves nothing; head: mean with its axes kept, a 1x1 convolution;
        the norm's scale and shift in the layers of queries, keys and values

Identity: positions in row order are the same tokens; see `attention`, `pointwise` and `layer_norm`.
Why: the rest of the network is convolutions already; these were its only transposes.
Source: timm's FastViT packs queries, keys and values as torch's MultiheadAttention does, without biases of their own.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from converters.layout.attention import SplitAttention
from converters.layout.kinds import require, rewrites, rewritten
from converters.layout.layer_norm import norm_into
from converters.layout.pointwise import pointwise_linear


class MapAttention(SplitAttention):
    """Self-attention between the positions of a map. Shapes: (N, C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x.reshape(*x.shape[:2], 1, -1), mask).reshape(x.shape)


class PooledHead(nn.Module):
    """Mean over positions, then a projection. Shapes: (N, C, H, W) -> (N, D, 1, 1)."""

    def __init__(self, fc: nn.Module) -> None:
        super().__init__()
        self.fc = fc

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3), keepdim=True))


@rewrites("timm.models.fastvit.AttentionBlock")
def attention_block(block: Any) -> nn.Module:
    for name, child in block.named_children():
        if name != "norm":
            block.add_module(name, rewritten(child))
    block.norm = norm_into(block.norm, *block.token_mixer.inputs)
    return block


@rewrites("timm.models.fastvit.Attention")
def map_attention(attention: Any) -> nn.Module:
    qkv, proj = attention.qkv, attention.proj
    return MapAttention(qkv.weight, qkv.bias, proj.weight, proj.bias, attention.num_heads)


@rewrites("timm.layers.classifier.ClassifierHead")
def pooled_head(head: Any) -> nn.Module:
    require(head, head.global_pool.pool_type == "avg" and head.input_fmt == "NCHW", "another pooling than the mean")
    fc = head.fc
    require(head, isinstance(fc, nn.Linear | nn.Identity | nn.Conv2d), f"a projection by {type(fc).__name__}")
    return PooledHead(pointwise_linear(fc) if isinstance(fc, nn.Linear) else fc)
