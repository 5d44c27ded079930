"""Pooling by a learnt query, as timm's vision transformers of SigLIP have it, in (N, C, 1, L).

Given:  tokens (N, L, C); for each head h, with the constant query q_h of a learnt latent
            p_h = softmax over L of q_h^T (K_h x + k_h) / sqrt(d),  sum over L of p_h (V_h x + v_h)
        joined, projected, and x + mlp(norm(x)) of that one token
Result: p = softmax over L of U x, U_h = K_h^T q_h / sqrt(d)        (N, heads, 1, L)
        V (sum over L of p_h x) + v, of which head h keeps its own channels   (N, C, 1, heads) -> (N, C, 1, 1)

Identity: q^T (K x + k) = (K^T q)^T x + q^T k, and a softmax does not see what is added to all of it; shares sum up to 1, so
a projection and its bias may follow the sum. The norm's scale and shift go into U and V alike.
Why: neither keys nor values of all positions are computed, and nothing is split by heads.
Source: arithmetic; the layout is that of "Deploying Transformers on the Apple Neural Engine", principle 1.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from converters.layout.kinds import require, rewritten
from converters.layout.layer_norm import norm_into
from converters.layout.pointwise import pointwise, pointwise_linear


class LatentPool(nn.Module):
    """Attention of one constant query over all positions. Shapes: (N, C, 1, L) -> (N, C, 1, 1)."""

    own: Tensor

    def __init__(self, scores: nn.Conv2d, values: nn.Conv2d) -> None:
        """scores: C -> heads, values: C -> C with the channels of one head after the other."""
        super().__init__()
        self.scores, self.values = scores, values
        heads = scores.out_channels
        own = torch.eye(heads).repeat_interleave(values.out_channels // heads, 0)
        self.register_buffer("own", own[None, :, None, :])

    def forward(self, x: Tensor) -> Tensor:
        shares = torch.softmax(self.scores(x), dim=3).transpose(1, 3)  # (N, L, 1, heads)
        mixed = self.values(torch.einsum("nchw,nwhu->nchu", x, shares))
        return (mixed * self.own).sum(3, keepdim=True)


class LatentHead(nn.Module):
    """The pooling and what follows on its one token. Shapes: (N, C, 1, L) -> (N, D, 1, 1)."""

    def __init__(self, pool: LatentPool, proj: nn.Module, norm: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.pool, self.proj, self.norm, self.mlp = pool, proj, norm, mlp

    def forward(self, x: Tensor) -> Tensor:
        x = self.proj(self.pool(x))
        return x + self.mlp(self.norm(x))


@torch.no_grad()
def latent_head(pool: Any) -> LatentHead:
    """Of timm's `AttentionPoolLatent`."""
    require(pool, pool.latent_len == 1 and pool.pool == "token" and pool.pos_embed is None, "several latents or positions")
    plain = isinstance(pool.q_norm, nn.Identity) and isinstance(pool.k_norm, nn.Identity)
    require(pool, plain and pool.mlp is not None, "a norm of queries and keys, or no perceptron,")
    heads, width = pool.num_heads, pool.head_dim
    key, value = pool.kv.weight.chunk(2)
    query = pool.q(pool.latent[0]).reshape(heads, width, 1).double() * pool.scale
    scores = (key.double().reshape(heads, width, -1) * query).sum(1).to(key.dtype)
    values = pointwise(value, None if pool.kv.bias is None else pool.kv.bias.chunk(2)[1])
    mlp = perceptron(pool.mlp)
    pooled = LatentPool(pointwise(scores, torch.zeros(heads, dtype=scores.dtype)), values)
    return LatentHead(pooled, pointwise_linear(pool.proj), norm_into(pool.norm, mlp[0]), mlp)


def perceptron(mlp: Any) -> nn.Sequential:
    """timm's `Mlp` as two 1x1 convolutions."""
    require(mlp, isinstance(mlp.norm, nn.Identity), "a norm inside")
    layers = (("c_fc", pointwise_linear(mlp.fc1)), ("act", rewritten(mlp.act)), ("c_proj", pointwise_linear(mlp.fc2)))
    return nn.Sequential(OrderedDict(layers))
