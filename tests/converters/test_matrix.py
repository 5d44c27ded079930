"""Every (target, scheme, OS floor) cell converts, loads, runs and verifies on the demo models, or is refused."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeclip.errors import UsageError
from edgeclip.manifest import Bundle
from edgeclip.pipeline import convert
from edgeclip.plugins import TARGETS
from edgeclip.recipe import SCHEMES, TargetOptions
from edgeclip.verify.compare import verify

CELLS = [
    TargetOptions(name, scheme=scheme, backend=backend, min_os=floor)
    for name in TARGETS
    for scheme in TARGETS[name].load().schemes
    for backend in TARGETS[name].load().backends or (None,)
    for floor in TARGETS[name].load().os_floors or (None,)
]
MODELS = ("tinyclip-demo", "mobileclip-demo")


def _name(options: TargetOptions) -> str:
    return "-".join(filter(None, (options.target, options.scheme, options.backend, options.min_os)))


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """`cell(model, options)`: the manifest and path of a bundle of one target, made once."""
    return functools.cache(
        lambda model, options: Bundle.open(convert(model, [options], tmp_path_factory.mktemp("cell") / "bundle").bundle)
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", CELLS, ids=_name)
def test_a_cell_converts_runs_and_verifies(model, options, cell):
    bundle = cell(model, options)
    for artifact in bundle.manifest.artifacts:
        assert artifact.scheme == options.scheme
        assert artifact.min_os == options.min_os
        assert artifact.size_bytes > 100_000
    verified = verify(bundle.path)
    assert verified.passed, verified.rows
    for row in verified.rows:
        assert row.between_input_cosine < 0.9
        assert row.cosine_min >= SCHEMES[options.scheme].threshold.cosine_min


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_cell_that_does_not_exist_is_refused(target, scheme, tmp_path):
    known = TARGETS[target].load().schemes
    if scheme in known:
        return
    with pytest.raises(UsageError, match=f"known: {', '.join(known)}"):
        convert("tinyclip-demo", [TargetOptions(target, scheme=scheme)], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_int8_weights_are_smaller(tiny_bundle, cell):
    small = [options for options in CELLS if options.scheme == "w8" and options.min_os in (None, "iOS17")]
    floats = {a.path: a.size_bytes for a in Bundle.open(tiny_bundle).manifest.artifacts}
    sizes = {a.path: a.size_bytes for options in small for a in cell("tinyclip-demo", options).manifest.artifacts}
    ratios = {path: size / floats[path] for path, size in sizes.items()}
    assert ratios["coreml/tinyclip_demo_image.mlpackage"] < 0.6
    assert ratios["coreml/tinyclip_demo_text.mlpackage"] < 0.6
    assert ratios["executorch/tinyclip_demo_image.pte"] < 0.4
    assert ratios["executorch/tinyclip_demo_text.pte"] < 1.0  # the token table, most of this tower, stays in float


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_bytes(tiny_bundle, tmp_path):
    """In another process, with another hash seed, at another place."""
    out = tmp_path / "again"
    command = [sys.executable, "-m", "edgeclip", "convert", "tinyclip-demo", "--out", str(out)]
    command += ["--target", "coreml", "--target", "executorch"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    first, second = Bundle.open(tiny_bundle).manifest, Bundle.open(out).manifest
    assert {a.path: a.sha256 for a in first.artifacts} == {a.path: a.sha256 for a in second.artifacts}
    assert first == second


@pytest.mark.slow
def test_packages_carry_names_and_licence(mobile_bundle):
    content = TARGETS["coreml"].load().inspect(Path(mobile_bundle) / "coreml/mobileclip_demo_image.mlpackage")
    metadata = content["metadata"]
    assert metadata["edgeclip.model"] == "mobileclip-demo"
    assert metadata["edgeclip.scheme"] == "fp16"
    assert metadata["edgeclip.space_id"] == Bundle.open(mobile_bundle).manifest.embedding.space_id
    assert "com.github.apple.coremltools.conversion_date" not in metadata
    from edgeclip.reference.mil.package import Package

    description = Package(Path(mobile_bundle) / "coreml/mobileclip_demo_image.mlpackage").model.description
    assert "Apache-2.0 (commercial use allowed)" in description.metadata.license
    assert "mobileclip-demo" in description.metadata.shortDescription
