"""Structures of the model table at a size that tests can afford, and which models of it are small enough themselves."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import torch

from edgeclip.models import MODELS
from edgeclip.models.openclip import openai_preprocess
from edgeclip.models.torchvision_shim import declare_torchvision_ops
from edgeclip.spec import ModelSpec

declare_torchvision_ops()
from timm.models import fastvit, register_model, vision_transformer, vision_transformer_hybrid  # noqa: E402


@register_model
def reduced_mci1(pretrained=False, **kwargs):
    """Four stages, attention in the last one, squeeze and excitation: S0, S1, S2."""
    return fastvit.fastvit_mci1(layers=(1, 1, 2, 1), embed_dims=(32, 32, 64, 128), **kwargs)


@register_model
def reduced_mci3(pretrained=False, **kwargs):
    """Five stages, attention behind layer norms in the last two, a stem without 1x1 branches: S3, S4."""
    return fastvit.fastvit_mci3(layers=(1, 1, 2, 1, 1), embed_dims=(32, 32, 64, 64, 128), **kwargs)


@register_model
def reduced_vit_mci(pretrained=False, **kwargs):
    """A convolutional stem, no position of the class token: B."""
    return vision_transformer_hybrid.vit_base_mci_224(depth=2, img_size=64, **kwargs)


@register_model
def reduced_vit_clip(pretrained=False, **kwargs):
    """A patch embedding wider than 13 pixels, a norm in front of the blocks: L-14."""
    return vision_transformer.vit_large_patch14_clip_224(depth=4, embed_dim=96, num_heads=4, img_size=112, **kwargs)


def _reduced(name: str, image: str, size: int) -> ModelSpec:
    full = MODELS[name]
    text = {**full.architecture["text_cfg"], "width": 64, "heads": 2, "layers": 4}
    vision = {**full.architecture["vision_cfg"], "timm_model_name": image, "image_size": size}
    return replace(
        full,
        name=f"reduced-{name}",
        architecture={"vision_cfg": vision, "text_cfg": text},
        preprocess=msgspec.structs.replace(full.preprocess, size=size),
        embed_dim=64,
        hub=None,
        published=None,
        other_names=(),
    )


REDUCED = {
    spec.name: spec
    for spec in (
        _reduced("mobileclip-s1", "reduced_mci1", 64),
        _reduced("mobileclip-b", "reduced_vit_mci", 64),
        _reduced("mobileclip2-s3", "reduced_mci3", 128),
        _reduced("mobileclip2-l-14", "reduced_vit_clip", 112),
    )
}
NEW = [name for name in REDUCED if name != "reduced-mobileclip-s1"]  # the demo models have its parts
# One of each structure at full size, and the demo models.
SMALL = ("mobileclip-s0", "mobileclip-demo", "tinyclip-vit-8m-16", "tinyclip-demo")


def spec_of(name: str) -> ModelSpec:
    """A model of the table or a reduced one."""
    return REDUCED[name] if name in REDUCED else MODELS[name]


TEXT = {"context_length": 77, "vocab_size": 49408}


def reduced(name, vision, text, size=64, **rest):
    """The row `name` with these towers, its counts of parameters what they come to."""
    spec = MODELS[name]
    towers = {"vision_cfg": {"image_size": size, **vision}, "text_cfg": {**TEXT, **text}}
    spec = replace(spec, architecture={**rest, **towers}, preprocess=openai_preprocess(size), embed_dim=64)
    with torch.device("meta"):
        pair = spec.build(spec)
    counts = [sum(parameter.numel() for parameter in tower.parameters()) for tower in (pair.visual, pair.text)]
    return replace(spec, image_params=counts[0], text_params=counts[1])


def clip():
    """QuickGELU."""
    vision = {"layers": 3, "width": 128, "head_width": 32, "patch_size": 16}
    return reduced("clip-vit-b-32", vision, {"width": 64, "heads": 4, "layers": 2}, quick_gelu=True)


def resnet():
    """A ResNet that pools by attention, from 3 x 3 positions."""
    vision = {"layers": [2, 1, 1, 1], "width": 16, "patch_size": None}
    return reduced("tinyclip-resnet-19m", vision, {"width": 64, "heads": 4, "layers": 2}, size=96)


def pruned():
    """Layers of different shapes, some with a part missing (None) or only its bias left (0)."""
    vision = {"patch_size": 16, "width": 90, "head_width": 16, "heads": (3, None, 2, 0), "mlp_widths": (100, 60, 0, None)}
    text = {"width": 61, "head_width": 16, "heads": (1, 3, 0, 2, 2), "mlp_widths": (None, 70, 50, 60, 40)}
    return reduced("tinyclip-auto-vit-22m-32", vision, text)


STRUCTURES = {"quick-gelu": clip, "attention-pool": resnet, "pruned": pruned}
