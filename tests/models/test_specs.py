"""The model table against the built modules and the published facts."""

from __future__ import annotations

import re

import pytest
import torch

from edgeclip.models import DEFAULT_MODEL, MODELS
from edgeclip.models.demo import FOLDER
from edgeclip.spec import OPENAI_MEAN, OPENAI_STD

PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
OPENAI = (OPENAI_MEAN, OPENAI_STD)

# size, interpolation, (mean, std), embedding: Apple's README and open_clip's configurations
PREPROCESSING = {
    "mobileclip-s0": (256, "bilinear", PLAIN, 512),
    "mobileclip-demo": (64, "bilinear", PLAIN, 128),
    "tinyclip-vit-8m-16": (224, "bicubic", OPENAI, 512),
    "tinyclip-demo": (64, "bicubic", OPENAI, 128),
}
# Millions, as published; the towers' sum where only that is.
PUBLISHED_MILLIONS = {
    "mobileclip-s0": (11.4, 42.4),
    "tinyclip-vit-8m-16": (23.4,),
}


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


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_published_parameter_counts(name):
    """The built modules, so that the table is checked against them and they against the papers."""
    pair = built(MODELS[name])
    wanted = PUBLISHED_MILLIONS[name]
    towers = (count(pair.visual) / 1e6, count(pair.text) / 1e6)
    got = towers if len(wanted) == 2 else (sum(towers),)
    assert got == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("name", MODELS)
def test_preprocessing(name):
    spec = MODELS[name]
    size, interpolation, (mean, std), embed_dim = PREPROCESSING[name]
    assert (spec.preprocess.size, spec.preprocess.interpolation) == (size, interpolation)
    assert (spec.preprocess.mean, spec.preprocess.std) == (mean, std)
    assert (spec.preprocess.resize, spec.preprocess.crop) == ("shortest", "center")
    assert spec.preprocess.antialias
    assert (spec.preprocess.color, spec.preprocess.range) == ("RGB", (0.0, 1.0))
    assert spec.embed_dim == embed_dim


@pytest.mark.parametrize("name", MODELS)
def test_tokenizer(name):
    tokenizer = MODELS[name].tokenizer
    assert tokenizer.tokenizer == "clip-bpe"
    assert tokenizer.context_length == 77
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
    assert (spec.hub is None) != (spec.demo_weights is None)
    assert spec.default_weights == ("hub" if spec.hub else "demo")
    if spec.demo_weights:
        assert (FOLDER / spec.demo_weights).is_file()
    assert spec.licence.name
    assert spec.licence.url.startswith("https://")
    assert spec.licence.commercial_use == (name != "mobileclip-s0")
    assert spec.scoring == "softmax"
