"""Apple's MobileCLIP module tree.

FastViT numbers blocks, downsamplings and the positional convolution in one list. The ViT of B has names of its own, and those
of the text tower inside its transformer.
"""

from __future__ import annotations

import re

from edgeclip.models.layouts.layout import IN_ONE_MORE_AXIS, IN_TWO_MORE_AXES, TRANSPOSED, Layout, Source, prefixes, renamed

_APPLE_FASTVIT = (
    (r"^stem\.", "patch_embed."),
    (r"^final_conv\.", "conv_exp."),
    (r"^(conv_exp\.se\.)fc1\.", r"\1reduce."),
    (r"^(conv_exp\.se\.)fc2\.", r"\1expand."),
    (r"\.large_conv\.", ".lkb_origin."),
    (r"\.mlp\.", ".convffn."),
)
_APPLE_VIT = (
    (r"^patch_embed\.backbone\.(\d+)\.", r"patch_emb.\1.block."),
    (r"^(patch_emb\..*)\.bn\.", r"\1.norm."),
    (r"^norm\.", "post_transformer_norm."),
    (r"^blocks\.", "transformer."),
    (r"\.norm1\.", ".pre_norm_mha.0."),
    (r"\.attn\.qkv\.", ".pre_norm_mha.1.qkv_proj."),
    (r"\.attn\.proj\.", ".pre_norm_mha.1.out_proj."),
    (r"\.norm2\.", ".pre_norm_ffn.0."),
    (r"\.mlp\.fc1\.", ".pre_norm_ffn.1."),
    (r"\.mlp\.fc2\.", ".pre_norm_ffn.4."),
)
_APPLE_TEXT = (
    (r"^token_embedding\.", "embedding_layer."),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^text_projection$", "projection_layer"),
    (r"^transformer\.resblocks\.", "transformer."),
    (r"\.ln_1\.", ".pre_norm_mha.0."),
    (r"\.attn\.in_proj_", ".pre_norm_mha.1.qkv_proj."),
    (r"\.attn\.", ".pre_norm_mha.1."),
    (r"\.ln_2\.", ".pre_norm_ffn.0."),
    (r"\.mlp\.c_fc\.", ".pre_norm_ffn.1."),
    (r"\.mlp\.c_proj\.", ".pre_norm_ffn.4."),
    (r"\.mlp\.", ".convffn."),
)
_APPLE_BRANCHES = (
    (r"\.conv_kxk\.", ".rbr_conv."),
    (r"\.conv_scale\.", ".rbr_scale."),
    (r"\.identity\.", ".rbr_skip."),
    (r"(layer_scale(_\d)?)\.gamma$", r"\1"),
)
_FASTVIT_STAGES = 4


def _apple_stage(match: re.Match[str]) -> str:
    """timm's `stages.I.{downsample,pos_emb,blocks}` to Apple's running number in `network`."""
    stage, part = int(match[1]), match[2]
    last = stage == _FASTVIT_STAGES - 1
    if part == "downsample.":
        return f"network.{2 * stage - 1}."
    if part == "pos_emb.pos_enc.":
        return f"network.{2 * stage}.pe."
    return f"network.{2 * stage + int(last)}."


# What is not renamed alone; timm's heads have a bias, Apple's projections none.
_APPLE_REPACKED = {
    "head.fc.weight": Source(("image_encoder.model.head.proj",), TRANSPOSED),
    "head.fc.bias": Source(()),
    "head.weight": Source(("image_encoder.model.classifier.proj",), TRANSPOSED),
    "head.bias": Source(()),
    "pos_embed": Source(("image_encoder.model.pos_embed.pos_embed.pos_embed",), IN_ONE_MORE_AXIS),
}
_VIT_PARTS = ("patch_embed.", "blocks.", "norm.", "cls_token")


def _source(name: str) -> Source:
    if name.startswith("visual.trunk."):
        key = name.removeprefix("visual.trunk.")
        if key in _APPLE_REPACKED:
            return _APPLE_REPACKED[key]
        if key.startswith(_VIT_PARTS):
            return Source((f"image_encoder.model.{renamed(key, _APPLE_VIT)}",))
        key = re.sub(r"^stages\.(\d+)\.(downsample\.|pos_emb\.pos_enc\.|blocks\.)", _apple_stage, key)
        return Source((f"image_encoder.model.{renamed(key, (*_APPLE_FASTVIT, *_APPLE_BRANCHES))}",))
    if name == "text.positional_embedding":
        key = "text_encoder.positional_embedding.pos_embed.pos_embed"
        return Source((key,), IN_TWO_MORE_AXES)
    if name.startswith("text."):
        key = renamed(name.removeprefix("text."), (*_APPLE_TEXT, *_APPLE_BRANCHES))
        return Source((f"text_encoder.{key}",))
    return Source((name,))


APPLE = Layout("apple", "Apple MobileCLIP", prefixes("image_encoder.model.", "text_encoder."), _source)
