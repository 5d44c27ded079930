"""The published implementations of each model: what loading a checkpoint is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from edgeclip.models.torchvision_shim import declare_torchvision_ops
from tests.support import apple_mobileclip
from tests.support.live import make_live, normalised, pictures, token_ids

declare_torchvision_ops()  # before anything imports torchvision
import open_clip  # noqa: E402


def apple(spec):
    """Apple's module tree."""
    return apple_mobileclip.MODELS[spec.name]()


def open_clip_flat(spec):
    """`open_clip.CLIP`: the text tower's parameters are the model's own."""
    return open_clip.CLIP(embed_dim=spec.embed_dim, **spec.architecture)


def open_clip_custom(spec):
    """`open_clip.CustomTextCLIP`: the text tower apart, under `text.`."""
    return open_clip.CustomTextCLIP(embed_dim=spec.embed_dim, **spec.architecture)


def huggingface(spec):
    """`transformers.CLIPModel` in the shape of a row that open_clip builds."""
    from transformers import CLIPConfig, CLIPModel

    vision, text = spec.architecture["vision_cfg"], spec.architecture["text_cfg"]
    hidden_act = "quick_gelu" if spec.architecture.get("quick_gelu") else "gelu"
    config = CLIPConfig(
        projection_dim=spec.embed_dim,
        vision_config={
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "hidden_size": vision["width"],
            "intermediate_size": 4 * vision["width"],
            "num_hidden_layers": vision["layers"],
            "num_attention_heads": vision["width"] // vision["head_width"],
            "hidden_act": hidden_act,
        },
        text_config={
            "vocab_size": text["vocab_size"],
            "max_position_embeddings": text["context_length"],
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "hidden_act": hidden_act,
            "eos_token_id": spec.tokenizer.eot,
        },
    )
    return CLIPModel(config)


def live(make, spec):
    """A model in which every tensor shows: `live(apple, spec)`."""
    model = make(spec)
    images, ids = pictures(spec), token_ids(spec)
    return make_live(model, lambda: embeddings(model, spec, images, ids))


def custom_text_names(flat):
    """A flat OpenCLIP state dict with the text tower apart, renamed by open_clip."""
    return open_clip.model.convert_to_custom_text_state_dict(flat)


def tinyclip_names(flat, wrapper=""):
    """A flat OpenCLIP state dict in the names of TinyCLIP's three encoders; `wrapper` is what training puts around each."""

    def renamed(key):
        if key == "logit_scale":
            return f"_logit_scale.{wrapper}{key}"
        return f"_image_encoder.{wrapper}{key}" if key.startswith("visual.") else f"_text_encoder.{wrapper}{key}"

    return {renamed(key): value for key, value in flat.items()}


@torch.no_grad()
def embeddings(model, spec, images, ids):
    """Both towers on pictures in [0, 1] and token ids: two (N, D), unit length."""
    images = normalised(spec, images)
    if hasattr(model, "encode_image"):
        return F.normalize(model.encode_image(images), dim=-1), F.normalize(model.encode_text(ids), dim=-1)
    both = model(pixel_values=images, input_ids=ids)
    return both.image_embeds, both.text_embeds
