"""MobileCLIP2 (Faghri et al., TMLR 2025, arXiv 2508.20691): architectures of MobileCLIP and three larger ones, trained anew.

Published in OpenCLIP's layout, by Apple (`.pt`) and by timm. Figures are those of the table on the models' hub pages. For S0
the README of github.com/apple/ml-mobileclip has MobileCLIP-S0's text tower (42.4 M, 1.6 ms) instead; the checkpoint's
configuration and size, 300 MB, are those of the hub's row. Mean, standard deviation and interpolation differ from model to
model: they are those of open_clip's `pretrained.py`, and of the hub pages.
"""

from __future__ import annotations

from msgspec.structs import replace

from edgeclip.models import openclip
from edgeclip.models.mobileclip import APPLE_AMLR, B_ARCHITECTURE, fastvit_and_transformer, preprocess
from edgeclip.models.openclip import CLIP_BPE, openai_preprocess
from edgeclip.spec import HubFile, ModelSpec, Preprocess, Published

SOURCE = "https://huggingface.co/apple/MobileCLIP2-B (model table)"
LAYOUTS = ("openclip-custom-text",)


def normalised(size: int) -> Preprocess:
    """S3 and S4: OpenAI's mean and standard deviation, but bilinear as MobileCLIP."""
    return replace(openai_preprocess(size), interpolation="bilinear")


SPECS = (
    ModelSpec(
        name="mobileclip2-s0",
        family="mobileclip2",
        architecture=fastvit_and_transformer("fastvit_mci0"),
        build=openclip.build,
        preprocess=preprocess(256),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=11_406_976,
        text_params=63_428_096,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile("apple/MobileCLIP2-S0", "mobileclip2_s0.pt"),
        published=Published(
            SOURCE,
            image_millions=11.4,
            text_millions=63.4,
            imagenet_top1_percent=71.5,
            latency_ms_iphone_12_pro_max=(1.5, 3.3),
        ),
        other_names=("timm/MobileCLIP2-S0-OpenCLIP",),
    ),
    ModelSpec(
        name="mobileclip2-s2",
        family="mobileclip2",
        architecture=fastvit_and_transformer("fastvit_mci2"),
        build=openclip.build,
        preprocess=preprocess(256),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=35_815_232,
        text_params=63_428_096,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile("apple/MobileCLIP2-S2", "mobileclip2_s2.pt"),
        published=Published(
            SOURCE,
            image_millions=35.7,
            text_millions=63.4,
            imagenet_top1_percent=77.2,
            latency_ms_iphone_12_pro_max=(3.6, 3.3),
        ),
        other_names=("timm/MobileCLIP2-S2-OpenCLIP",),
    ),
    ModelSpec(
        name="mobileclip2-b",
        family="mobileclip2",
        architecture=B_ARCHITECTURE,
        build=openclip.build,
        preprocess=preprocess(224),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=86_349_056,
        text_params=63_428_096,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile(
            "apple/MobileCLIP2-B",
            "mobileclip2_b.pt",
            sha256="144b1344f5f01f08af8be1077f0db5eec95bf0fd1e349c1e9ca6102724448486",
        ),
        published=Published(
            SOURCE,
            image_millions=86.3,
            text_millions=63.4,
            imagenet_top1_percent=79.4,
            latency_ms_iphone_12_pro_max=(10.4, 3.3),
        ),
        other_names=("timm/MobileCLIP2-B-OpenCLIP",),
    ),
    ModelSpec(
        name="mobileclip2-s3",
        family="mobileclip2",
        architecture=fastvit_and_transformer("fastvit_mci3", width=768),
        build=openclip.build,
        preprocess=normalised(256),
        tokenizer=CLIP_BPE,
        embed_dim=768,
        image_params=125_235_648,
        text_params=123_650_304,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile("apple/MobileCLIP2-S3", "mobileclip2_s3.pt"),
        published=Published(
            SOURCE,
            image_millions=125.1,
            text_millions=123.6,
            imagenet_top1_percent=80.7,
            latency_ms_iphone_12_pro_max=(8.0, 6.6),
        ),
        other_names=("timm/MobileCLIP2-S3-OpenCLIP",),
    ),
    ModelSpec(
        name="mobileclip2-s4",
        family="mobileclip2",
        architecture=fastvit_and_transformer("fastvit_mci4", width=768),
        build=openclip.build,
        preprocess=normalised(256),
        tokenizer=CLIP_BPE,
        embed_dim=768,
        image_params=321_784_832,
        text_params=123_650_304,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile("apple/MobileCLIP2-S4", "mobileclip2_s4.pt"),
        published=Published(
            SOURCE,
            image_millions=321.6,
            text_millions=123.6,
            imagenet_top1_percent=81.9,
            latency_ms_iphone_12_pro_max=(19.6, 6.6),
        ),
        other_names=("timm/MobileCLIP2-S4-OpenCLIP",),
    ),
    ModelSpec(
        name="mobileclip2-l-14",
        family="mobileclip2",
        architecture={
            # Erf GELU: not the "quickgelu" variant of the same ViT-L/14.
            "vision_cfg": {
                "timm_model_name": "vit_large_patch14_clip_224",
                "timm_pool": "token",
                "timm_proj": None,
                "image_size": 224,
            },
            "text_cfg": {**openclip.text_transformer(768), "no_causal_mask": True},
        },
        build=openclip.build,
        preprocess=openai_preprocess(224),
        tokenizer=CLIP_BPE,
        embed_dim=768,
        image_params=303_966_976,
        text_params=123_650_304,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile("apple/MobileCLIP2-L-14", "mobileclip2_l14.pt"),
        published=Published(
            SOURCE,
            image_millions=304.3,
            text_millions=123.6,
            imagenet_top1_percent=81.9,
            latency_ms_iphone_12_pro_max=(57.9, 6.6),
        ),
        other_names=("timm/MobileCLIP2-L-14-OpenCLIP", "MobileCLIP2-L14"),
    ),
)
