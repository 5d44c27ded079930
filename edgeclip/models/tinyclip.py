"""TinyCLIP (Wu et al., ICCV 2023, arXiv 2309.12314): CLIPs made small by hand or by pruning, built by open_clip.

Figures are those of the model zoo in TinyCLIP's README, configurations those beside its code (microsoft/Cream, TinyCLIP).
Millions of parameters are in the models' names, rounded, the token table left out of those of the text tower.
"""

from __future__ import annotations

from typing import Any

from edgeclip.models import openclip, pruned
from edgeclip.models.demo import DEMO_LICENCE
from edgeclip.models.openclip import CLIP_BPE, openai_preprocess
from edgeclip.spec import HubFile, Licence, ModelSpec, Published

MIT = Licence(name="MIT", url="https://github.com/microsoft/Cream/blob/main/TinyCLIP/LICENSE", commercial_use=True)

# Its own `.pt` files, and what open_clip writes; transformers of even shape are on the hub as Hugging Face models too.
OWN_LAYOUTS = ("tinyclip", "openclip-custom-text", "openclip")
LAYOUTS = ("tinyclip", "huggingface-clip", "openclip-custom-text", "openclip")

_RELEASES = "https://github.com/wkcn/TinyCLIP-model-zoo/releases/download/checkpoints/"


def _text(**config: Any) -> dict[str, Any]:
    return {"context_length": 77, "vocab_size": 49408, **config}


def _row(name: str, image_size: int = 224, **fields: Any) -> ModelSpec:
    """A row with what all TinyCLIPs share."""
    return ModelSpec(
        **{
            "name": name,
            "family": "tinyclip",
            "build": openclip.build,
            "preprocess": openai_preprocess(image_size),
            "tokenizer": CLIP_BPE,
            "embed_dim": 512,
            "licence": MIT,
            "layouts": LAYOUTS,
            **fields,
        }
    )


def _zoo(image_m: int, text_m: int, gmacs: float, top1_percent: float) -> Published:
    return Published(
        "https://github.com/microsoft/Cream/tree/main/TinyCLIP (model zoo)",
        image_millions=image_m,
        text_millions=text_m,
        without_token_table=True,
        total_gmacs=gmacs,
        imagenet_top1_percent=top1_percent,
    )


def _pruned_row(size: str, weights: str, **fields: Any) -> ModelSpec:
    """A model pruned by head, hidden unit and width; its files are on no hub, as no library's configurations describe them.

    Stream widths are those of the published files; `heads` and `mlp_widths` are ours, of the published size: a file's own are
    read from it. Files trained on LAION+YFCC-400M (64.5 % and 62.7 % instead of 63.9 % and 61.4 %) load in the same rows.
    """
    return _row(
        f"tinyclip-auto-vit-{size}",
        build=pruned.build,
        fitted=pruned.fitted,
        layouts=OWN_LAYOUTS,
        download=f"{_RELEASES}{weights}.pt",
        other_names=(weights,),
        **fields,
    )


def _vit(width: int, patch_size: int, **config: Any) -> dict[str, Any]:
    return {"image_size": 224, "layers": 12, "width": width, "patch_size": patch_size, **config}


def _pruned(width: int, heads: tuple[int, ...], mlp_widths: tuple[int, ...], **config: Any) -> dict[str, Any]:
    return {"width": width, "head_width": 64, "heads": heads, "mlp_widths": mlp_widths, **config}


def _resnet(width: int) -> dict[str, Any]:
    return {"image_size": 224, "layers": [3, 4, 6, 3], "width": width, "patch_size": None}


