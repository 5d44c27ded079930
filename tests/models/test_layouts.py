"""Every published layout, saved from an implementation that shares nothing with edgeclip's, loads to the same function."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from edgeclip.models import MODELS
from edgeclip.models.checkpoints import load_checkpoint
from edgeclip.models.towers import build_tower
from edgeclip.models.weights import load_model
from edgeclip.spec import TOWERS
from tests.support.independent import (
    apple,
    custom_text_names,
    embeddings,
    huggingface,
    live,
    open_clip_custom,
    open_clip_flat,
    tinyclip_names,
)
from tests.support.live import between_input_cosines, pictures, silent_parameters, token_ids

TOLERANCE = 1e-5
TINY = MODELS["tinyclip-demo"]
MOBILE = MODELS["mobileclip-demo"]


def assert_same_function(path, spec, model):
    """What edgeclip loads from `path` embeds pictures and texts as `model` does, and they differ from each other."""
    pair = load_checkpoint(path, spec)
    images, ids = pictures(spec), token_ids(spec)
    for tower, inputs, wanted in zip(TOWERS, (images, ids), embeddings(model, spec, images, ids), strict=True):
        with torch.no_grad():
            got = build_tower(pair, spec, tower)(inputs)
        assert between_input_cosines(wanted).max() < 0.9, f"{tower}: these inputs prove nothing"
        assert got.dtype == torch.float32
        assert (got - wanted).abs().max() < TOLERANCE, tower
    assert pair.score_scale == pytest.approx(float(model.logit_scale.exp()), rel=1e-6)
    assert all(parameter.dtype == torch.float32 for parameter in pair.parameters())


@pytest.fixture(scope="module")
def apple_demo():
    return live(apple, MOBILE)


@pytest.fixture(scope="module")
def flat_demo():
    return live(open_clip_flat, TINY)


@pytest.fixture(scope="module")
def huggingface_demo():
    return live(huggingface, TINY)


# Apple's module tree


def test_every_parameter_shows_in_the_embedding(apple_demo):
    """The premise of this file: if a tensor were mapped wrongly, the outputs would differ."""
    images, ids = pictures(MOBILE), token_ids(MOBILE)
    assert not silent_parameters(apple_demo, lambda: (apple_demo.encode_image(images), apple_demo.encode_text(ids)))


def test_apple_mobileclip_demo(apple_demo, tmp_path):
    torch.save(apple_demo.state_dict(), tmp_path / "mobileclip.pt")
    assert_same_function(tmp_path / "mobileclip.pt", MOBILE, apple_demo)


@pytest.mark.slow
def test_apple_mobileclip_s0(tmp_path):
    spec = MODELS["mobileclip-s0"]
    model = live(apple, spec)
    torch.save(model.state_dict(), tmp_path / "mobileclip_s0.pt")
    assert_same_function(tmp_path / "mobileclip_s0.pt", spec, model)


def test_batchnorm_counters_may_be_absent(apple_demo, tmp_path):
    state = {key: value for key, value in apple_demo.state_dict().items() if "num_batches_tracked" not in key}
    torch.save(state, tmp_path / "mobileclip.pt")
    assert_same_function(tmp_path / "mobileclip.pt", MOBILE, apple_demo)


# OpenCLIP's two layouts


@pytest.mark.slow
@pytest.mark.parametrize("make", [open_clip_flat, open_clip_custom])
def test_open_clip_full_size(make, tmp_path):
    spec = MODELS["tinyclip-vit-8m-16"]
    model = live(make, spec)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "tinyclip.pt")
    assert_same_function(tmp_path / "tinyclip.pt", spec, model)


def test_open_clip_custom_text(tmp_path):
    model = live(open_clip_custom, TINY)
    torch.save(model.state_dict(), tmp_path / "tinyclip.pt")
    assert_same_function(tmp_path / "tinyclip.pt", TINY, model)


def prefixed(state):
    return {f"module.{key}": value for key, value in state.items()}


def training_checkpoint(state):
    moments = {"step": torch.tensor(7.0), "exp_avg": torch.zeros(3)}
    optimizer = {"state": {0: moments}, "param_groups": [{"lr": 1e-3, "betas": (0.9, 0.98), "params": [0]}]}
    return {"epoch": 32, "name": "TinyCLIP", "state_dict": state, "optimizer": optimizer, "scaler": {"scale": 65536.0}}


CONTAINERS = {
    "plain.pt": torch.save,
    "plain.bin": torch.save,
    "plain.safetensors": save_file,
    "wrapped.pt": lambda state, path: torch.save({"state_dict": state}, path),
    "model-key.pt": lambda state, path: torch.save({"model": state}, path),
    "twice.pt": lambda state, path: torch.save({"model": {"state_dict": state}}, path),
    "prefixed.pt": lambda state, path: torch.save(prefixed(state), path),
    "prefixed.safetensors": lambda state, path: save_file(prefixed(state), path),
    "training.pt": lambda state, path: torch.save(training_checkpoint(prefixed(state)), path),
    "legacy.pth": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "parameters.pt": lambda state, path: torch.save({k: torch.nn.Parameter(v) for k, v in state.items()}, path),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers(name, flat_demo, tmp_path):
    CONTAINERS[name](flat_demo.state_dict(), tmp_path / name)
    assert_same_function(tmp_path / name, TINY, flat_demo)


def test_buffers_that_openai_saved_are_ignored(flat_demo, tmp_path):
    state = {
        **flat_demo.state_dict(),
        "attn_mask": torch.full((77, 77), -torch.inf).triu(1),
        "input_resolution": torch.tensor(64),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    torch.save(state, tmp_path / "tinyclip.pt")
    assert_same_function(tmp_path / "tinyclip.pt", TINY, flat_demo)


# TinyCLIP's own wrappers


@pytest.mark.parametrize("outer", ["", "module."])
@pytest.mark.parametrize("wrapper", ["module.", ""])
def test_tinyclip_wrappers(wrapper, outer, flat_demo, tmp_path):
    state = tinyclip_names(flat_demo.state_dict(), wrapper)
    torch.save({"state_dict": {outer + key: value for key, value in state.items()}}, tmp_path / "tinyclip.pt")
    assert_same_function(tmp_path / "tinyclip.pt", TINY, flat_demo)


# Hugging Face CLIPModel


@pytest.mark.slow
def test_huggingface_full_size(tmp_path):
    spec = MODELS["tinyclip-vit-8m-16"]
    model = live(huggingface, spec)
    model.save_pretrained(tmp_path)
    assert_same_function(tmp_path / "model.safetensors", spec, model)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert_same_function(tmp_path / "pytorch_model.bin", spec, model)


def test_huggingface_position_ids_are_ignored(huggingface_demo, tmp_path):
    state = {
        **huggingface_demo.state_dict(),
        "text_model.embeddings.position_ids": torch.arange(77).unsqueeze(0),
        "vision_model.embeddings.position_ids": torch.arange(65).unsqueeze(0),
    }
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert_same_function(tmp_path / "pytorch_model.bin", TINY, huggingface_demo)


# Whatever the layout


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_other_float_types_load_as_float32(dtype, flat_demo, tmp_path):
    rounded = {key: value.to(dtype) for key, value in flat_demo.state_dict().items()}
    torch.save(rounded, tmp_path / "tinyclip.pt")
    save_file(rounded, tmp_path / "tinyclip.safetensors")
    model = open_clip_flat(TINY).eval()
    model.load_state_dict({key: value.float() for key, value in rounded.items()})
    assert_same_function(tmp_path / "tinyclip.pt", TINY, model)
    assert_same_function(tmp_path / "tinyclip.safetensors", TINY, model)


def test_huggingface_saved_in_half_precision(huggingface_demo, tmp_path):
    model = huggingface(TINY).eval()
    model.load_state_dict(huggingface_demo.state_dict())
    model.half().save_pretrained(tmp_path)
    assert_same_function(tmp_path / "model.safetensors", TINY, model.float())


@pytest.mark.slow
def test_the_same_weights_have_one_space_id(flat_demo, huggingface_demo, tmp_path):
    """Equal numbers are one embedding space, whatever file they came in; other numbers are another."""
    flat = flat_demo.state_dict()
    torch.save(flat, tmp_path / "flat.pt")
    torch.save({"state_dict": custom_text_names(flat)}, tmp_path / "custom.pt")
    torch.save(tinyclip_names(flat, "module."), tmp_path / "tinyclip.pt")
    save_file(prefixed(flat), tmp_path / "prefixed.safetensors")
    files = ("flat.pt", "custom.pt", "tinyclip.pt", "prefixed.safetensors")
    loaded = [load_model(TINY, str(tmp_path / name)) for name in files]
    assert len({model.space_id for model in loaded}) == 1
    assert loaded[0].space_id.startswith("tinyclip-demo/")
    assert len({model.sha256 for model in loaded}) == len(files)
    assert [model.source for model in loaded] == [f"file:{name}" for name in files]

    torch.save(huggingface_demo.state_dict(), tmp_path / "huggingface.bin")
    other = load_model(TINY, str(tmp_path / "huggingface.bin"))
    assert other.space_id != loaded[0].space_id
    torch.save(other.pair.state_dict(), tmp_path / "ours.pt")
    assert load_model(TINY, str(tmp_path / "ours.pt")).space_id == other.space_id


def test_apple_and_open_clip_names_have_one_space_id(apple_demo, tmp_path):
    torch.save(apple_demo.state_dict(), tmp_path / "apple.pt")
    first = load_model(MOBILE, str(tmp_path / "apple.pt"))
    save_file(first.pair.state_dict(), tmp_path / "open_clip.safetensors")
    assert load_model(MOBILE, str(tmp_path / "open_clip.safetensors")).space_id == first.space_id


def test_the_score_scale_stops_at_100(tmp_path):
    """As CLIP's training does, and Apple's code at inference."""
    torch.save({**open_clip_flat(TINY).state_dict(), "logit_scale": torch.tensor(6.0)}, tmp_path / "tinyclip.pt")
    assert load_checkpoint(tmp_path / "tinyclip.pt", TINY).score_scale == 100.0
