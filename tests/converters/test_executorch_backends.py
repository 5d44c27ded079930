"""Every (backend, scheme) cell lowers, and runs where its runtime is, or is refused with what there is."""

from __future__ import annotations

import importlib.metadata
import shutil

import msgspec
import pytest

from converters.executorch.backends import BACKENDS
from edgeclip.errors import MissingPackageError, NotRunnableError, UsageError
from edgeclip.golden_json import GOLDEN_JSON
from edgeclip.manifest import MANIFEST_FILE, Bundle
from edgeclip.pipeline import convert
from edgeclip.plugins import TARGETS
from edgeclip.recipe import SCHEMES, TargetOptions
from edgeclip.reference.executorch_runtime import RUNTIME
from edgeclip.target import resolved
from edgeclip.verify.compare import verify

OTHERS = [backend for backend in BACKENDS.values() if backend.schemes is not None]
CELLS = [(backend.name, scheme) for backend in OTHERS for scheme in backend.schemes]
REFUSED = [(backend.name, scheme) for backend in OTHERS for scheme in SCHEMES if scheme not in backend.schemes]
RUN_HERE = {"openvino"}  # where its package is installed; the wheels of ExecuTorch bring no runtime for the rest


def _resolved(**options):
    return resolved(TARGETS["executorch"].load(), TargetOptions("executorch", **options), "m", "w", "text")


@pytest.mark.parametrize(("backend", "scheme"), REFUSED)
def test_a_cell_that_does_not_exist_is_refused_with_those_that_do(backend, scheme):
    with pytest.raises(UsageError, match=f"executorch/{backend}.*known: {', '.join(BACKENDS[backend].schemes)}"):
        _resolved(backend=backend, scheme=scheme)


def test_a_backend_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="did you mean 'vulkan'"):
        _resolved(backend="vulcan")


@pytest.mark.parametrize("backend", [backend.name for backend in OTHERS if not backend.rewritten])
def test_graph_passes_are_for_backends_that_get_them(backend, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2025.4.1")
    with pytest.raises(UsageError, match="--without-pass"):
        _resolved(backend=backend, passes=("-layer-norm",))


@pytest.mark.parametrize(
    ("installed", "message"),
    [(None, "openvino is not installed"), ("2026.4.1", r"needs openvino<2026,>=2025\.1, 2026\.4\.1 is installed")],
)
def test_what_a_backend_needs_is_named_with_the_extra_that_brings_it(installed, message, monkeypatch):
    def version(name):
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(MissingPackageError, match=rf'--backend openvino: .*{message}: pip install "edgeclip\[openvino\]"'):
        _resolved(backend="openvino")


def _needs(backend):
    try:
        BACKENDS[backend].check_installed()
    except MissingPackageError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "scheme"), CELLS)
def test_a_cell_lowers_to_one_delegate_and_runs_where_it_can(backend, scheme, tmp_path):
    _needs(backend)
    tower = "image" if scheme == "fp16" else "text"
    options = TargetOptions("executorch", backend=backend, scheme=scheme)
    towers = ("image", "text") if backend in RUN_HERE else (tower,)
    result = convert("tinyclip-demo", [options], tmp_path / "bundle", towers=towers)
    for artifact in result.artifacts:
        assert artifact.delegates == {BACKENDS[backend].identifier: 1}
        assert artifact.delegated_percent >= 99
        assert artifact.delegated_macs_percent == 100.0
        assert {left.op for left in artifact.left} <= {"argmax"}
        assert artifact.checked == ("run" if backend in RUN_HERE else "lowered")
        content = TARGETS["executorch"].load().inspect(result.bundle / artifact.path)
        assert content["delegates"] == artifact.delegates
        assert content["opaque_bytes"][BACKENDS[backend].identifier] > 10_000
    if backend in RUN_HERE:
        verified = verify(result.bundle)
        assert verified.passed, verified.rows


@pytest.fixture
def unrunnable(bundle_copy):
    """A bundle whose ExecuTorch image tower needs a delegate that is nowhere."""
    manifest = Bundle.open(bundle_copy).manifest
    artifacts = tuple(
        msgspec.structs.replace(artifact, delegates={"NowhereBackend": 1})
        if (artifact.target, artifact.tower) == ("executorch", "image")
        else artifact
        for artifact in manifest.artifacts
    )
    (bundle_copy / MANIFEST_FILE).write_bytes(msgspec.structs.replace(manifest, artifacts=artifacts).to_json())
    return bundle_copy


@pytest.mark.slow
def test_verify_shows_what_cannot_be_run_as_neither_passed_nor_failed(unrunnable, cli, tmp_path):
    shutil.rmtree(unrunnable / "coreml")
    manifest = Bundle.open(unrunnable).manifest
    ours = tuple(artifact for artifact in manifest.artifacts if artifact.target == "executorch")
    others = tuple(entry for entry in manifest.files if entry.path != GOLDEN_JSON)  # it names the artifacts
    (unrunnable / GOLDEN_JSON).unlink()
    (unrunnable / MANIFEST_FILE).write_bytes(msgspec.structs.replace(manifest, artifacts=ours, files=others).to_json())
    shown = cli("verify", unrunnable)
    assert shown.status == 2
    assert "NOT RUN executorch fp32 image: " in shown.out
    assert "has no NowhereBackend" in shown.out
    assert "1 of 2 not run, so not verified" in shown.out
    result = cli("verify", unrunnable, "--json").json
    assert {row["tower"]: row["passed"] for row in result["rows"]} == {"image": None, "text": True}
    assert (result["passed"], result["not_run"]) == (False, ["executorch/xnnpack fp32 image"])


@pytest.mark.slow
def test_a_runtime_says_which_delegate_it_lacks(unrunnable):
    bundle = Bundle.open(unrunnable)
    (artifact,) = (artifact for artifact in bundle.manifest.artifacts if "NowhereBackend" in artifact.delegates)
    with pytest.raises(NotRunnableError, match="has no NowhereBackend"):
        RUNTIME.open(bundle, artifact, "native")
