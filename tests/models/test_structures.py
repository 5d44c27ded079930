"""Structures that no demo model has, at reduced size: live seeded weights, fusion and the Neural Engine's layout."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn

from converters.layout import for_neural_engine
from edgeclip.models.seeded import seeded_pair
from edgeclip.models.towers import build_tower, prepare_for_export
from edgeclip.models.weights import tensors_sha256
from edgeclip.spec import TOWERS
from tests.support.live import between_input_cosines, normalised, pictures, silent_parameters, token_ids
from tests.support.reduced import STRUCTURES

CASES = [(name, tower) for name in STRUCTURES for tower in TOWERS]


@pytest.fixture(scope="module")
def made():
    """`made(name)`: a row and its model with live weights. Read-only, made once."""

    @functools.cache
    def make(name):
        spec = STRUCTURES[name]()
        return spec, seeded_pair(spec, 0)

    return make


def inputs(spec, tower):
    return pictures(spec, 16, seed=3) if tower == "image" else token_ids(spec)


@torch.no_grad()
def run(module, value):
    return module(value)


@pytest.mark.parametrize(("name", "tower"), CASES)
def test_inputs_are_told_apart(name, tower, made):
    spec, pair = made(name)
    assert between_input_cosines(run(build_tower(pair, spec, tower), inputs(spec, tower))).mean() < 0.7


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_parameter_shows_in_the_embedding(name):
    spec = STRUCTURES[name]()
    pair = seeded_pair(spec, 0)
    images, ids = normalised(spec, pictures(spec)), token_ids(spec)
    silent = silent_parameters(pair, lambda: (pair.encode_image(images), pair.encode_text(ids)))
    assert not [path for path in silent if not path.endswith("k_proj.bias")]  # which adds the same to all scores of a row


@pytest.mark.parametrize("name", STRUCTURES)
def test_other_kernels_give_equal_tensors(name, made):
    spec, pair = made(name)
    with torch.backends.mkldnn.flags(enabled=False):
        assert tensors_sha256(seeded_pair(spec, 0)) == tensors_sha256(pair)


@pytest.mark.parametrize(("name", "tower"), CASES)
def test_fused_and_rewritten_for_the_neural_engine(name, tower, made):
    """Nothing is left to fuse, and both compute what the checkpoint's modules compute."""
    spec, pair = made(name)
    original, value = build_tower(pair, spec, tower), inputs(spec, tower)
    wanted = run(original, value)
    prepared = prepare_for_export(original)
    assert not [path for path, module in prepared.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert (run(prepared, value) - wanted).abs().max() < 5e-6
    assert (run(for_neural_engine(prepared), value) - wanted).abs().max() < 5e-6
