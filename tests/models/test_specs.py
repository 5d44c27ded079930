"""The model table against the built modules and the published facts."""

from __future__ import annotations

import re

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edgeclip.models import DEFAULT_MODEL, MODELS
from edgeclip.models.demo import FOLDER
from edgeclip.spec import OPENAI_MEAN, OPENAI_STD

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
OPENAI = (OPENAI_MEAN, OPENAI_STD)
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SQUASHED = ("siglip",)  # families whose pictures are not cropped

# size, interpolation, (mean, std), embedding: Apple's README and open_clip's configurations
PREPROCESSING = {
    "mobileclip-s0": (256, "bilinear", PLAIN, 512),
    "mobileclip-demo": (64, "bilinear", PLAIN, 128),
    **dict.fromkeys(("mobileclip-s1", "mobileclip-s2", "mobileclip2-s0", "mobileclip2-s2"), (256, "bilinear", PLAIN, 512)),
    **dict.fromkeys(("mobileclip-b", "mobileclip-b-lt", "mobileclip2-b"), (224, "bilinear", PLAIN, 512)),
    **dict.fromkeys(("mobileclip2-s3", "mobileclip2-s4"), (256, "bilinear", OPENAI, 768)),
    "mobileclip2-l-14": (224, "bicubic", OPENAI, 768),
    "tinyclip-vit-8m-16": (224, "bicubic", OPENAI, 512),
    "tinyclip-demo": (64, "bicubic", OPENAI, 128),
    **dict.fromkeys(("clip-vit-b-32", "clip-vit-b-16"), (224, "bicubic", OPENAI, 512)),
    **dict.fromkeys((f"tinyclip-vit-{size}" for size in ("39m-16", "40m-32", "61m-32")), (224, "bicubic", OPENAI, 512)),
    **dict.fromkeys((f"tinyclip-auto-vit-{size}-32" for size in ("22m", "45m", "63m")), (224, "bicubic", OPENAI, 512)),
    **dict.fromkeys(("tinyclip-resnet-19m", "tinyclip-resnet-30m"), (224, "bicubic", OPENAI, 1024)),
    "siglip-base-patch16-256": (256, "bicubic", HALF, 768),
    "siglip-so400m-14-384": (384, "bicubic", HALF, 1152),
}
# ImageNet top-1 in percent, as the papers' and projects' tables have it.
TOP1 = {
    "mobileclip-s0": 67.8,
    "mobileclip-s1": 72.6,
    "mobileclip-s2": 74.4,
    "mobileclip-b": 76.8,
    "mobileclip-b-lt": 77.2,
    "mobileclip2-s0": 71.5,
    "mobileclip2-s2": 77.2,
    "mobileclip2-b": 79.4,
    "mobileclip2-s3": 80.7,
    "mobileclip2-s4": 81.9,
    "mobileclip2-l-14": 81.9,
    "siglip-base-patch16-256": 76.53,
    "siglip-so400m-14-384": 83.08,
    "tinyclip-vit-8m-16": 41.1,
    "tinyclip-vit-39m-16": 63.5,
    "tinyclip-vit-40m-32": 59.8,
    "tinyclip-vit-61m-32": 62.4,
    "tinyclip-resnet-19m": 56.4,
    "tinyclip-resnet-30m": 59.1,
    "tinyclip-auto-vit-22m-32": 53.7,
    "tinyclip-auto-vit-45m-32": 61.4,
    "tinyclip-auto-vit-63m-32": 63.9,
    "clip-vit-b-32": 63.2,
    "clip-vit-b-16": 68.6,
}
PUBLISHED = [name for name, spec in MODELS.items() if spec.published]


def built(spec):
    """The module without memory for its weights."""
    with torch.device("meta"):
        return spec.build(spec)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_parameter_counts(name):
    spec = MODELS[name]
    pair = built(spec)
    assert (spec.image_params, spec.text_params) == (count(pair.visual), count(pair.text))


def figures(published, unit):
    """The stated figures of one unit, by tower: {"image": 11.4, ...}."""
    stated = {tower: getattr(published, f"{tower}_{unit}") for tower in ("image", "text", "total")}
    return {tower: value for tower, value in stated.items() if value is not None}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameter_counts(name):
    """The built modules, so that the table is checked against them and they against the papers."""
    published, pair = MODELS[name].published, built(MODELS[name])
    table = pair.text.token_embedding.weight.numel() if published.without_token_table else 0
    counts = {"image": count(pair.visual) / 1e6, "text": (count(pair.text) - table) / 1e6}
    counts["total"] = counts["image"] + counts["text"]
    for tower, stated in figures(published, "millions").items():
        rounded = 0.5 if float(stated).is_integer() else 0.0  # names state whole millions
        assert counts[tower] == pytest.approx(stated, rel=0.01, abs=rounded), tower


