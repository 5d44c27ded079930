"""What rows of the model table share that are open_clip's: the towers it builds, CLIP's tokenizer, OpenAI's preprocessing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeclip.spec import OPENAI_MEAN, OPENAI_STD, ModelSpec, Preprocess, Tokenizer

if TYPE_CHECKING:
    from torch import nn

    from edgeclip.models.pair import EncoderPair

# Where figures are from: open_clip's count two operations for a MAC.
MODEL_PROFILE = "https://github.com/mlfoundations/open_clip/blob/main/docs/model_profile.csv"
CLASSIFICATION_RESULTS = "https://github.com/mlfoundations/open_clip/blob/main/docs/openclip_classification_results.csv"

CLIP_BPE = Tokenizer(tokenizer="clip-bpe", context_length=77, sot=49406, eot=49407, pad=0)


def build(spec: ModelSpec) -> EncoderPair:
    """Build both towers from an open_clip configuration, with fresh weights."""
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    import open_clip

    from edgeclip.models.pair import EncoderPair

    model = open_clip.CustomTextCLIP(embed_dim=spec.embed_dim, **spec.architecture)
    return EncoderPair(model.visual, model.text)


def timm_tower(**arguments: Any) -> nn.Module:
    """An image tower that is one of timm's models, under open_clip's name for it."""
    from edgeclip.models.torchvision_shim import declare_torchvision_ops

    declare_torchvision_ops()
    import timm
    from torch import nn

    tower = nn.Sequential()
    tower.add_module("trunk", timm.create_model(**arguments))
    return tower


def text_transformer(width: int) -> dict[str, Any]:
    """open_clip's configuration of CLIP's text transformer at full depth: 12 layers, heads 64 wide, causal."""
    return {"context_length": 77, "vocab_size": 49408, "width": width, "heads": width // 64, "layers": 12}


def openai_preprocess(size: int) -> Preprocess:
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
