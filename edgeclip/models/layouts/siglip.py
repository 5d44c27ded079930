"""Hugging Face `SiglipModel`: separate q, k, v in blocks, but torch's packed attention in the pooling head."""

from __future__ import annotations

import re
from collections.abc import Collection

from edgeclip.models.layouts.layout import (
    FIRST_OF_THREE,
    IN_ONE_AXIS_LESS,
    LAST_TWO_OF_THREE,
    THE_ONLY_ONE,
    THREE_JOINED,
    Layout,
    Source,
    renamed,
)

_HEAD = "vision_model.head."
_SIGN = f"{_HEAD}probe"  # CLIPModel has the same prefixes, but no attention pooling
_PLAIN = {
    "text.token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "text.positional_embedding": "text_model.embeddings.position_embedding.weight",
    "visual.trunk.attn_pool.latent": _SIGN,
}
_POOL_PACKED = re.compile(r"visual\.trunk\.attn_pool\.(q|kv)\.(weight|bias)")
_TRUNK_PACKED = re.compile(r"visual\.trunk\.blocks\.(\d+)\.attn\.qkv\.(weight|bias)")
_TEXT_PACKED = re.compile(r"text\.transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")
_MODULES = (
    (r"^visual\.trunk\.patch_embed\.proj\.", "vision_model.embeddings.patch_embedding."),
    (r"^visual\.trunk\.attn_pool\.proj\.", f"{_HEAD}attention.out_proj."),
    (r"^visual\.trunk\.attn_pool\.norm\.", f"{_HEAD}layernorm."),
    (r"^visual\.trunk\.attn_pool\.", _HEAD),
    (r"^visual\.trunk\.norm\.", "vision_model.post_layernorm."),
    (r"^visual\.trunk\.blocks\.(\d+)\.norm([12])\.", r"vision_model.encoder.layers.\1.layer_norm\2."),
    (r"^visual\.trunk\.blocks\.(\d+)\.attn\.proj\.", r"vision_model.encoder.layers.\1.self_attn.out_proj."),
    (r"^visual\.trunk\.blocks\.", "vision_model.encoder.layers."),
    (r"^text\.ln_final\.", "text_model.final_layer_norm."),
    (r"^text\.text_projection\.", "text_model.head."),
    (r"^text\.transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def _source(name: str) -> Source:
    if name in _PLAIN:
        return Source((_PLAIN[name],))
    if name in ("logit_scale", "logit_bias"):
        return Source((name,), THE_ONLY_ONE)
    if name == "visual.trunk.pos_embed":
        return Source(("vision_model.embeddings.position_embedding.weight",), IN_ONE_AXIS_LESS)
    if pooled := _POOL_PACKED.fullmatch(name):
        packing = FIRST_OF_THREE if pooled[1] == "q" else LAST_TWO_OF_THREE
        return Source((f"{_HEAD}attention.in_proj_{pooled[2]}",), packing)
    for pattern, tower in ((_TRUNK_PACKED, "vision_model"), (_TEXT_PACKED, "text_model")):
        if packed := pattern.fullmatch(name):
            prefix = f"{tower}.encoder.layers.{packed[1]}.self_attn."
            return Source(tuple(f"{prefix}{part}_proj.{packed[2]}" for part in "qkv"), THREE_JOINED)
    return Source((renamed(name, _MODULES),))


def _recognise(keys: Collection[str]) -> bool:
    return _SIGN in keys and any(key.startswith("text_model.") for key in keys)


SIGLIP_MODEL = Layout(
    "huggingface-siglip",
    "Hugging Face SiglipModel",
    _recognise,
    _source,
    re.compile(r".*\.embeddings\.position_ids"),
)
