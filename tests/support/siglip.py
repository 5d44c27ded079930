"""SigLIP at a size for tests, and the published implementations of it."""

from __future__ import annotations

import dataclasses

from torch import nn

from edgeclip.models import MODELS
from edgeclip.models.siglip import preprocess
from edgeclip.models.torchvision_shim import declare_torchvision_ops

declare_torchvision_ops()  # before anything imports torchvision
import open_clip  # noqa: E402
import timm  # noqa: E402

_BASE = MODELS["siglip-base-patch16-256"]
_TIMM = {"img_size": 64, "patch_size": 16, "embed_dim": 96, "depth": 2, "num_heads": 3}

# All that the published ones have, at 1/500 of the work: other widths, depths and sizes, the same vocabulary and length.
TINY_SIGLIP = dataclasses.replace(
    _BASE,
    name="siglip-tiny",
    architecture={
        "image": {**_BASE.architecture["image"], **_TIMM},
        "text": {"width": 96, "heads": 3, "layers": 2},
    },
    preprocess=preprocess(64),
    embed_dim=96,
    image_params=0,
    text_params=0,
    hub=None,
    published=None,
    other_names=(),
)


class _Visual(nn.Sequential):
    """open_clip's `TimmModel` gives timm no other sizes, so its trunk is made here."""

    def __init__(self, **options):
        super().__init__()
        self.add_module("trunk", timm.create_model(num_classes=0, **options))


def open_clip_siglip(spec, act="gelu_tanh"):
    """`open_clip.CustomTextCLIP` as its SigLIP configurations make it; act: timm's name of the GELU."""
    text = {
        "context_length": 64,
        "vocab_size": 32000,
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "norm_kwargs": {"eps": 1e-6},
        "act_kwargs": {"approximate": "tanh" if act == "gelu_tanh" else "none"},
        **spec.architecture["text"],
    }
    tiny_vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 16, "patch_size": 16}
    model = open_clip.CustomTextCLIP(spec.embed_dim, tiny_vision, text, init_logit_bias=-10)
    model.visual = _Visual(act_layer=act, **spec.architecture["image"])
    return model


def huggingface_siglip(spec):
    """`transformers.SiglipModel`, with its default activation."""
    from transformers import SiglipConfig, SiglipModel

    image, text = timm.create_model(num_classes=0, **spec.architecture["image"]), spec.architecture["text"]
    block = image.blocks[0]
    vision = {
        "image_size": spec.preprocess.size,
        "patch_size": image.patch_embed.patch_size[0],
        "hidden_size": image.embed_dim,
        "intermediate_size": block.mlp.fc1.out_features,
        "num_hidden_layers": len(image.blocks),
        "num_attention_heads": block.attn.num_heads,
    }
    words = {
        "vocab_size": spec.tokenizer.vocab_size,
        "max_position_embeddings": spec.tokenizer.context_length,
        "hidden_size": text["width"],
        "intermediate_size": int(text["width"] * text.get("mlp_ratio", 4)),
        "num_hidden_layers": text["layers"],
        "num_attention_heads": text["heads"],
        "projection_size": spec.embed_dim,
    }
    return SiglipModel(SiglipConfig(vision_config=vision, text_config=words))
