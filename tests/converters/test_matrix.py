"""Every (target, scheme) cell converts, loads, runs and verifies on both demo models, or is refused.

Core ML's OS floors and layouts take turns over the cells, so that each scheme is seen at its earliest floor and at iOS18, and
each floor and layout with several schemes. Cells of one model, floor and layout share their float programs. Core AI's schemes
take turns over models and layouts too, on few samples: its portable runtime is slow in float16.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeclip.errors import UsageError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.pipeline import convert
from edgeclip.plugins import RUNTIMES, TARGETS
from edgeclip.recipe import SCHEMES, Goal, TargetOptions
from edgeclip.spec import TOWERS
from edgeclip.target import resolved
from edgeclip.verify.compare import verify

pytestmark = pytest.mark.usefixtures("shared_programs")

MODELS = ("tinyclip-demo", "mobileclip-demo")
# Of tinyclip-demo's towers, as parts of Core ML's in fp16 and of ExecuTorch's in fp32 (whose w8 leaves the token table alone).
_SMALLER = {
    ("coreml", "w8"): (0.6, 0.6),
    ("coreml", "pal6"): (0.46, 0.46),
    ("coreml", "pal4"): (0.35, 0.35),
    ("coreml", "pal4-lut8"): (0.35, 0.35),
    ("coreml", "w4"): (0.38, 0.38),
    ("coreml", "prune50"): (0.62, 0.62),
    ("coreml", "prune50-w8"): (0.42, 0.42),
    ("executorch", "w8"): (0.4, 1.0),
}


def _cells() -> list[tuple[str, TargetOptions]]:
    cells = []
    for name in TARGETS["executorch"].load().schemes:
        cells += [(model, TargetOptions("executorch", scheme=name)) for model in MODELS]
    for number, name in enumerate(TARGETS["coreml"].load().schemes):
        earliest = TARGETS["coreml"].load().needed_os(name)
        for model, floor in zip(MODELS if number % 2 else MODELS[::-1], (earliest, "iOS18"), strict=True):
            layout = "plain" if floor == earliest and model == MODELS[0] else "ane"
            goal = Goal(min_cosine=0.98) if name == "auto" else Goal()
            cells.append((model, TargetOptions("coreml", scheme=name, min_os=floor, layout=layout, goal=goal)))
    for number, name in enumerate(TARGETS["coreai"].load().schemes):
        layout = "plain" if name == "fp32" else "ane"
        cells.append((MODELS[number % 2], TargetOptions("coreai", scheme=name, layout=layout, min_os="iOS27")))
    return sorted(cells, key=lambda cell: (cell[0], cell[1].min_os or "", cell[1].layout or ""))


CELLS = _cells()


def _name(value: object) -> str | None:
    if not isinstance(value, TargetOptions):
        return None
    return "-".join(filter(None, (value.target, value.scheme, value.backend, value.min_os, value.layout)))


def test_each_floor_and_layout_meets_several_schemes():
    coreml = [options for _, options in CELLS if options.target == "coreml"]
    for floor in TARGETS["coreml"].load().os_floors:
        assert len({options.scheme for options in coreml if options.min_os == floor}) >= 1, floor
    assert all(len({o.scheme for o in coreml if o.layout == layout}) >= 4 for layout in ("ane", "plain"))
    assert {options.scheme for options in coreml} == set(TARGETS["coreml"].load().schemes)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "options"), CELLS, ids=_name)
def test_a_cell_converts_runs_and_verifies(model, options, tiny_bundle, mobile_bundle, calibration, tmp_path, monkeypatch):
    if options.target == "coreai":
        if (missing := RUNTIMES["coreai"].missing()) is not None:
            pytest.skip(f"Core AI: {missing}")
        monkeypatch.setattr(RUNTIMES["coreai"].load(), "patience_s", 2.0)
    default = Bundle.open({"tinyclip-demo": tiny_bundle, "mobileclip-demo": mobile_bundle}[model])  # Core ML and ExecuTorch
    if options == TargetOptions("executorch", scheme="fp32"):
        bundle = default
    else:
        bundle = Bundle.open(convert(model, [options], tmp_path / "bundle", calibration=calibration).bundle)
    floats = {(a.target, a.tower): a.size_bytes for a in default.manifest.artifacts}
    for artifact in _made(bundle, options):
        assert artifact.scheme == options.scheme
        assert artifact.min_os == options.min_os
        assert artifact.layout == options.layout
        assert artifact.size_bytes > 100_000
        if model == "tinyclip-demo" and (limits := _SMALLER.get((options.target, options.scheme))):
            limit = dict(zip(TOWERS, limits, strict=True))[artifact.tower]
            assert artifact.size_bytes < limit * floats[options.target, artifact.tower]
    own = (calibration.images, calibration.texts) if options.scheme == "auto" else ()
    others = bundle.manifest.artifacts != _made(bundle, options)
    verified = verify(bundle.path, *own, runtime="executorch" if others else None)
    assert verified.passed, [(row.tower, row.cosine_min, row.failures, row.error) for row in verified.rows if not row.passed]
    for row in verified.rows:
        assert row.between_input_cosine < 0.9
        assert row.cosine_min >= (options.goal.min_cosine or SCHEMES[options.scheme].threshold.cosine_min)


def _made(bundle: Bundle, options: TargetOptions) -> tuple[Artifact, ...]:
    found = tuple(artifact for artifact in bundle.manifest.artifacts if artifact.target == options.target)
    assert {artifact.tower for artifact in found} == {"image", "text"}
    return found


MISSING = [(target, scheme) for target in TARGETS for scheme in SCHEMES if scheme not in TARGETS[target].load().schemes]


@pytest.mark.parametrize(("target", "scheme"), MISSING)
def test_a_cell_that_does_not_exist_is_refused(target, scheme, tmp_path):
    known = TARGETS[target].load().schemes
    with pytest.raises(UsageError, match=f"known: {', '.join(known)}"):
        convert("tinyclip-demo", [TargetOptions(target, scheme=scheme)], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    ("scheme", "floor", "needed"),
    [
        ("w8a8", "iOS16", "iOS17"),
        ("w4", "iOS17", "iOS18"),
        ("pal4-lut8", "iOS16", "iOS18"),
        ("prune50-w8", "iOS17", "iOS18"),
    ],
)
def test_a_scheme_that_needs_a_later_system_says_which(scheme, floor, needed):
    target = TARGETS["coreml"].load()
    with pytest.raises(UsageError, match=f"--scheme {scheme}: needs {needed} or later; use --min-os {needed}"):
        resolved(target, TargetOptions("coreml", scheme=scheme, min_os=floor), "m", "w", "text")
    assert resolved(target, TargetOptions("coreml", scheme=scheme), "m", "w", "text").min_os == needed


def test_the_token_table_may_need_a_later_system_too():
    target = TARGETS["coreml"].load()
    with pytest.raises(UsageError, match="--token-table w4: needs iOS18 or later"):
        resolved(target, TargetOptions("coreml", scheme="w8", token_table="w4", min_os="iOS17"), "m", "w", "text")
    assert resolved(target, TargetOptions("coreml", scheme="w8", token_table="w4"), "m", "w", "text").min_os == "iOS18"


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
