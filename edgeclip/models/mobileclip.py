"""MobileCLIP (Vasu et al., CVPR 2024, arXiv 2311.17049).

Images: FastViT, or in B a ViT-B/16 with a convolutional stem, all timm's. Texts: a plain transformer, open_clip's, but in S0 a
hybrid one (ours). Figures are those of the model table in Apple's README (github.com/apple/ml-mobileclip); hashes of files
those that the hub shows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgeclip.models import openclip
from edgeclip.models.demo import DEMO_LICENCE
from edgeclip.models.openclip import CLIP_BPE
from edgeclip.spec import HubFile, Licence, ModelSpec, Preprocess, Published

if TYPE_CHECKING:
    from edgeclip.models.pair import EncoderPair

APPLE_AMLR = Licence(
    name="Apple Machine Learning Research Model License",
    url="https://github.com/apple/ml-mobileclip/blob/main/LICENSE_MODELS",
    commercial_use=False,
)


def build_hybrid(spec: ModelSpec) -> EncoderPair:
    """Build a FastViT image tower and a hybrid text tower, unfused, with fresh weights."""
    from edgeclip.models.hybrid_text import HybridTextTower
    from edgeclip.models.pair import EncoderPair

    visual = openclip.timm_tower(num_classes=spec.embed_dim, **spec.architecture["image"])
    text = HybridTextTower(
        vocab_size=49408,
        context_length=spec.tokenizer.context_length,
        embed_dim=spec.embed_dim,
        **spec.architecture["text"],
    )
    return EncoderPair(visual, text)


def build_b(spec: ModelSpec) -> EncoderPair:
    """Build B's towers with the epsilon of Apple's code: torch's 1e-5 in every layer norm, where timm's ViT has 1e-6.

    open_clip, and with it MobileCLIP2-B, which was trained there, stays at timm's.
    """
    from torch import nn

    pair = openclip.build(spec)
    for module in pair.visual.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    return pair


def preprocess(size: int) -> Preprocess:
    """MobileCLIP v1: bilinear to the shortest side, centre crop, values in [0, 1] as they are."""
    return Preprocess(
        size=size,
        resize="shortest",
        crop="center",
        interpolation="bilinear",
        antialias=True,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


def fastvit_and_transformer(image: str, width: int = 512) -> dict[str, Any]:
    """open_clip's configuration of a timm FastViT beside a 12-layer text transformer that is not causal."""
    return {
        "vision_cfg": {"timm_model_name": image, "timm_pool": "avg", "timm_proj": None, "image_size": 256},
        "text_cfg": {**openclip.text_transformer(width), "no_causal_mask": True},
    }


SOURCE = "https://github.com/apple/ml-mobileclip (README)"
LAYOUTS = ("apple", "openclip-custom-text")

B_ARCHITECTURE = {
    "vision_cfg": {"timm_model_name": "vit_base_mci_224", "timm_pool": "token", "timm_proj": None, "image_size": 224},
    "text_cfg": openclip.text_transformer(512),
}
B_FIGURES = Published(
    SOURCE, image_millions=86.3, text_millions=63.4, imagenet_top1_percent=76.8, latency_ms_iphone_12_pro_max=(10.4, 3.3)
)
MOBILECLIP_B = ModelSpec(
    name="mobileclip-b",
    family="mobileclip",
    architecture=B_ARCHITECTURE,
    build=build_b,
    preprocess=preprocess(224),
    tokenizer=CLIP_BPE,
    embed_dim=512,
    image_params=86_349_056,
    text_params=63_428_096,
    licence=APPLE_AMLR,
    layouts=LAYOUTS,
    hub=HubFile(
        "apple/MobileCLIP-B",
        "mobileclip_b.pt",
        sha256="0dd1d92c911841121a0a82af2db74941ffa78bc05d215334b95db030242ec7f9",
    ),
    published=B_FIGURES,
    other_names=("apple/MobileCLIP-B-OpenCLIP",),
)

SPECS = (
    ModelSpec(
        name="mobileclip-s0",
        family="mobileclip",
        architecture={
            "image": {"model_name": "fastvit_mci0"},
            "text": {"width": 512, "heads": 8, "layers": 4},
        },
        build=build_hybrid,
        preprocess=preprocess(256),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=11_406_976,
        text_params=42_441_216,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile(
            "apple/MobileCLIP-S0",
            "mobileclip_s0.pt",
            sha256="809b408eff74f8058843e86a1f92967097d42ba782450e85b8f4867b7f0ca0b7",
        ),
        published=Published(
            SOURCE,
            image_millions=11.4,
            text_millions=42.4,
            imagenet_top1_percent=67.8,
            latency_ms_iphone_12_pro_max=(1.5, 1.6),
        ),
    ),
    ModelSpec(
        name="mobileclip-s1",
        family="mobileclip",
        architecture=fastvit_and_transformer("fastvit_mci1"),
        build=openclip.build,
        preprocess=preprocess(256),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=21_541_632,
        text_params=63_428_096,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile("apple/MobileCLIP-S1", "mobileclip_s1.pt"),
        published=Published(
            SOURCE,
            image_millions=21.5,
            text_millions=63.4,
            imagenet_top1_percent=72.6,
            latency_ms_iphone_12_pro_max=(2.5, 3.3),
        ),
        other_names=("apple/MobileCLIP-S1-OpenCLIP",),
    ),
    ModelSpec(
        name="mobileclip-s2",
        family="mobileclip",
        architecture=fastvit_and_transformer("fastvit_mci2"),
        build=openclip.build,
        preprocess=preprocess(256),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=35_815_232,
        text_params=63_428_096,
        licence=APPLE_AMLR,
        layouts=LAYOUTS,
        hub=HubFile("apple/MobileCLIP-S2", "mobileclip_s2.pt"),
        published=Published(
            SOURCE,
            image_millions=35.7,
            text_millions=63.4,
            imagenet_top1_percent=74.4,
            latency_ms_iphone_12_pro_max=(3.6, 3.3),
        ),
        other_names=("apple/MobileCLIP-S2-OpenCLIP",),
    ),
    MOBILECLIP_B,
    replace(
        MOBILECLIP_B,
        name="mobileclip-b-lt",
        stem="mobileclip_blt",
        hub=HubFile(
            "apple/MobileCLIP-B-LT",
            "mobileclip_blt.pt",
            sha256="670844f7a886dd6eff7a9285adfc53f3d3c889c03bfc8354010cb5c6bf27441a",
        ),
        published=replace(B_FIGURES, imagenet_top1_percent=77.2),
        other_names=("apple/MobileCLIP-B-LT-OpenCLIP", "MobileCLIP-BLT"),
    ),
    ModelSpec(
        name="mobileclip-demo",
        family="mobileclip",
        architecture={
            "image": {"model_name": "fastvit_mci0", "layers": (2, 2, 4, 2), "embed_dims": (32, 64, 128, 256)},
            "text": {"width": 96, "heads": 3, "layers": 4},
        },
        build=build_hybrid,
        preprocess=preprocess(64),
        tokenizer=CLIP_BPE,
        embed_dim=128,
        image_params=2_127_552,
        text_params=5_364_960,
        licence=DEMO_LICENCE,
        layouts=LAYOUTS,
        demo_weights="mobileclip-demo.safetensors",
    ),
)
