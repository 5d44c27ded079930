"""Multi-head self-attention, head by head in (N, C, 1, L).

Given:  softmax(q k^T / sqrt(d) + mask) v for all heads in one product, x: (N, L, C)
Result: for each head, with q, v: (N, d, 1, L) and k transposed to (N, L, 1, d)
            p = softmax over axis 1 of einsum(k, q) + mask^T     (N, L keys, 1, L queries)
            einsum(v, p)                                         (N, d, 1, L)
        heads side by side on axis 1, then the output projection; 1/sqrt(d) inside the weights of q.

Identity: heads do not meet before the output projection; the transpose of a softmax over rows is one over columns;
(a W x)^T k = a (W x)^T k.
Why: einsum "nchw,nwhu->nchu" is the product that the Neural Engine computes without moving its operands, so of q, k and v
only k is transposed, once for all heads. Small tensors per head stay in its fast memory and occupy more cores. Scaled queries
keep the scores in float16's range. No `scaled_dot_product_attention` is left for iOS18, which puts channels last.
Source: "Deploying Transformers on the Apple Neural Engine", principles 2 and 3; ml-ane-transformers, `MultiHeadAttention`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from converters.layout.kinds import require
from converters.layout.pointwise import pointwise


class SplitAttention(nn.Module):
    """Self-attention. Shapes: (N, C, 1, L), mask (1, L keys, 1, L queries) or None -> (N, C, 1, L).

    packed_weight: (3 h d, C), packed_bias: (3 h d) or None; queries, keys, values, each with heads one after the other.
    """

    def __init__(
        self, packed_weight: Tensor, packed_bias: Tensor | None, out_weight: Tensor, out_bias: Tensor | None, heads: int
    ) -> None:
        super().__init__()
        self.width = packed_weight.shape[0] // (3 * heads)
        (q, k, v), biases = packed_weight.chunk(3), _thirds(packed_bias)
        scale = self.width**-0.5
        self.q_proj = pointwise(q * scale, None if biases[0] is None else biases[0] * scale)
        self.k_proj, self.v_proj = pointwise(k, biases[1]), pointwise(v, biases[2])
        self.out_proj = pointwise(out_weight, out_bias)

    @property
    def inputs(self) -> tuple[nn.Conv2d, ...]:
        """The layers that read the input: where a norm in front can go."""
        return self.q_proj, self.k_proj, self.v_proj

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.answers(x, x, mask)

    def answers(self, asking: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Only for some tokens. Shapes: asking (N, C, 1, Q), x (N, C, 1, L) -> (N, C, 1, Q)."""
        queries = self.q_proj(asking).split(self.width, 1)
        keys = self.k_proj(x).transpose(1, 3).split(self.width, 3)
        values = self.v_proj(x).split(self.width, 1)
        heads = [self._head(q, k, v, mask) for q, k, v in zip(queries, keys, values, strict=True)]
        return self.out_proj(torch.cat(heads, 1))

    def _head(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """q, v: (N, d, 1, L), k: (N, L, 1, d) -> (N, d, 1, L)."""
        scores = torch.einsum("nchw,nwhu->nchu", k, q)
        shares = torch.softmax(scores if mask is None else scores + mask, dim=1)
        return torch.einsum("nchw,nwhu->nchu", v, shares)


def _thirds(bias: Tensor | None) -> tuple[Tensor | None, ...]:
    return (None, None, None) if bias is None else bias.chunk(3)


def from_packed(attention: nn.Module, heads: int) -> SplitAttention:
    """From modules with `in_proj_weight`, `in_proj_bias` and a linear `out_proj`."""
    out = attention.get_submodule("out_proj")
    assert isinstance(out, nn.Linear)
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    return SplitAttention(weight, bias, out.weight, out.bias, heads)


def from_torch(attention: nn.MultiheadAttention) -> SplitAttention:
    """From torch's own module."""
    plain = attention._qkv_same_embed_dim and attention.bias_k is None and not attention.add_zero_attn
    require(attention, plain, "cross-attention or an added key")
    return from_packed(attention, attention.num_heads)


def mask_of(mask: Tensor | None) -> Tensor | None:
    """An additive mask (L queries, L keys) as (1, L keys, 1, L queries)."""
    return None if mask is None else mask.detach().T[None, :, None, :].clone()
