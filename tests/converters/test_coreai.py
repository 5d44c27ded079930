"""Core AI assets: float16 inside, steady bytes, compressed weights, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from converters.coreai.compression import check_installed
from converters.coreai.metadata import read_metadata
from converters.coreai.target import TARGET
from edgeclip import plugins
from edgeclip.errors import MissingPackageError
from edgeclip.manifest import content_sha256, size_bytes
from edgeclip.models import MODELS
from edgeclip.models.towers import export_tower
from edgeclip.models.weights import load_model
from edgeclip.recipe import TargetOptions
from edgeclip.reference.coreai_runtime import CoreAIRunner
from edgeclip.target import resolved
from edgeclip.verify.metrics import cosines
from tests.support.coreai import artifact_of, needs_coreai
from tests.support.live import pictures

SPEC = MODELS["tinyclip-demo"]
STATED = {"author": "us", "licence": "Apache-2.0", "description": "a tower", "scheme": "fp16", "tower": "image"}


@pytest.fixture(scope="module")
def exported():
    """The image tower, in the default layout."""
    return export_tower(load_model(SPEC, "demo").pair, SPEC, "image", TARGET.rewrite("ane"))


@pytest.fixture(scope="module")
def half(exported, tmp_path_factory):
    """It in float16, read-only."""
    return _lower(exported, "fp16", tmp_path_factory.mktemp("half") / "image.aimodel")


def _lower(exported, scheme, path):
    recipe = resolved(TARGET, TargetOptions("coreai", scheme=scheme), SPEC.name, "weights", "image")
    TARGET.lower(exported, recipe, STATED, path)
    return path


def _embeddings(path):
    given = pictures(SPEC, 2).numpy()
    with CoreAIRunner(path, artifact_of((1, 3, 64, 64), dim=SPEC.embed_dim)) as runner:
        return given, runner.encode(given)


@needs_coreai
@pytest.mark.slow
def test_equal_recipes_give_equal_bytes(exported, half, tmp_path):
    again = _lower(exported, "fp16", tmp_path / "again.aimodel")
    assert content_sha256(again) == content_sha256(half)
    content = (half / "main.mlirb").read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in content, "debug information would name this machine's files"
    metadata = read_metadata(half)
    assert metadata["license"] == "Apache-2.0"
    assert metadata["creatorDefinedMetadata"] == {"edgeclip.scheme": "fp16", "edgeclip.tower": "image"}
    assert "creationDate" not in metadata


@needs_coreai
@pytest.mark.slow
def test_float16_is_inside_only_and_the_export_stays_as_it_was(exported, half):
    given, found = _embeddings(half)
    assert found.dtype == np.float32
    with torch.inference_mode():
        wanted = exported.program.module()(torch.from_numpy(given[:1])).numpy()
    assert wanted.dtype == np.float32
    assert not {value.dtype for value in exported.program.constants.values()} & {torch.float16}
    assert 0.9999 < cosines(wanted, found[:1])[0] < 1 - 1e-9, "close, but rounded"
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() < 1e-3
    weights = TARGET.inspect(half)["weights"]
    assert weights["float16"]["values"] > 1_500_000
    assert weights.get("float32", {"values": 0})["values"] < 100


@needs_coreai
@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "kind", "share", "size"), [("w8", "int8", 0.98, 0.55), ("w4", "int4", 0.9, 0.37)])
def test_weights_are_integers(exported, half, tmp_path, scheme, kind, share, size):
    path = _lower(exported, scheme, tmp_path / "image.aimodel")
    weights = TARGET.inspect(path)["weights"]
    assert weights[kind]["values"] > share * TARGET.inspect(half)["weights"]["float16"]["values"]
    assert size_bytes(path) < size * size_bytes(half)
    assert cosines(*(_embeddings(one)[1] for one in (half, path))).min() > {"w8": 0.999, "w4": 0.95}[scheme]


class _Loud(nn.Module):
    """An encoder whose middle leaves float16's range."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 8), _Times(1e6), nn.ReLU(), _Times(1e-6))

    def forward(self, x):
        return F.normalize(self.encoder(x), dim=-1)


class _Times(nn.Module):
    def __init__(self, factor) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


@needs_coreai
@pytest.mark.slow
def test_what_float16_cannot_hold_stays_in_float32():
    from converters.coreai.half import overflowing, to_half

    torch.manual_seed(0)
    module, samples = _Loud().eval(), np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    given = (torch.from_numpy(samples[:1]),)

    def program():
        return torch.export.export(module, given, strict=False).run_decompositions({})

    kept = overflowing(program(), samples)
    assert len(kept) == 3, kept  # both products, and what is between them
    with torch.no_grad():
        wanted = module(*given)
        assert not torch.isfinite(to_half(program()).module()(*given)).all()
        found = to_half(program(), kept).module()(*given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)


def test_without_the_packages_convert_says_so(cli, tmp_path, monkeypatch):
    row = replace(plugins.RUNTIMES["coreai"], requires=("no_such_package",))
    monkeypatch.setitem(plugins.RUNTIMES._items, "coreai", row)
    result = cli("convert", "tinyclip-demo", "--target", "coreai", "--out", tmp_path / "bundle")
    assert result.status == 2
    assert 'coreai: package no_such_package is not installed: pip install "edgeclip[coreai]"' in result.error
    assert not (tmp_path / "bundle").exists()


def test_palettes_need_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(MissingPackageError, match="--scheme pal4: coreai-opt compiles its k-means, and no-such-compiler"):
        check_installed("pal4")
    check_installed("w8")
