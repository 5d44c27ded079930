"""The layouts in which checkpoints are published, each as a mapping from our tensor names to the file's.

Going from the model to the file, rather than the other way round, makes strictness simple: a tensor the model needs and the
file lacks is missing, a tensor of the file that nothing asked for is extra, and both are named as the file names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

_SEEN_BY_COUNT = "num_batches_tracked"  # BatchNorm's training counter: read if present, never needed


@dataclass(frozen=True)
class Packing:
    """How tensors of a file make up one of the model's, and which shape each has in the file given the model's."""

    assemble: Callable[..., Tensor]
    shape: Callable[[torch.Size], torch.Size]


AS_IS = Packing(lambda tensor: tensor, lambda shape: shape)
TRANSPOSED = Packing(lambda tensor: tensor.T, lambda shape: torch.Size(reversed(shape)))
THREE_JOINED = Packing(lambda *tensors: torch.cat(tensors), lambda shape: torch.Size((shape[0] // 3, *shape[1:])))
IN_TWO_MORE_AXES = Packing(lambda tensor: tensor[0, 0], lambda shape: torch.Size((1, 1, *shape)))


@dataclass(frozen=True)
class Source:
    """Where one of the model's tensors comes from. Without keys: the layout has no such tensor, and zeros stand for it."""

    keys: tuple[str, ...]
    packing: Packing = AS_IS


@dataclass(frozen=True)
class Layout:
    """One published layout.

    `recognise` looks at the file's keys; `source` maps a name of `EncoderPair`; `ignored` matches buffers that some
    writers save and no model needs.
    """

    name: str
    families: frozenset[str]
    recognise: Callable[[Collection[str]], bool]
    source: Callable[[str], Source]
    ignored: re.Pattern[str] = re.compile(r"(?!)")


def normalise_key(key: str) -> str:
    """Drop the wrappers of distributed training: `module.visual.proj`, `_image_encoder.module.visual.proj`."""
    return key.removeprefix("module.").replace(".module.", ".", 1)


# OpenCLIP: `visual.*`, and the text tower either flat (CLIP) or under `text.` (CustomTextCLIP).


def _openclip_flat(name: str) -> Source:
    return Source((name.removeprefix("text."),))


def _openclip_custom(name: str) -> Source:
    return Source((name,))


# TinyCLIP's own code wraps OpenCLIP's flat names into three encoders.


def _tinyclip(name: str) -> Source:
    if name.startswith("visual."):
        return Source((f"_image_encoder.{name}",))
    if name.startswith("text."):
        return Source((f"_text_encoder.{name.removeprefix('text.')}",))
    return Source((f"_logit_scale.{name}",))


# Hugging Face `CLIPModel`: separate q, k, v; projections as Linear layers, so transposed.

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


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _huggingface(name: str) -> Source:
    if name in _HF_PLAIN:
        return Source((_HF_PLAIN[name],))
    if name in _HF_TRANSPOSED:
        return Source((_HF_TRANSPOSED[name],), TRANSPOSED)
    key = _renamed(name, _HF_MODULES)
    if packed := re.fullmatch(r"(.*\.self_attn\.)in_proj_(weight|bias)", key):
        prefix, kind = packed.groups()
        return Source(tuple(f"{prefix}{part}_proj.{kind}" for part in "qkv"), THREE_JOINED)
    return Source((key,))


# Apple's MobileCLIP module tree. Its image tower numbers blocks, downsamplings and the positional convolution in one list.

_APPLE_IMAGE = (
    (r"^stem\.", "patch_embed."),
    (r"^final_conv\.", "conv_exp."),
    (r"^(conv_exp\.se\.)fc1\.", r"\1reduce."),
    (r"^(conv_exp\.se\.)fc2\.", r"\1expand."),
    (r"\.large_conv\.", ".lkb_origin."),
    (r"\.mlp\.", ".convffn."),
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


def _apple(name: str) -> Source:
    if name.startswith("visual.trunk."):
        key = name.removeprefix("visual.trunk.")
        if key == "head.fc.weight":
            return Source(("image_encoder.model.head.proj",), TRANSPOSED)
        if key == "head.fc.bias":  # timm's head has a bias, Apple's projection has none
            return Source(())
        key = re.sub(r"^stages\.(\d+)\.(downsample\.|pos_emb\.pos_enc\.|blocks\.)", _apple_stage, key)
        return Source((f"image_encoder.model.{_renamed(key, (*_APPLE_IMAGE, *_APPLE_BRANCHES))}",))
    if name == "text.positional_embedding":
        key = "text_encoder.positional_embedding.pos_embed.pos_embed"
        return Source((key,), IN_TWO_MORE_AXES)
    if name.startswith("text."):
        key = _renamed(name.removeprefix("text."), (*_APPLE_TEXT, *_APPLE_BRANCHES))
        return Source((f"text_encoder.{key}",))
    return Source((name,))


def _prefix(*prefixes: str) -> Callable[[Collection[str]], bool]:
    return lambda keys: all(any(key.startswith(prefix) for key in keys) for prefix in prefixes)


LAYOUTS = (
    Layout("Apple MobileCLIP", frozenset({"mobileclip"}), _prefix("image_encoder.model.", "text_encoder."), _apple),
    Layout("TinyCLIP", frozenset({"tinyclip"}), _prefix("_image_encoder.", "_text_encoder."), _tinyclip),
    Layout(
        "Hugging Face CLIPModel",
        frozenset({"tinyclip"}),
        _prefix("vision_model.", "text_model."),
        _huggingface,
        re.compile(r".*\.embeddings\.position_ids"),
    ),
    Layout(
        "OpenCLIP (text tower apart)",
        frozenset({"mobileclip", "tinyclip"}),
        _prefix("visual.", "text."),
        _openclip_custom,
        re.compile(r"text\.attn_mask"),
    ),
    Layout(
        "OpenCLIP",
        frozenset({"tinyclip"}),
        _prefix("visual.", "transformer.", "token_embedding."),
        _openclip_flat,
        re.compile(r"attn_mask|input_resolution|context_length|vocab_size"),
    ),
)


def is_optional(name: str) -> bool:
    """Whether a model can do without a tensor."""
    return name.endswith(_SEEN_BY_COUNT)
