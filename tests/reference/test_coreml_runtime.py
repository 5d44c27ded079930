"""`MLModel.predict` as edgeclip calls it, with a stand-in for the framework below coremltools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgeclip.errors import BundleError, MissingPackageError
from edgeclip.manifest import Artifact, Bundle, content_sha256
from edgeclip.plugins import RUNTIMES
from edgeclip.reference.coreml_runtime import RUNTIME
from edgeclip.reference.mil.runtime import RUNTIME as INTERPRETER
from tests.support.coreml_framework import Framework, install

pytestmark = pytest.mark.slow


@pytest.fixture
def framework(monkeypatch: pytest.MonkeyPatch) -> Iterator[Framework]:
    return install(monkeypatch, Framework())


def _artifact(bundle: Bundle, tower: str) -> Artifact:
    return next(one for one in bundle.manifest.artifacts if (one.target, one.tower) == ("coreml", tower))


def _inputs(tower: str) -> np.ndarray:
    """Pictures of whole pixel values, so that a pixel buffer holds them; ids with an end token."""
    draw = np.random.default_rng(3)
    if tower == "image":
        return (draw.integers(0, 256, (2, 3, 64, 64)) / 255).astype(np.float32)
    ids = draw.integers(1, 400, (2, 77)).astype(np.int32)
    ids[:, 9] = 49407
    return ids


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize(("mode", "units"), [("all", "ALL"), ("cpu", "CPU_ONLY"), ("ne", "CPU_AND_NE")])
def test_mode_chooses_the_compute_units(framework: Framework, tiny_bundle: Path, tower: str, mode: str, units: str) -> None:
    bundle = Bundle.open(tiny_bundle)
    artifact, given = _artifact(bundle, tower), _inputs(tower)
    with RUNTIME.open(bundle, artifact, mode) as runner:
        found = runner.encode(given)
    with INTERPRETER.open(bundle, artifact, "fp16") as runner:
        np.testing.assert_array_equal(found, runner.encode(given))
    assert (found.shape, found.dtype) == ((2, 128), np.float32)
    assert framework.loaded == [(Path(artifact.path).name, units)]


def test_a_bundle_stays_as_it_is(framework: Framework, bundle_copy: Path) -> None:
    """coremltools sorts the keys of a package's manifest when it opens one; the file that ships may have another order."""
    bundle = Bundle.open(bundle_copy)
    artifact = _artifact(bundle, "text")
    file = bundle.path / artifact.path / "Manifest.json"
    entries = json.loads(file.read_text())
    entries["itemInfoEntries"] = dict(sorted(entries["itemInfoEntries"].items(), reverse=True))
    file.write_text(json.dumps(entries))
    before = content_sha256(file.parent)
    with RUNTIME.open(bundle, msgspec.structs.replace(artifact, sha256=before), "all") as runner:
        runner.encode(_inputs("text"))
    assert content_sha256(file.parent) == before


def test_the_default_mode_is_all_units() -> None:
    assert RUNTIME.modes("fp16") == ("all", "cpu", "ne")


def _failing(monkeypatch: pytest.MonkeyPatch, bundle_path: Path, mode: str = "all", **how: Any) -> str:
    install(monkeypatch, Framework(**how))
    bundle = Bundle.open(bundle_path)
    artifact = _artifact(bundle, "text")
    with pytest.raises(BundleError) as caught, RUNTIME.open(bundle, artifact, mode) as runner:
        runner.encode(_inputs("text"))
    message = str(caught.value)
    assert artifact.path in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("mode", "how", "said"),
    [
        (
            "all",
            {"load_error": "Failed to build the\nmodel execution plan"},
            "cannot run it (Failed to build the model execution",
        ),
        ("all", {"predict_error": "E5RT: inference failed"}, "cannot run it (E5RT: inference failed)"),
        ("all", {"newest_specification": 6}, "only supports Core ML model specification version 6"),
        ("all", {"macos": (11, 7)}, "not supported in macOS version older than 12.0"),
        ("ne", {"macos": (12, 6)}, "cannot load it (coremltools.ComputeUnit.CPU_AND_NE is only available on macOS >= 13.0)"),
    ],
)
def test_what_the_framework_refuses_is_one_line_with_the_file(
    monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path, mode: str, how: dict[str, Any], said: str
) -> None:
    assert said in _failing(monkeypatch, tiny_bundle, mode, **how)


def test_a_wrong_shape_is_one_line(framework: Framework, tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    with RUNTIME.open(bundle, _artifact(bundle, "text"), "all") as runner, pytest.raises(BundleError, match="cannot run it"):
        runner.encode(_inputs("text")[:, :70])


def test_names_that_the_manifest_states_wrongly(framework: Framework, tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    artifact = _artifact(bundle, "text")
    wrong_input = msgspec.structs.replace(artifact, inputs=(msgspec.structs.replace(artifact.inputs[0], name="ids"),))
    wrong_output = msgspec.structs.replace(artifact, outputs=(msgspec.structs.replace(artifact.outputs[0], name="emb"),))
    for changed, said in ((wrong_input, "has no input 'ids'"), (wrong_output, "not emb, which the manifest states")):
        with RUNTIME.open(bundle, changed, "all") as runner, pytest.raises(BundleError, match=said):
            runner.encode(_inputs("text"))


def test_bugs_are_not_taken_for_refusals(framework: Framework, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import coremltools

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug")

    bundle = Bundle.open(tiny_bundle)
    runner = RUNTIME.open(bundle, _artifact(bundle, "text"), "all")
    monkeypatch.setattr(coremltools.models.MLModel, "predict", broken)
    with pytest.raises(ZeroDivisionError):
        runner.encode(_inputs("text"))


@pytest.mark.parametrize("mode", ["cpu", "ne"])
def test_verify_takes_the_mode(framework: Framework, tiny_bundle: Path, cli: Any, mode: str) -> None:
    result = cli("verify", tiny_bundle, "--runtime", "coreml", "--mode", mode, "--json")
    assert result.status == 0
    assert {(row["runtime"], row["mode"]) for row in result.json["rows"]} == {("coreml", mode)}


def test_off_the_mac_it_says_so(cli: Any, tiny_bundle: Path) -> None:
    if RUNTIMES["coreml"].available:
        pytest.skip("Core ML is here")
    result = cli("verify", tiny_bundle, "--runtime", "coreml")
    assert result.status == 2
    assert "coreml: it exists on macOS only" in result.error
    with pytest.raises(MissingPackageError, match="it exists on macOS only"):
        RUNTIMES["coreml"].load()