SPECS = (
    _row(
        "tinyclip-vit-8m-16",
        architecture={
            "vision_cfg": _vit(256, 16, layers=10, head_width=64),
            "text_cfg": _text(width=256, heads=4, layers=3),
        },
        image_params=8_276_992,
        text_params=15_169_024,
        hub=HubFile("wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M", "model.safetensors"),
        published=_zoo(8, 3, 2.0, 41.1),
    ),
    _row(
        "tinyclip-vit-39m-16",
        architecture={"vision_cfg": _vit(512, 16, head_width=64), "text_cfg": _text(width=512, heads=8, layers=6)},
        image_params=38_587_392,
        text_params=44_513_792,
        hub=HubFile("wkcn/TinyCLIP-ViT-39M-16-Text-19M-YFCC15M", "model.safetensors"),
        published=_zoo(39, 19, 9.5, 63.5),
    ),
    _row(
        "tinyclip-vit-40m-32",
        architecture={"vision_cfg": _vit(512, 32, head_width=64), "text_cfg": _text(width=512, heads=8, layers=6)},
        image_params=39_691_776,
        text_params=44_513_792,
        hub=HubFile("wkcn/TinyCLIP-ViT-40M-32-Text-19M-LAION400M", "model.safetensors"),
        published=_zoo(40, 19, 3.5, 59.8),
    ),
    _row(
        "tinyclip-vit-61m-32",
        architecture={"vision_cfg": _vit(640, 32, head_width=64), "text_cfg": _text(width=512, heads=8, layers=9)},
        image_params=61_411_200,
        text_params=53_970_944,
        hub=HubFile("wkcn/TinyCLIP-ViT-61M-32-Text-29M-LAION400M", "model.safetensors"),
        published=_zoo(61, 29, 5.3, 62.4),
    ),
    _row(
        "tinyclip-resnet-19m",
        embed_dim=1024,
        architecture={"vision_cfg": _resnet(44), "text_cfg": _text(width=512, heads=8, layers=6)},
        image_params=18_596_766,
        text_params=44_775_936,
        layouts=OWN_LAYOUTS,
        download=f"{_RELEASES}TinyCLIP-ResNet-19M-Text-19M-LAION400M.pt",
        other_names=("TinyCLIP-ResNet-19M-Text-19M-LAION400M",),
        published=_zoo(19, 19, 4.4, 56.4),
    ),
    _row(
        "tinyclip-resnet-30m",
        embed_dim=1024,
        architecture={"vision_cfg": _resnet(56), "text_cfg": _text(width=512, heads=8, layers=9)},
        image_params=29_583_780,
        text_params=54_233_088,
        layouts=OWN_LAYOUTS,
        download=f"{_RELEASES}TinyCLIP-ResNet-30M-Text-29M-LAION400M.pt",
        other_names=("TinyCLIP-ResNet-30M-Text-29M-LAION400M",),
        published=_zoo(30, 29, 6.9, 59.1),
    ),
    _pruned_row(
        "22m-32",
        "TinyCLIP-auto-ViT-22M-32-Text-10M-LAION400M",
        architecture={
            "vision_cfg": _pruned(
                370,
                heads=(6, 7, 8, 8, 8, 9, 9, 9, 8, 8, 8, 8),
                mlp_widths=(1135, 1215, 1295, 1335, 1375, 1335, 1295, 1255, 1335, 1375, 1335, 1255),
                image_size=224,
                patch_size=32,
            ),
            "text_cfg": _pruned(
                509,
                heads=(2, 3, 3, 4, 4, 4, 3, 3, 3, 3, 2, 2),
                mlp_widths=(246, 326, 406, 446, 486, 446, 406, 366, 446, 486, 446, 366),
                context_length=77,
                vocab_size=49408,
            ),
        },
        image_params=21_999_762,
        text_params=35_148_563,
        published=_zoo(22, 10, 1.9, 53.7),
    ),
    _pruned_row(
        "45m-32",
        "TinyCLIP-auto-ViT-45M-32-Text-18M-LAION400M",
        architecture={
            "vision_cfg": _pruned(
                549,
                heads=(8, 9, 9, 9, 10, 10, 10, 9, 9, 9, 8, 8),
                mlp_widths=(1945, 2025, 2105, 2145, 2185, 2145, 2105, 2065, 2145, 2185, 2145, 2065),
                image_size=224,
                patch_size=32,
            ),
            "text_cfg": _pruned(
                510,
                heads=(4, 5, 5, 6, 6, 6, 5, 5, 5, 5, 4, 4),
                mlp_widths=(641, 721, 801, 841, 881, 841, 801, 761, 841, 881, 841, 761),
                context_length=77,
                vocab_size=49408,
            ),
        },
        image_params=44_997_567,
        text_params=43_195_182,
        published=_zoo(45, 18, 3.7, 61.4),
    ),
    _pruned_row(
        "63m-32",
        "TinyCLIP-auto-ViT-63M-32-Text-31M-LAION400M",
        architecture={
            "vision_cfg": _pruned(
                679,
                heads=(10, 11, 11, 12, 12, 11, 11, 11, 11, 11, 11, 10),
                mlp_widths=(2140, 2220, 2300, 2340, 2380, 2340, 2300, 2260, 2340, 2380, 2340, 2260),
                image_size=224,
                patch_size=32,
            ),
            "text_cfg": _pruned(
                512,
                heads=(6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6),
                mlp_widths=(1468, 1548, 1628, 1668, 1708, 1668, 1628, 1588, 1668, 1708, 1668, 1588),
                context_length=77,
                vocab_size=49408,
            ),
        },
        image_params=62_998_281,
        text_params=56_293_136,
        published=_zoo(63, 31, 5.6, 63.9),
    ),
    _row(
        "tinyclip-demo",
        image_size=64,
        architecture={
            "vision_cfg": {"image_size": 64, "layers": 6, "width": 144, "head_width": 36, "patch_size": 8},
            "text_cfg": _text(width=96, heads=3, layers=3),
        },
        embed_dim=128,
        image_params=1_560_384,
        text_params=5_098_560,
        licence=DEMO_LICENCE,
        demo_weights="tinyclip-demo.safetensors",
    ),
)
