"""Text transformers in (N, C, 1, L).

Given:  token rows + positions (N, L, C); blocks, causal or not; a norm; the row of the end token @ projection
Result: token rows, transposed once to (N, C, 1, L); + positions (1, C, 1, L); blocks, the mask transposed too;
        the end token's column, picked before the norm; a 1x1 convolution -> (N, D, 1, 1)

Identity: a norm over channels commutes with picking a position.
Why: one transpose where the lookup on the CPU ends, none behind it.
Source: "Deploying Transformers on the Apple Neural Engine", principle 1; ml-ane-transformers adds masks in this layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from converters.layout.attention import mask_of
from converters.layout.blocks import TokenBlocks
from converters.layout.end_token import EndToken
from converters.layout.kinds import require, rewrites
from converters.layout.layer_norm import norm_into
from converters.layout.pointwise import projection


class FixedColumn(nn.Module):
    """Picks one column, whatever the ids. Shapes: x (N, C, 1, L) -> (N, C, 1, 1)."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return x.narrow(3, self.place % x.shape[3], 1)


# open_clip's `pool_type`; "eos" names its token, "argmax" means the highest id.
_PICKS: dict[str, Callable[[Any], nn.Module]] = {
    "argmax": lambda text: _end_token(text, text.vocab_size - 1),
    "eos": lambda text: _end_token(text, text.eos_id),
    "first": lambda _: FixedColumn(0),
    "last": lambda _: FixedColumn(-1),
}


class TextTokens(nn.Module):
    """A text transformer. Shapes: ids (N, L) int -> (N, D, 1, 1)."""

    positions: Tensor
    mask: Tensor | None

    def __init__(
        self,
        token_embedding: nn.Embedding,
        positions: Tensor,
        blocks: nn.Module,
        mask: Tensor | None,
        pick: nn.Module,
        ln_final: nn.Module,
        text_projection: nn.Module,
    ) -> None:
        """positions: (L, C), mask: (L, L), added to scores of queries (rows) and keys."""
        super().__init__()
        self.token_embedding = token_embedding
        self.register_buffer("positions", positions.detach().T[None, :, None, :].clone())
        self.register_buffer("mask", mask_of(mask))
        self.transformer, self.pick = blocks, pick
        self.ln_final, self.text_projection = ln_final, text_projection

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids).transpose(1, 2).unsqueeze(2) + self.positions
        x = self.transformer(x, self.mask)
        return self.text_projection(self.ln_final(self.pick(x, ids)))


@rewrites("open_clip.transformer.TextTransformer")
def text_transformer(text: Any) -> nn.Module:
    require(text, text.cls_emb is None, "a class token")
    require(text, not text.use_pad_mask, "a padding mask")
    require(text, text.pool_type in _PICKS, f"pool_type {text.pool_type!r}")
    require(text, not text.output_tokens, "output_tokens")
    return _text_tokens(text, text.attn_mask, _PICKS[text.pool_type](text))


@rewrites("edgeclip.models.hybrid_text.HybridTextTower")
def hybrid_text(text: Any) -> nn.Module:
    return _text_tokens(text, None, _end_token(text, text.token_embedding.num_embeddings - 1))


def _end_token(text: Any, token: int) -> EndToken:
    return EndToken(text.token_embedding.num_embeddings, token, len(text.positional_embedding))


def _text_tokens(text: Any, mask: Tensor | None, pick: nn.Module) -> TextTokens:
    proj = projection(text.text_projection)
    blocks = TokenBlocks(text.transformer.resblocks)
    norm = norm_into(text.ln_final, proj)
    return TextTokens(text.token_embedding, text.positional_embedding, blocks, mask, pick, norm, proj)
