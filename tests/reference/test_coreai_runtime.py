"""Core AI's runtime in its worker: what it gives, and what it refuses without harm."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from edgeclip.classify import choose_runtime
from edgeclip.errors import BundleError, MissingPackageError, UsageError
from edgeclip.plugins import RUNTIMES
from edgeclip.reference.coreai_runtime import CoreAIRunner, check_program, graph_of
from tests.support.coreai import artifact_of, needs_coreai, small_asset

PROGRAM, DIGEST = "main.mlirb", "main.hash"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An asset, read-only, and the module it was made from."""
    path = tmp_path_factory.mktemp("asset") / "small.aimodel"
    return path, small_asset(path)


@pytest.fixture
def asset(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made[0], tmp_path / "small.aimodel")


def _restate(path):
    (path / DIGEST).write_bytes(hashlib.sha256((path / PROGRAM).read_bytes()).digest())


@needs_coreai
@pytest.mark.slow
def test_it_gives_what_torch_gives(made):
    path, module = made
    given = np.random.default_rng(0).random((3, 3, 4, 4), np.float32)
    with CoreAIRunner(path, artifact_of()) as runner:
        found = runner.encode(given)
        with torch.inference_mode():
            np.testing.assert_allclose(found, module(torch.from_numpy(given)).numpy(), atol=1e-6)
        with pytest.raises(
            BundleError, match=r"small\.aimodel: Core AI cannot run it: its input is image float32 \[1, 3, 4, 4\]"
        ):
            runner.encode(given[:, :2])
        np.testing.assert_array_equal(runner.encode(given), found)
    assert not runner._worker.alive, "the worker ends with its program"


@needs_coreai
@pytest.mark.slow
@pytest.mark.parametrize(
    "stated",
    [{"name": "picture"}, {"shape": (1, 3, 8, 8)}, {"dim": 7}],
    ids=["name", "shape", "result"],
)
def test_an_interface_that_the_manifest_states_otherwise_is_refused(made, stated):
    with pytest.raises(BundleError, match=r"small\.aimodel: Core AI cannot load it: its .* and the manifest states"):
        CoreAIRunner(made[0], artifact_of(**stated))


@needs_coreai
@pytest.mark.slow
@pytest.mark.parametrize("how", ["emptied", "truncated", "noise"])
def test_a_damaged_program_harms_the_worker_only(asset, how):
    content = (asset / PROGRAM).read_bytes()
    damaged = {"emptied": b"", "truncated": content[: len(content) // 2], "noise": np.random.default_rng(1).bytes(4000)}
    (asset / PROGRAM).write_bytes(damaged[how])
    with pytest.raises(BundleError, match=r"small\.aimodel: damaged: main\.mlirb is not what main\.hash says"):
        CoreAIRunner(asset, artifact_of())
    _restate(asset)
    with pytest.raises(BundleError, match=r"small\.aimodel: Core AI cannot load it: "):
        CoreAIRunner(asset, artifact_of())
    with pytest.raises(BundleError, match=r"small\.aimodel: Core AI cannot read it: "):
        graph_of(asset)


@pytest.mark.parametrize("file", [PROGRAM, DIGEST])
def test_an_asset_without_its_parts_is_named(tmp_path, file):
    for name in {PROGRAM, DIGEST} - {file}:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=f"no Core AI asset .{file}: No such file"):
        check_program(tmp_path)


@needs_coreai
@pytest.mark.slow
def test_the_graph_is_that_of_the_program(made):
    main = graph_of(made[0]).functions["main"]
    assert [argument.shape for argument in main.arguments] == [(1, 3, 4, 4)]
    names = [node.name for node in main.nodes]
    assert "broadcasting_batch_matmul" in names
    assert names[-1] == "output"
    weight = next(value for node in main.nodes for value in node.results if value.shape in ((48, 6), (6, 48)))
    assert weight.dtype == "f32"


def test_without_the_package_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r'pip install "edgeclip\[coreai\]" \(for Python 3\.11 and later on Linux'):
        RUNTIMES["coreai"].load()
    with pytest.raises(MissingPackageError, match="coreai: package coreai is not installed"):
        graph_of(tmp_path)


def test_a_bundle_that_nothing_here_runs_names_what_to_install(monkeypatch, tmp_path):
    row = replace(RUNTIMES["coreai"], requires=("no_such_package",))
    monkeypatch.setitem(RUNTIMES._items, "coreai", row)
    bundle = SimpleNamespace(path=tmp_path, manifest=SimpleNamespace(artifacts=(artifact_of(),)))
    with pytest.raises(UsageError, match=r'nothing here runs any .*; coreai: package no_such_package .*"edgeclip\[coreai\]"'):
        choose_runtime(bundle, None, ("image",))
    with pytest.raises(MissingPackageError, match="coreai: package no_such_package is not installed"):
        choose_runtime(bundle, "coreai", ("image",))
