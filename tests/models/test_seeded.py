"""`seeded:N`: the same weights everywhere, and weights under which inputs are told apart."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from edgeclip.data import scenes
from edgeclip.errors import UsageError
from edgeclip.models import MODELS
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import build_tower
from edgeclip.models.weights import load_model, tensors_sha256
from tests.support.live import between_input_cosines, normalised, pictures, silent_parameters, token_ids
from tests.support.reduced import REDUCED, SMALL, spec_of

DEMOS = [name for name in SMALL if name.endswith("-demo")]
# Structures of other families are in test_structures.
ALL = [pytest.param(name, marks=() if name in (*DEMOS, *REDUCED) else pytest.mark.slow) for name in (*SMALL, *REDUCED)]
COUNT, SEED = 16, 3  # of scenes that the calibration has not seen


def captions():
    chosen = scenes.scenes(COUNT, seed=SEED)
    return [scenes.phrase({name: getattr(scene, name) for name in scenes.ATTRIBUTES}) for scene in chosen]


@torch.no_grad()
def embed(pair, spec, tower, inputs):
    return build_tower(pair, spec, tower)(inputs)


@pytest.mark.parametrize("name", DEMOS)
def test_the_same_seed_gives_equal_tensors(name, seeded):
    first, second = seeded(name).state_dict(), seeded_pair(MODELS[name], 0).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("name", DEMOS)
def test_another_seed_gives_others(name, seeded):
    first, second = seeded(name).state_dict(), seeded_pair(MODELS[name], 1).state_dict()
    weights = [key for key, value in first.items() if value.is_floating_point() and key != "logit_scale"]
    assert not [key for key in weights if torch.equal(first[key], second[key])]


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_another_process_and_thread_count_give_equal_tensors(name, seeded):
    """A bundle made from `seeded:0` on one machine is verified on another."""
    code = (
        "import sys, torch; torch.set_num_threads(int(sys.argv[2]))\n"
        "from edgeclip.models import MODELS; from edgeclip.models.seeded import seeded_pair\n"
        "from edgeclip.models.weights import tensors_sha256\n"
        "print(tensors_sha256(seeded_pair(MODELS[sys.argv[1]], 0)))"
    )
    threads = 1 if torch.get_num_threads() > 1 else 2
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-W", "ignore", "-c", code, name, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == tensors_sha256(seeded(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMOS)
@pytest.mark.parametrize("seed", range(3))
def test_other_kernels_give_equal_tensors(name, seed):
    """What another processor would run: plain kernels instead of oneDNN's."""
    usual = tensors_sha256(seeded_pair(MODELS[name], seed))
    with torch.backends.mkldnn.flags(enabled=False):
        assert tensors_sha256(seeded_pair(MODELS[name], seed)) == usual


@pytest.mark.parametrize("name", ALL)
def test_pictures_are_told_apart(name, seeded):
    spec = spec_of(name)
    embeddings = embed(seeded(name), spec, "image", pictures(spec, COUNT, SEED))
    assert between_input_cosines(embeddings).mean() < 0.7


@pytest.mark.parametrize("name", ALL)
def test_pictures_on_one_ground_are_told_apart(name, seeded):
    """Not by brightness alone: the mean above is low for two tight clusters, too."""
    spec = spec_of(name)
    images = pictures(spec, COUNT, SEED)
    light = images[images[:, :, 0, 0].mean(1) > 0.5]
    assert len(light) > 4
    assert between_input_cosines(embed(seeded(name), spec, "image", light)).mean() < 0.8


@pytest.mark.parametrize("name", ALL)
def test_captions_are_told_apart(name, seeded):
    spec = spec_of(name)
    embeddings = embed(seeded(name), spec, "text", token_ids(spec, captions()))
    assert between_input_cosines(embeddings).mean() < 0.7


@pytest.mark.parametrize("name", [*DEMOS, *REDUCED])
def test_every_parameter_shows_in_the_embedding(name):
    spec = spec_of(name)
    pair = seeded_pair(spec, 0)
    images, ids = normalised(spec, pictures(spec)), token_ids(spec)
    assert not silent_parameters(pair, lambda: (pair.encode_image(images), pair.encode_text(ids)))


@pytest.mark.parametrize("name", ALL)
def test_weights_are_finite_float32(name, seeded):
    for key, value in seeded(name).state_dict().items():
        if value.is_floating_point():
            assert value.dtype == torch.float32, key
            assert torch.isfinite(value).all(), key


def test_weights_option():
    spec = MODELS["tinyclip-demo"]
    model = load_model(spec, "seeded:3")
    assert model.source == "seeded:3"
    assert model.space_id == f"tinyclip-demo/{model.sha256[:16]}"
    assert model.sha256 == tensors_sha256(model.pair)
    assert model.licence.commercial_use


@pytest.mark.parametrize("text", ["seeded", "seeded:", "seeded:x", "seeded:-1", "seeded:1.5", "seeded:12345678901"])
def test_weights_option_without_a_number(text):
    with pytest.raises(UsageError, match="seeded:0"):
        load_model(MODELS["tinyclip-demo"], text)
