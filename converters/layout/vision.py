"""Plain vision transformers in (N, C, 1, L).

Given:  patches = conv(image) as (N, L, C); class token in front; + positions; blocks; the class token's row @ projection
Result: patches = conv(image) as (N, C, 1, L), a reshape that moves nothing; class token, a constant column, in front;
        + positions (1, C, 1, L + 1); blocks; the first column, sliced before the last norm; a 1x1 convolution -> (N, D, 1, 1)

Identity: the class token's sum with its position is a constant. A norm over channels commutes with picking positions.
Why: the map that the convolution gives is already in the layout of the blocks; nothing needs a transpose, and the last norm
works on one position instead of all.
Source: "Deploying Transformers on the Apple Neural Engine", principle 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from converters.layout.blocks import TokenBlocks
from converters.layout.kinds import require, rewrites
from converters.layout.layer_norm import channel_norm, norm_into
from converters.layout.patches import patch_embedding
from converters.layout.pointwise import projection

Pick = Callable[[Tensor], Tensor]


def _class_token(x: Tensor) -> Tensor:
    return x[..., :1]


def _patch_mean(x: Tensor) -> Tensor:
    return x[..., 1:].mean(3, keepdim=True)


# open_clip's `pool_type`: (picks from (N, C, 1, 1 + L) -> (N, C, 1, 1), and commutes with a norm over channels)
_PICKS: dict[str, tuple[Pick, bool]] = {"tok": (_class_token, True), "avg": (_patch_mean, False)}


class VisionTokens(nn.Module):
    """A vision transformer. Shapes: image (N, 3, H, W), normalised -> (N, D, 1, 1)."""

    class_token: Tensor
    positions: Tensor

    def __init__(
        self,
        conv1: nn.Conv2d,
        class_token: Tensor,
        positions: Tensor,
        ln_pre: nn.Module,
        blocks: nn.Module,
        pick: Pick,
        ln_before: nn.Module,
        ln_post: nn.Module,
        proj: nn.Module,
    ) -> None:
        """class_token: (C), positions: (1 + L, C) with the class token's first; a norm before and one after the pick."""
        super().__init__()
        self.sorting, self.conv1 = patch_embedding(conv1)
        self.register_buffer("class_token", (class_token + positions[0]).detach().reshape(1, -1, 1, 1))
        self.register_buffer("positions", positions[1:].detach().T[None, :, None, :].clone())
        self.ln_pre, self.transformer, self.pick = ln_pre, blocks, pick
        self.ln_before, self.ln_post, self.proj = ln_before, ln_post, proj

    @property
    def first_convolution(self) -> nn.Conv2d:
        """What reads the image, perhaps its pixels sorted into channels: where its normalisation's deviation can go."""
        return self.conv1

    def forward(self, image: Tensor) -> Tensor:
        x = self.conv1(self.sorting(image))
        x = x.reshape(*x.shape[:2], 1, -1) + self.positions
        x = torch.cat([self.class_token.expand(len(x), -1, -1, -1), x], 3)
        x = self.transformer(self.ln_pre(x))
        x = self.pick(self.ln_before(x))
        return self.proj(self.ln_post(x))


@rewrites("open_clip.transformer.VisionTransformer")
def vision_transformer(vit: Any) -> nn.Module:
    require(vit, vit.attn_pool is None, "attentional pooling")
    require(vit, isinstance(vit.patch_dropout, nn.Identity), "patch dropout")
    require(vit, vit.pool_type in _PICKS, f"pool_type {vit.pool_type!r}")
    require(vit, not vit.output_tokens, "output_tokens")
    pick, commutes = _PICKS[vit.pool_type]
    proj = projection(vit.proj)
    norm = norm_into(vit.ln_post, proj)
    picked_first = commutes or vit.final_ln_after_pool
    return VisionTokens(
        conv1=vit.conv1,
        class_token=vit.class_embedding,
        positions=vit.positional_embedding,
        ln_pre=channel_norm(vit.ln_pre),
        blocks=TokenBlocks(vit.transformer.resblocks),
        pick=pick,
        ln_before=nn.Identity() if picked_first else norm,
        ln_post=norm if picked_first else nn.Identity(),
        proj=proj,
    )
