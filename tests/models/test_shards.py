"""Checkpoints in several files: the same weights as in one, and indices that are not to be trusted."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from edgeclip.errors import InputError
from edgeclip.models import MODELS
from edgeclip.models.checkpoints import load_checkpoint
from edgeclip.models.originals import remember, remembered
from edgeclip.models.shards import INDEX_FILE
from edgeclip.models.weights import load_model, weights_sha256

TINY = MODELS["tinyclip-demo"]


@pytest.fixture(scope="module")
def state():
    return load_model(TINY, "demo").pair.state_dict()


@pytest.fixture
def folder(state, tmp_path):
    """As the hub lays out what is too large for one file."""
    places = {key: f"model-0000{1 + key.startswith('text')}-of-00002.safetensors" for key in state}
    for name in set(places.values()):
        save_file({key: value for key, value in state.items() if places[key] == name}, tmp_path / name)
    (tmp_path / INDEX_FILE).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return tmp_path


def test_the_same_weights_as_in_one_file(state, folder):
    for given in (folder, folder / INDEX_FILE):
        model = load_model(TINY, str(given))
        assert model.source == f"file:{INDEX_FILE}"
        assert all(torch.equal(value, state[key]) for key, value in model.pair.state_dict().items())


def test_a_folder_with_one_file(state, tmp_path):
    save_file(state, tmp_path / "model.safetensors")
    assert load_model(TINY, str(tmp_path)).source == "file:model.safetensors"


def test_a_folder_with_open_clips_file_beside_timms(state, tmp_path):
    """As repositories of both libraries have them: timm's holds the image tower alone."""
    trunk = {key.removeprefix("visual."): value for key, value in state.items() if key.startswith("visual.")}
    save_file(trunk, tmp_path / "model.safetensors")
    save_file(state, tmp_path / "open_clip_model.safetensors")
    assert load_model(TINY, str(tmp_path)).source == "file:open_clip_model.safetensors"


def test_the_hash_is_of_all_files_and_finds_them_again(folder):
    digest = weights_sha256(folder / INDEX_FILE)
    remember(digest, folder)
    assert remembered(digest) == folder
    part = next(folder.glob("model-00002*"))
    part.write_bytes(part.read_bytes()[:-1] + b"\x01")
    assert weights_sha256(folder / INDEX_FILE) != digest
    assert remembered(digest) is None


def changed(folder, **places):
    index = json.loads((folder / INDEX_FILE).read_text())
    index["weight_map"] |= places
    (folder / INDEX_FILE).write_text(json.dumps(index))


@pytest.mark.parametrize(
    "place", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "a\\b.safetensors", "..", "x.bin", ""]
)
def test_no_path_out_of_the_folder(folder, place):
    changed(folder, logit_scale=place)
    with pytest.raises(InputError, match="which is no safetensors file beside it"):
        load_checkpoint(folder / INDEX_FILE, TINY)


def test_a_file_that_is_missing(folder):
    changed(folder, logit_scale="model-00003-of-00003.safetensors")
    with pytest.raises(InputError, match=r"model-00003-of-00003\.safetensors is missing beside it"):
        load_checkpoint(folder / INDEX_FILE, TINY)


def test_a_tensor_that_is_elsewhere(folder):
    changed(folder, logit_scale="model-00002-of-00002.safetensors")
    with pytest.raises(InputError, match=r"model-00001-of-00002\.safetensors: also has tensor 'logit_scale'"):
        load_checkpoint(folder / INDEX_FILE, TINY)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weight_map": 1}', '{"weight_map": {}}', "[" * 100_000])
def test_no_index(folder, content):
    (folder / INDEX_FILE).write_text(content)
    with pytest.raises(InputError, match=r"not an index|lists no tensors"):
        load_checkpoint(folder / INDEX_FILE, TINY)


def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"is a folder without open_clip_model\.safetensors or model\.safetensors or"):
        load_model(TINY, str(tmp_path))
