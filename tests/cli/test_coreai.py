"""Core AI through the command line, beside the other two targets in one bundle."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from PIL import Image

from edgeclip.errors import UsageError
from edgeclip.manifest import MANIFEST_FILE, Bundle, content_sha256
from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from tests.support.coreai import needs_coreai

ASSET = "coreai/tinyclip_demo_image.aimodel"


def test_an_option_goes_to_the_targets_that_know_its_value(cli, monkeypatch):
    found = {}

    def convert(model, options, *args, **kwargs):
        found.update({one.target: (one.min_os, one.layout, one.backend) for one in options})
        raise UsageError("seen")

    monkeypatch.setattr("edgeclip.pipeline.convert", convert)
    targets = [part for name in ("coreml", "coreai", "executorch") for part in ("--target", name)]
    cli("convert", "tinyclip-demo", *targets, "--min-os", "iOS18", "--layout", "plain", "--backend", "xnnpack")
    assert found == {
        "coreml": ("iOS18", "plain", None),
        "coreai": (None, "plain", None),
        "executorch": (None, None, "xnnpack"),
    }
    cli("convert", "tinyclip-demo", "--target", "coreml", "--target", "coreai", "--min-os", "iOS9")
    assert found["coreml"][0] == found["coreai"][0] == "iOS9", "known to neither, so that both say so"


@pytest.fixture(scope="module")
def three(tiny_bundle, tmp_path_factory):
    """The TinyCLIP demo for all three targets. Read-only: copy it to change it."""
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("three") / "bundle")
    convert("tinyclip-demo", [TargetOptions("coreai", scheme="fp32")], folder)
    return folder


@pytest.fixture
def copy(three, tmp_path):
    return shutil.copytree(three, tmp_path / "bundle")


@needs_coreai
@pytest.mark.slow
def test_three_targets_agree_with_the_original_and_each_other(cli, copy):
    result = cli("verify", copy, "--json")
    assert result.status == 0
    assert {(row["target"], row["runtime"], row["passed"]) for row in result.json["rows"]} == {
        ("coreml", "mil", True),
        ("executorch", "executorch", True),
        ("coreai", "coreai", True),
    }
    own = [row for row in result.json["rows"] if row["target"] == "coreai"]
    assert all(row["samples"] >= 2 and row["max_abs_error"] <= 1e-5 for row in own)
    pairs = {(pair["tower"], pair["first"], pair["second"]): pair for pair in result.json["agreement"]}
    assert len(pairs) == 6
    exact = pairs["image", "coreai fp32", "executorch/xnnpack fp32"]
    assert exact["samples"] == next(row["samples"] for row in own if row["tower"] == "image")
    assert exact["max_abs_error"] < 2e-5
    assert 1e-5 < pairs["image", "coreai fp32", "coreml fp16 in mil fp16"]["max_abs_error"] < 5e-3


@needs_coreai
@pytest.mark.slow
def test_what_is_inside_is_told(cli, three):
    contents = {entry["artifact"]: entry for entry in cli("inspect", three, "--json").json["contents"]}
    entry = contents[ASSET]
    assert entry["ops"]["conv2d"] > 20
    assert entry["weights"]["float32"]["values"] > 1_500_000
    assert entry["metadata"]["edgeclip.model"] == "tinyclip-demo"
    (artifact,) = [one for one in Bundle.open(three).manifest.artifacts if one.path == ASSET]
    assert (artifact.min_os, artifact.layout, artifact.checked) == ("iOS27", "ane", "run")
    assert Bundle.open(three).manifest.tools["coreai-core"]


@needs_coreai
@pytest.mark.slow
def test_pictures_are_classified(cli, three, tmp_path):
    Image.new("RGB", (90, 60), "red").save(tmp_path / "x.png")
    scores = {}
    for runtime in ("coreai", "executorch"):
        result = cli("classify", three, tmp_path / "x.png", "--labels", "a red circle,a cat", "--runtime", runtime, "--json")
        assert result.json["runtime"] == runtime
        scores[runtime] = {one["label"]: one["cosine"] for one in result.json["images"][0]["scores"]}
    assert scores["coreai"] == pytest.approx(scores["executorch"], abs=1e-5)


@needs_coreai
@pytest.mark.slow
def test_times_are_those_of_a_reference(cli, three, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = cli("profile", three, "--runtime", "coreai", "--max-seconds", "0.2", "--json")
    assert result.status == 0
    assert [(row["target"], row["runtime"], row["reference"]) for row in result.json["rows"]] == [
        ("coreai", "coreai", True)
    ] * 2
    assert all(row["latency_ms"]["p50"] > 0 and row["load_cold_ms"] > 0 for row in result.json["rows"])
    assert result.json["tools"]["coreai-core"]
    assert not list(tmp_path.iterdir()), "what the runtime compiled goes with the processes"


@needs_coreai
@pytest.mark.slow
@pytest.mark.parametrize("command", ["verify", "classify", "inspect"])
def test_a_damaged_asset_with_a_matching_hash_is_refused(cli, copy, tmp_path, command):
    program = copy / ASSET / "main.mlirb"
    program.write_bytes(program.read_bytes()[:-20_000])
    (program.parent / "main.hash").write_bytes(hashlib.sha256(program.read_bytes()).digest())
    manifest = json.loads((copy / MANIFEST_FILE).read_text())
    (entry,) = [one for one in manifest["artifacts"] if one["path"] == ASSET]
    entry["sha256"] = content_sha256(copy / ASSET)
    entry["size_bytes"] -= 20_000
    (copy / MANIFEST_FILE).write_text(json.dumps(manifest))
    Image.new("RGB", (9, 9)).save(tmp_path / "x.png")
    more = {"classify": [tmp_path / "x.png", "--labels", "a,b", "--runtime", "coreai"], "verify": ["--runtime", "coreai"]}
    result = cli(command, copy, *more.get(command, []))
    said = result.out if command == "verify" else result.error
    assert f"{ASSET}: Core AI cannot {'read' if command == 'inspect' else 'load'} it: " in said
    assert result.status == (1 if command == "verify" else 2)
