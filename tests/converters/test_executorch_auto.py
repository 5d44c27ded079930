"""Scheme `auto` for ExecuTorch with a size in place of a floor."""

from __future__ import annotations

import pytest

from edgeclip.errors import BudgetError
from edgeclip.manifest import Bundle
from edgeclip.pipeline import convert
from edgeclip.recipe import Goal, TargetOptions
from edgeclip.verify.compare import verify

pytestmark = pytest.mark.slow
MODEL = "tinyclip-demo"


def _auto(most: float) -> list[TargetOptions]:
    return [TargetOptions("executorch", scheme="auto", goal=Goal(max_mb=most))]


def test_with_a_size_alone_it_is_the_most_exact_of_that_size(tmp_path):
    convert(MODEL, _auto(1.75), tmp_path / "b", towers=("image",))
    (artifact,) = Bundle.open(tmp_path / "b").manifest.artifacts
    (row,) = verify(tmp_path / "b").rows
    assert 0.85 * 1.75e6 < artifact.size_bytes <= 1.75e6
    assert row.passed
    assert row.cosine_min > 0.99
    assert artifact.layers is not None
    assert len(set(artifact.layers.values())) > 1


def test_a_size_that_cannot_be_had_is_a_failed_check(tmp_path):
    with pytest.raises(BudgetError, match=r"MB at least; its part of --max-mb leaves them"):
        convert(MODEL, _auto(0.5), tmp_path / "b", towers=("image",))
    assert not (tmp_path / "b").exists()
