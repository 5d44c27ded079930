"""Packages are written as coremltools would leave them, so that opening one does not change its hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.coreml.package import write_package
from edgeclip.manifest import content_sha256
from tests.reference.packages import builder, save


@pytest.mark.parametrize("seed", range(6))  # identifiers follow the content, and with them their order
def test_opening_a_package_does_not_change_it(tmp_path: Path, seed: int) -> None:
    import coremltools as ct

    weight = np.random.default_rng(seed).standard_normal((64, 64)).astype(np.float16)
    source = tmp_path / "source.mlpackage"
    save(source, {"x": ((1, 64), "fp16")}, lambda v: builder().linear(x=v["x"], weight=weight))
    path = tmp_path / "written.mlpackage"
    write_package(ct.models.MLModel(str(source), skip_model_load=True), {"author": "someone"}, path)
    before = content_sha256(path)
    ct.models.MLModel(str(path), skip_model_load=True)
    assert content_sha256(path) == before
