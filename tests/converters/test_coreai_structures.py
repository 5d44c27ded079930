"""Structures of the model table at a reduced size, to Core AI in the default scheme, verified by its own runtime."""

from __future__ import annotations

import pytest

from edgeclip.models import MODELS
from edgeclip.pipeline import convert
from edgeclip.plugins import RUNTIMES
from edgeclip.recipe import TargetOptions
from edgeclip.verify.compare import verify
from tests.support.coreai import needs_coreai
from tests.support.reduced import NEW, REDUCED, STRUCTURES
from tests.support.siglip import TINY_SIGLIP

SPECS = {**{name: lambda name=name: REDUCED[name] for name in NEW}, **STRUCTURES, "siglip": lambda: TINY_SIGLIP}


@needs_coreai
@pytest.mark.slow
@pytest.mark.parametrize("structure", SPECS)
def test_converts_and_verifies(structure, tmp_path, monkeypatch):
    spec = SPECS[structure]()
    monkeypatch.setitem(MODELS._items, spec.name, spec)
    monkeypatch.setattr(RUNTIMES["coreai"].load(), "patience_s", 2.0)
    made = convert(spec.name, [TargetOptions("coreai")], tmp_path / "bundle", weights="seeded:0")
    verified = verify(made.bundle)
    assert verified.passed, verified.rows
    assert {(row.tower, row.scheme) for row in verified.rows} == {("image", "fp16"), ("text", "fp16")}
    assert all(row.between_input_cosine < 0.9 for row in verified.rows)
