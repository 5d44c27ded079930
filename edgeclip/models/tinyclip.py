"""TinyCLIP (Wu et al., ICCV 2023, arXiv 2309.12314): plain CLIP transformers at small sizes, built by open_clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeclip.models.demo import DEMO_LICENCE
from edgeclip.spec import OPENAI_MEAN, OPENAI_STD, HubFile, Licence, ModelSpec, Preprocess, Tokenizer

if TYPE_CHECKING:
    from edgeclip.models.pair import EncoderPair

CLIP_BPE = Tokenizer(tokenizer="clip-bpe", context_length=77, sot=49406, eot=49407, pad=0)
MIT = Licence(name="MIT", url="https://github.com/microsoft/Cream/blob/main/TinyCLIP/LICENSE", commercial_use=True)


def build(spec: ModelSpec) -> EncoderPair:
    """Build the towers of a plain CLIP from an open_clip configuration, with fresh weights."""
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    import open_clip

    from edgeclip.models.pair import EncoderPair

    model = open_clip.CustomTextCLIP(embed_dim=spec.embed_dim, **spec.architecture)
    return EncoderPair(model.visual, model.text)


def preprocess(size: int) -> Preprocess:
    """OpenAI's: bicubic to the shortest side, centre crop, OpenAI mean and std."""
    return Preprocess(
        size=size,
        resize="shortest",
        crop="center",
        interpolation="bicubic",
        antialias=True,
        mean=OPENAI_MEAN,
        std=OPENAI_STD,
    )


SPECS = (
    ModelSpec(
        name="tinyclip-vit-8m-16",
        family="tinyclip",
        architecture={
            "vision_cfg": {"image_size": 224, "layers": 10, "width": 256, "head_width": 64, "patch_size": 16},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 3},
        },
        build=build,
        preprocess=preprocess(224),
        tokenizer=CLIP_BPE,
        embed_dim=512,
        image_params=8_276_992,
        text_params=15_169_024,
        licence=MIT,
        hub=HubFile("wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M", "model.safetensors"),
        published={"imagenet_top1_percent": "41.1", "source": "TinyCLIP model zoo"},
    ),
    ModelSpec(
        name="tinyclip-demo",
        family="tinyclip",
        architecture={
            "vision_cfg": {"image_size": 64, "layers": 6, "width": 144, "head_width": 36, "patch_size": 8},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 96, "heads": 3, "layers": 3},
        },
        build=build,
        preprocess=preprocess(64),
        tokenizer=CLIP_BPE,
        embed_dim=128,
        image_params=1_560_384,
        text_params=5_098_560,
        licence=DEMO_LICENCE,
        demo_weights="tinyclip-demo.safetensors",
    ),
)
