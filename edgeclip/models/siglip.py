"""SigLIP (Zhai et al., ICCV 2023, arXiv 2303.15343): timm's ViT with attention pooling, open_clip's text transformer.

Both towers have the GELU by tanh: that is what `flax.linen.gelu` computes, with which big_vision trained them
(`models/vit.py`, `models/proj/image_text/text_transformer.py`), and what Hugging Face's configurations say
(`gelu_pytorch_tanh`). open_clip and timm run the same weights with the exact GELU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeclip.models.openclip import CLASSIFICATION_RESULTS, MODEL_PROFILE, timm_tower
from edgeclip.spec import HubFile, Licence, ModelSpec, Preprocess, Published, Tokenizer

if TYPE_CHECKING:
    from edgeclip.models.pair import EncoderPair

APACHE = Licence(name="Apache-2.0", url="https://github.com/google-research/big_vision/blob/main/LICENSE", commercial_use=True)

# The vocabulary "c4_en", its end token both end and padding.
C4_EN = Tokenizer(tokenizer="sentencepiece", context_length=64, eot=1, pad=1, vocab_size=32000, clean="canonicalize")

# Hugging Face repositories, and those of timm for open_clip.
LAYOUTS = ("huggingface-siglip", "openclip-custom-text")

_EPS = 1e-6  # of every layer norm


def build(spec: ModelSpec) -> EncoderPair:
    """Build both towers with fresh weights: `image` is timm's arguments, `text` is open_clip's."""
    from functools import partial

    image: dict[str, Any] = {"num_classes": 0, "act_layer": "gelu_tanh", **spec.architecture["image"]}
    visual = timm_tower(**image)  # declares what open_clip needs too

    from open_clip.transformer import TextTransformer
    from torch import nn

    from edgeclip.models.pair import EncoderPair

    text = TextTransformer(
        context_length=spec.tokenizer.context_length,
        vocab_size=spec.tokenizer.vocab_size,
        output_dim=spec.embed_dim,
        no_causal_mask=True,
        proj_bias=True,
        pool_type="last",
        pad_id=spec.tokenizer.pad,
        act_layer=partial(nn.GELU, approximate="tanh"),
        norm_layer=partial(nn.LayerNorm, eps=_EPS),
        **spec.architecture["text"],
    )
    return EncoderPair(visual, text, logit_bias=True)


def preprocess(size: int) -> Preprocess:
    """Bicubic to a square whatever the shape, values in [-1, 1]: open_clip's `resize_mode` squash, Hugging Face's processor."""
    return Preprocess(
        size=size,
        resize="squash",
        crop="none",
        interpolation="bicubic",
        antialias=True,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


SPECS = (
    ModelSpec(
        name="siglip-base-patch16-256",
        family="siglip",
        architecture={
            "image": {"model_name": "vit_base_patch16_siglip_256"},
            "text": {"width": 768, "heads": 12, "layers": 12},
        },
        build=build,
        preprocess=preprocess(256),
        tokenizer=C4_EN,
        embed_dim=768,
        image_params=92_930_304,
        text_params=110_271_744,
        licence=APACHE,
        layouts=LAYOUTS,
        scoring="sigmoid",
        hub=HubFile("google/siglip-base-patch16-256", "model.safetensors"),
        vocabulary=HubFile("google/siglip-base-patch16-256", "spiece.model"),
        published=Published(
            f"{MODEL_PROFILE}, {CLASSIFICATION_RESULTS}",
            image_millions=92.93,
            text_millions=110.27,
            image_gmacs=23.41,
            text_gmacs=5.51,
            imagenet_top1_percent=76.53,
        ),
        other_names=("ViT-B-16-SigLIP-256", "timm/ViT-B-16-SigLIP-256"),
    ),
    ModelSpec(
        name="siglip-so400m-14-384",
        family="siglip",
        architecture={
            "image": {"model_name": "vit_so400m_patch14_siglip_384"},
            "text": {"width": 1152, "heads": 16, "layers": 27, "mlp_ratio": 3.7362},
        },
        build=build,
        preprocess=preprocess(384),
        tokenizer=C4_EN,
        embed_dim=1152,
        image_params=428_225_600,
        text_params=449_734_896,
        licence=APACHE,
        layouts=LAYOUTS,
        scoring="sigmoid",
        hub=HubFile("google/siglip-so400m-patch14-384", "model.safetensors"),
        vocabulary=HubFile("google/siglip-so400m-patch14-384", "spiece.model"),
        published=Published(
            f"{MODEL_PROFILE}, {CLASSIFICATION_RESULTS}",
            image_millions=428.23,
            text_millions=449.73,
            image_gmacs=335.18,
            text_gmacs=26.57,
            imagenet_top1_percent=83.08,
        ),
        other_names=("ViT-SO400M-14-SigLIP-384", "timm/ViT-SO400M-14-SigLIP-384"),
    ),
)
