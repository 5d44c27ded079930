"""OpenAI's CLIP (Radford et al., 2021, arXiv 2103.00020), vision transformers of base size, built by open_clip.

They use QuickGELU, x sigmoid(1.702 x). open_clip's models of the same shape with GELU (`ViT-B-32` without `-quickgelu`, LAION's
weights) have the same tensors: no state dict says which it was trained with, so a file of those would load here without a
complaint and give embeddings that are a little off.
"""

from __future__ import annotations

from typing import Any

from edgeclip.models.openclip import CLIP_BPE, MODEL_PROFILE, build, openai_preprocess
from edgeclip.spec import HubFile, Licence, ModelSpec, Published

MIT = Licence(name="MIT", url="https://github.com/openai/CLIP/blob/main/LICENSE", commercial_use=True)

# OpenAI's own names are open_clip's; its files are TorchScript archives, from which a state dict has to be saved first.
LAYOUTS = ("huggingface-clip", "openclip", "openclip-custom-text")


def _architecture(patch_size: int) -> dict[str, Any]:
    return {
        "quick_gelu": True,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "head_width": 64, "patch_size": patch_size},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
    }


SPECS = (
    ModelSpec(
        name="clip-vit-b-32",
        family="clip",
        architecture=_architecture(32),
        build=build,
        preprocess=openai_preprocess(224),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=87_849_216,
        text_params=63_428_096,
        licence=MIT,
        layouts=LAYOUTS,
        hub=HubFile("openai/clip-vit-base-patch32", "pytorch_model.bin"),
        other_names=("timm/vit_base_patch32_clip_224.openai", "ViT-B-32-quickgelu", "ViT-B-32"),
        published=Published(
            f"{MODEL_PROFILE}, https://arxiv.org/abs/2103.00020",
            image_millions=87.85,
            text_millions=63.43,
            image_gmacs=4.41,
            text_gmacs=2.98,
            imagenet_top1_percent=63.2,
        ),
    ),
    ModelSpec(
        name="clip-vit-b-16",
        family="clip",
        architecture=_architecture(16),
        build=build,
        preprocess=openai_preprocess(224),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=86_192_640,
        text_params=63_428_096,
        licence=MIT,
        layouts=LAYOUTS,
        hub=HubFile("openai/clip-vit-base-patch16", "pytorch_model.bin"),
        other_names=("timm/vit_base_patch16_clip_224.openai", "ViT-B-16-quickgelu", "ViT-B-16"),
        published=Published(
            f"{MODEL_PROFILE}, https://arxiv.org/abs/2103.00020",
            image_millions=86.19,
            text_millions=63.43,
            image_gmacs=17.565,
            text_gmacs=2.98,
            imagenet_top1_percent=68.6,
        ),
    ),
)
