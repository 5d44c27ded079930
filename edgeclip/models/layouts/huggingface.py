"""Hugging Face `CLIPModel`: separate q, k, v; projections as Linear layers, so transposed."""

from __future__ import annotations

import re

from edgeclip.models.layouts.layout import THREE_JOINED, TRANSPOSED, Layout, Source, prefixes, renamed

_HF_PLAIN = {
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "text.token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "text.positional_embedding": "text_model.embeddings.position_embedding.weight",
}
_HF_TRANSPOSED = {"visual.proj": "visual_projection.weight", "text.text_projection": "text_projection.weight"}
_HF_MODULES = (
    (r"^visual\.transformer\.resblocks\.", "vision_model.encoder.layers."),
    (r"^text\.transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"^visual\.ln_pre\.", "vision_model.pre_layrnorm."),  # sic
    (r"^visual\.ln_post\.", "vision_model.post_layernorm."),
    (r"^text\.ln_final\.", "text_model.final_layer_norm."),
    (r"\.ln_1\.", ".layer_norm1."),
    (r"\.ln_2\.", ".layer_norm2."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def _source(name: str) -> Source:
    if name in _HF_PLAIN:
        return Source((_HF_PLAIN[name],))
    if name in _HF_TRANSPOSED:
        return Source((_HF_TRANSPOSED[name],), TRANSPOSED)
    key = renamed(name, _HF_MODULES)
    if packed := re.fullmatch(r"(.*\.self_attn\.)in_proj_(weight|bias)", key):
        prefix, kind = packed.groups()
        return Source(tuple(f"{prefix}{part}_proj.{kind}" for part in "qkv"), THREE_JOINED)
    return Source((key,))


CLIP_MODEL = Layout(
    "huggingface-clip",
    "Hugging Face CLIPModel",
    prefixes("vision_model.", "text_model."),
    _source,
    re.compile(r".*\.embeddings\.position_ids"),
)
