"""timm's vision transformers in (N, C, 1, L): plain ones, MobileCLIP-B's with a convolutional stem, SigLIP's with a pooling.

Given:  patches of a convolution or of a stem, as (N, L, C); class token in front, with or without a position, or none; a norm
        or none; blocks; a norm; the class token's row and a linear layer, or a pooling by attention (`latent_pool`)
Result: the same in (N, C, 1, L), as `vision` has it for open_clip's; a stem already gives maps

Identity: that of `vision`. A class token without a position of its own is one whose position is 0.
Why, source: those of `vision`; `timm.models.vision_transformer`, where `no_embed_class` means a class token without position.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from converters.layout.attention import SplitAttention
from converters.layout.blocks import TokenBlock
from converters.layout.kinds import require, rewrites, rewritten
from converters.layout.latent_pool import latent_head, perceptron
from converters.layout.layer_norm import channel_norm, norm_into
from converters.layout.patches import patch_embedding
from converters.layout.pointwise import pointwise_linear


class PatchMaps(nn.Sequential):
    """Patches as a map. Shapes: (N, 3, H, W) -> (N, C, h, w)."""

    def __init__(self, parts: dict[str, nn.Module], first: str) -> None:
        """first: the path of the convolution that reads the image, perhaps its pixels sorted into channels."""
        super().__init__(OrderedDict(parts))
        self.first = first


class TimmTokens(nn.Module):
    """A vision transformer, under timm's names. Shapes: image (N, 3, H, W), normalised -> (N, D, 1, 1)."""

    class_token: Tensor | None
    positions: Tensor

    def __init__(
        self,
        patch_embed: PatchMaps,
        class_token: Tensor | None,
        positions: Tensor,
        norm_pre: nn.Module,
        blocks: nn.Module,
        norm: nn.Module,
        head: nn.Module,
    ) -> None:
        """class_token: (C), its position added, or None where `head` pools; positions: (L, C), of the patches."""
        super().__init__()
        self.patch_embed = patch_embed
        self.register_buffer("class_token", None if class_token is None else class_token.detach().reshape(1, -1, 1, 1).clone())
        self.register_buffer("positions", positions.detach().T[None, :, None, :].clone())
        self.norm_pre, self.blocks, self.norm, self.head = norm_pre, blocks, norm, head

    @property
    def first_convolution(self) -> nn.Conv2d:
        """Where the image's normalisation can go."""
        conv = self.patch_embed.get_submodule(self.patch_embed.first)
        assert isinstance(conv, nn.Conv2d)
        return conv

    def forward(self, image: Tensor) -> Tensor:
        x = self.patch_embed(image)
        x = x.reshape(*x.shape[:2], 1, -1) + self.positions
        if self.class_token is None:
            return self.head(self.norm(self.blocks(self.norm_pre(x))))
        x = torch.cat([self.class_token.expand(len(x), -1, -1, -1), x], 3)
        x = self.blocks(self.norm_pre(x))
        return self.head(self.norm(x[..., :1]))


@rewrites("timm.models.vision_transformer.VisionTransformer")
def vision_transformer(vit: Any) -> nn.Module:
    require(vit, vit.pos_embed is not None and not vit.dynamic_img_size, "positions made for each picture")
    require(vit, isinstance(vit.patch_drop, nn.Identity), "patch dropout")
    require(vit, isinstance(vit.fc_norm, nn.Identity), "a norm behind the pooling")
    pooled = vit.global_pool == "map" and vit.num_prefix_tokens == 0
    by_token = vit.global_pool == "token" and vit.num_prefix_tokens == 1 and vit.has_class_token
    require(vit, pooled or by_token, f"global_pool {vit.global_pool!r}, {vit.num_prefix_tokens} tokens in front")
    require(vit, not pooled or isinstance(vit.head, nn.Identity), "a projection behind the pooling")
    class_token, positions = None if pooled else vit.cls_token[0, 0], vit.pos_embed[0]
    if class_token is not None and not vit.no_embed_class:
        class_token, positions = class_token + positions[0], positions[1:]
    head: Any = pointwise_linear(vit.head) if isinstance(vit.head, nn.Linear) else vit.head
    head = latent_head(vit.attn_pool) if pooled else head
    return TimmTokens(
        patch_embed=rewritten(vit.patch_embed),  # type: ignore[arg-type]
        class_token=class_token,
        positions=positions,
        norm_pre=channel_norm(vit.norm_pre),
        blocks=rewritten(vit.blocks),
        norm=norm_into(vit.norm, *((head.pool.scores, head.pool.values) if pooled else (head,))),
        head=head,
    )


@rewrites("timm.layers.patch_embed.PatchEmbed")
def patches(embed: Any) -> PatchMaps:
    require(embed, isinstance(embed.norm, nn.Identity), "a norm of patches")
    sorting, proj = patch_embedding(embed.proj)
    return PatchMaps({"sorting": sorting, "proj": proj}, "proj")


@rewrites("timm.layers.hybrid_embed.HybridEmbed")
def stem(embed: Any) -> PatchMaps:
    require(embed, isinstance(embed.proj, nn.Identity), "a projection behind the stem")
    return PatchMaps({"backbone": rewritten(embed.backbone)}, "backbone.0.conv")


@rewrites("timm.models.vision_transformer.Block")
def block(block: Any) -> TokenBlock:
    given, mlp = block.attn, block.mlp
    plain = not [part for part in (given.q_norm, given.k_norm, given.norm, mlp.norm) if not isinstance(part, nn.Identity)]
    require(block, plain and given.gate is None, "norms or gates inside attention or perceptron")
    qkv, proj = given.qkv, given.proj
    attn = SplitAttention(qkv.weight, qkv.bias, proj.weight, proj.bias, given.num_heads)
    layers = perceptron(mlp)
    norm_1, norm_2 = norm_into(block.norm1, *attn.inputs), norm_into(block.norm2, layers[0])
    return TokenBlock(norm_1, attn, norm_2, layers, rewritten(block.ls1), rewritten(block.ls2))
