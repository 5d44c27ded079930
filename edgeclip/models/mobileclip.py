"""MobileCLIP (Vasu et al., CVPR 2024, arXiv 2311.17049): FastViT image towers (timm's) and a hybrid text tower (ours)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeclip.models.demo import DEMO_LICENCE
from edgeclip.models.tinyclip import CLIP_BPE
from edgeclip.spec import HubFile, Licence, ModelSpec, Preprocess

if TYPE_CHECKING:
    from edgeclip.models.pair import EncoderPair

APPLE_AMLR = Licence(
    name="Apple Machine Learning Research Model License",
    url="https://github.com/apple/ml-mobileclip/blob/main/LICENSE_MODELS",
    commercial_use=False,
)


def build(spec: ModelSpec) -> EncoderPair:
    """Build a FastViT image tower and a hybrid text tower, unfused, with fresh weights."""
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    import timm
    from torch import nn

    from edgeclip.models.hybrid_text import HybridTextTower
    from edgeclip.models.pair import EncoderPair

    # `trunk` is open_clip's name for a timm model inside an image tower.
    trunk = timm.create_model(num_classes=spec.embed_dim, **spec.architecture["image"])
    visual = nn.Sequential()
    visual.add_module("trunk", trunk)
    text = HybridTextTower(
        vocab_size=49408,
        context_length=spec.tokenizer.context_length,
        embed_dim=spec.embed_dim,
        **spec.architecture["text"],
    )
    return EncoderPair(visual, text)


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


SPECS = (
    ModelSpec(
        name="mobileclip-s0",
        family="mobileclip",
        architecture={
            "image": {"model_name": "fastvit_mci0"},
            "text": {"width": 512, "heads": 8, "layers": 4},
        },
        build=build,
        preprocess=preprocess(256),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=11_406_976,
        text_params=42_441_216,
        licence=APPLE_AMLR,
        hub=HubFile("apple/MobileCLIP-S0", "mobileclip_s0.pt"),
        published={
            "imagenet_top1_percent": "67.8",
            "latency_ms_iphone_12_pro_max": "1.5 + 1.6",
            "source": "MobileCLIP model table",
        },
    ),
    ModelSpec(
        name="mobileclip-demo",
        family="mobileclip",
        architecture={
            "image": {"model_name": "fastvit_mci0", "layers": (2, 2, 4, 2), "embed_dims": (32, 64, 128, 256)},
            "text": {"width": 96, "heads": 3, "layers": 4},
        },
        build=build,
        preprocess=preprocess(64),
        tokenizer=CLIP_BPE,
        embed_dim=128,
        image_params=2_127_552,
        text_params=5_364_960,
        licence=DEMO_LICENCE,
        demo_weights="mobileclip-demo.safetensors",
    ),
)
