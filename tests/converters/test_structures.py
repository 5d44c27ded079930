"""Structures that no demo model has, at reduced size, through both targets: lowered whole, and the same function."""

from __future__ import annotations

import pytest

from edgeclip.models import MODELS
from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from edgeclip.verify.compare import verify
from tests.support.reduced import STRUCTURES


@pytest.mark.slow
@pytest.mark.parametrize(
    ("structure", "targets", "towers"),
    [
        ("attention-pool", [TargetOptions("coreml", layout="ane"), TargetOptions("executorch")], ("image",)),
        ("attention-pool", [TargetOptions("coreml", layout="plain")], ("image",)),
        ("pruned", [TargetOptions("coreml", layout="ane"), TargetOptions("executorch")], ("image", "text")),
        ("quick-gelu", [TargetOptions("executorch")], ("image",)),
    ],
)
def test_converts_and_verifies(structure, targets, towers, tmp_path, monkeypatch):
    spec = STRUCTURES[structure]()
    monkeypatch.setitem(MODELS._items, spec.name, spec)
    result = convert(spec.name, targets, tmp_path / "bundle", "seeded:0", towers=towers)
    assert len(result.artifacts) == len(targets) * len(towers)
    for artifact in result.artifacts:
        if artifact.target == "executorch":
            assert artifact.delegates == {"XnnpackBackend": 1}
            assert artifact.delegated_percent == 100 or artifact.tower == "text"
    checked = verify(tmp_path / "bundle")
    assert checked.passed, [row for row in checked.rows if not row.passed]
