"""Every published layout, saved from an implementation that shares nothing with edgeclip's, loads to the same function."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from edgeclip.errors import InputError
from edgeclip.models import MODELS
from edgeclip.models.checkpoints import _problems, load_checkpoint
from edgeclip.models.layouts import LAYOUTS
from edgeclip.models.towers import build_tower
from edgeclip.models.weights import load_model
from edgeclip.spec import TOWERS
from tests.support import apple_mobileclip, reduced
from tests.support.independent import (
    apple,
    custom_text_names,
    embeddings,
    huggingface,
    live,
    open_clip,
    open_clip_custom,
    open_clip_flat,
    tinyclip_names,
)
from tests.support.live import between_input_cosines, pictures, silent_parameters, token_ids
from tests.support.reduced import REDUCED

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


@pytest.mark.parametrize("name", [name for name, spec in REDUCED.items() if "apple" in spec.layouts])
def test_apple_structures(name, tmp_path):
    """S1's and S2's plain text tower, not causal; B's ViT behind a convolutional stem, and its causal text tower."""
    spec = REDUCED[name]
    model = live(apple, spec)
    torch.save(model.state_dict(), tmp_path / "mobileclip.pt")
    assert_same_function(tmp_path / "mobileclip.pt", spec, model)


@pytest.mark.parametrize("name", [name for name, spec in MODELS.items() if name in apple_mobileclip.MODELS])
def test_apple_at_full_size(name):
    """Every tensor of Apple's tree, by name and shape, without memory for it."""
    with torch.device("meta"):
        model = apple_mobileclip.MODELS[name]()
        pair = MODELS[name].build(MODELS[name])
    file = {key: torch.zeros((), dtype=value.dtype).expand(value.shape) for key, value in model.state_dict().items()}
    assert not _problems(file, LAYOUTS["apple"], pair.state_dict())


def test_apples_epsilon():
    """timm's ViT has 1e-6. A class token of small variance shows the difference: 1e-3 in these tests' embeddings."""
    for name, eps in (("mobileclip-b", 1e-5), ("mobileclip-b-lt", 1e-5), ("mobileclip2-b", 1e-6)):
        with torch.device("meta"):
            visual = MODELS[name].build(MODELS[name]).visual
        assert {module.eps for module in visual.modules() if isinstance(module, torch.nn.LayerNorm)} == {eps}


def test_batchnorm_counters_may_be_absent(apple_demo, tmp_path):
    state = {key: value for key, value in apple_demo.state_dict().items() if "num_batches_tracked" not in key}
    torch.save(state, tmp_path / "mobileclip.pt")
    assert_same_function(tmp_path / "mobileclip.pt", MOBILE, apple_demo)


# OpenCLIP's two layouts


@pytest.mark.parametrize("name", REDUCED)
def test_open_clip_structures(name, tmp_path):
    """Image towers of timm, as `open_clip_model.safetensors` and, from training, `mobileclip2_s3.pt` have them."""
    spec = REDUCED[name]
    model = live(open_clip_custom, spec)
    if spec.family == "mobileclip":
        for module in model.visual.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = 1e-5  # as in Apple's code
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    assert_same_function(tmp_path / "open_clip_model.safetensors", spec, model)
    torch.save({"state_dict": prefixed(model.state_dict())}, tmp_path / "mobileclip.pt")
    assert_same_function(tmp_path / "mobileclip.pt", spec, model)


def has_configuration(spec):
    return next((name for name in open_clip.list_models() if name.lower() == spec.name.removesuffix("-lt")), None)


@pytest.mark.parametrize("name", [name for name in MODELS if has_configuration(MODELS[name])])
def test_open_clips_configurations(name):
    """What open_clip builds by a model's name has the tensors that ours has, and the same mask."""
    spec = MODELS[name]
    with torch.device("meta"):
        model = open_clip.create_model(has_configuration(spec), device="meta", load_weights=False)
        pair = spec.build(spec)
    wanted, got = ({key: value.shape for key, value in each.state_dict().items()} for each in (model, pair))
    assert got == wanted
    assert (pair.text.attn_mask is None) == (model.text.attn_mask is None)


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


# OpenAI's CLIP, which uses another GELU


@pytest.fixture(scope="module")
def quick():
    """A row of OpenAI's, small, and open_clip's model of it."""
    spec = reduced.clip()
    return spec, live(open_clip_flat, spec)


def test_openai_state_dict(quick, tmp_path):
    """As saved from OpenAI's TorchScript archive: float16, and three numbers beside the weights."""
    spec, model = quick
    numbers = {"input_resolution": torch.tensor(64), "context_length": torch.tensor(77), "vocab_size": torch.tensor(49408)}
    state = {key: value.half() for key, value in model.state_dict().items()}
    torch.save({**state, **numbers}, tmp_path / "ViT-B-32.pt")
    rounded = open_clip_flat(spec).eval()
    rounded.load_state_dict({key: value.float() for key, value in state.items()})
    assert_same_function(tmp_path / "ViT-B-32.pt", spec, rounded)


def test_open_clip_and_huggingface_with_quick_gelu(quick, tmp_path):
    spec, model = quick
    torch.save(custom_text_names(model.state_dict()), tmp_path / "custom.pt")
    assert_same_function(tmp_path / "custom.pt", spec, model)
    other = live(huggingface, spec)
    torch.save(other.state_dict(), tmp_path / "pytorch_model.bin")
    assert_same_function(tmp_path / "pytorch_model.bin", spec, other)


def test_nothing_in_a_file_tells_the_activation(quick, tmp_path):
    """Why the rows are OpenAI's alone: weights trained with GELU load, and what they compute then is another function."""
    spec, model = quick
    plain = open_clip.CLIP(embed_dim=spec.embed_dim, **{**spec.architecture, "quick_gelu": False}).eval()
    plain.load_state_dict(model.state_dict())
    torch.save(plain.state_dict(), tmp_path / "laion.pt")
    assert_same_function(tmp_path / "laion.pt", spec, model)
    images, ids = pictures(spec), token_ids(spec)
    for one, other in zip(embeddings(plain, spec, images, ids), embeddings(model, spec, images, ids), strict=True):
        assert (one - other).abs().max() > 1e-3


def test_a_torchscript_archive_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "ViT-B-32.pt")
    with pytest.raises(InputError, match="TorchScript archives are not supported; save its state_dict"):
        load_checkpoint(tmp_path / "ViT-B-32.pt", MODELS["clip-vit-b-32"])


# A ResNet that pools by attention


@pytest.mark.parametrize("name", ["tinyclip", "flat", "custom"])
def test_resnet_layouts(name, tmp_path):
    spec = reduced.resnet()
    model = live(open_clip_flat, spec)
    flat = model.state_dict()
    states = {"tinyclip": tinyclip_names(flat, "module."), "flat": flat, "custom": custom_text_names(flat)}
    torch.save({"state_dict": states[name]}, tmp_path / "resnet.pt")
    assert_same_function(tmp_path / "resnet.pt", spec, model)


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