def macs(module, value):
    """Billions of multiply-accumulates, counted by torch while it runs without numbers."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.train()(value)  # evaluation takes a way through attention that is not counted
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize("name", [name for name in PUBLISHED if figures(MODELS[name].published, "gmacs")])
def test_published_macs(name):
    spec, pair = MODELS[name], built(MODELS[name]).requires_grad_(False)
    with torch.device("meta"):
        image = macs(pair.visual, torch.zeros(spec.input_shape("image")))
        text = macs(pair.text, torch.zeros(spec.input_shape("text"), dtype=torch.int32))
    counted = {"image": image, "text": text, "total": image + text}
    for tower, stated in figures(spec.published, "gmacs").items():
        assert counted[tower] == pytest.approx(stated, rel=0.03), tower


def test_published_accuracies():
    stated = {name: MODELS[name].published.imagenet_top1_percent for name in PUBLISHED}
    assert {name: value for name, value in stated.items() if value is not None} == TOP1


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_figure_has_an_address(name):
    published = MODELS[name].published
    assert published.source.startswith("https://")


@pytest.mark.parametrize("name", MODELS)
def test_preprocessing(name):
    spec = MODELS[name]
    size, interpolation, (mean, std), embed_dim = PREPROCESSING[name]
    assert (spec.preprocess.size, spec.preprocess.interpolation) == (size, interpolation)
    assert (spec.preprocess.mean, spec.preprocess.std) == (mean, std)
    shape = ("squash", "none") if spec.family in SQUASHED else ("shortest", "center")
    assert (spec.preprocess.resize, spec.preprocess.crop) == shape
    assert spec.preprocess.antialias
    assert (spec.preprocess.color, spec.preprocess.range) == ("RGB", (0.0, 1.0))
    assert spec.embed_dim == embed_dim


@pytest.mark.parametrize("name", MODELS)
def test_tokenizer(name):
    tokenizer = MODELS[name].tokenizer
    if MODELS[name].family == "siglip":  # big_vision's "c4_en" with `eos="sticky", pad_value=1`
        assert (tokenizer.tokenizer, tokenizer.clean) == ("sentencepiece", "canonicalize")
        assert (tokenizer.context_length, tokenizer.vocab_size) == (64, 32000)
        assert (tokenizer.sot, tokenizer.eot, tokenizer.pad) == (None, 1, 1)
        return
    assert (tokenizer.tokenizer, tokenizer.clean) == ("clip-bpe", "lower")
    assert (tokenizer.context_length, tokenizer.vocab_size) == (77, 49408)
    assert (tokenizer.sot, tokenizer.eot, tokenizer.pad) == (49406, 49407, 0)


@pytest.mark.parametrize("name", MODELS)
def test_shapes_of_inputs_and_outputs(name):
    spec = MODELS[name]
    pair = built(spec)
    with torch.device("meta"), torch.no_grad():
        image = pair.encode_image(torch.zeros(spec.input_shape("image")))
        text = pair.encode_text(torch.zeros(spec.input_shape("text"), dtype=torch.int32))
    assert image.shape == text.shape == (1, spec.embed_dim)


def test_names():
    assert len(set(MODELS)) == len(MODELS)
    assert all(spec.name == name for name, spec in MODELS.items())
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in MODELS)
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize(
    ("published", "name"),
    [
        ("apple/MobileCLIP-S0", "mobileclip-s0"),
        ("apple/MobileCLIP2-S4", "mobileclip2-s4"),
        ("timm/MobileCLIP2-L-14-OpenCLIP", "mobileclip2-l-14"),
        ("wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M", "tinyclip-vit-8m-16"),
        ("TinyCLIP-auto-ViT-45M-32-Text-18M-LAION400M", "tinyclip-auto-vit-45m-32"),
        ("google/siglip-base-patch16-256", "siglip-base-patch16-256"),
        ("timm/ViT-SO400M-14-SigLIP-384", "siglip-so400m-14-384"),
        ("google/siglip-so400m-patch14-384", "siglip-so400m-14-384"),
        ("openai/clip-vit-base-patch32", "clip-vit-b-32"),
    ],
)
def test_names_that_others_have_for_a_model(published, name):
    assert MODELS[published] is MODELS[name]


def test_file_stems():
    """What Apple's sample app and Swift's generated classes are called."""
    assert MODELS["mobileclip-s0"].file_stem == "mobileclip_s0"
    stems = [spec.file_stem for spec in MODELS.values()]
    assert len(set(stems)) == len(stems)
    assert all(stem.isidentifier() for stem in stems)


@pytest.mark.parametrize("name", MODELS)
def test_weights_and_licence(name):
    """Every model has weights of its own to load, and says whether an app may ship them."""
    spec = MODELS[name]
    assert [spec.hub, spec.download, spec.demo_weights].count(None) == 2
    assert spec.default_weights == ("demo" if spec.demo_weights else "hub")
    assert spec.download is None or spec.download.startswith("https://")
    if spec.demo_weights:
        assert (FOLDER / spec.demo_weights).is_file()
    assert spec.licence.name
    assert spec.licence.url.startswith("https://")
    assert spec.licence.commercial_use == (spec.demo_weights is not None or not spec.family.startswith("mobileclip"))
    assert spec.scoring == ("sigmoid" if spec.family == "siglip" else "softmax")
