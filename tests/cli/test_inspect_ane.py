"""`edgeclip inspect --ane`: JSON, lines, exit statuses, off the Mac and on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from edgeclip.reference.mil.package import Package
from tests.support.coreml_framework import Framework, install

pytestmark = pytest.mark.slow

TEXT = "coreml/tinyclip_demo_text.mlpackage"
IMAGE = "coreml/tinyclip_demo_image.mlpackage"


@pytest.fixture(scope="module")
def plain_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text tower as the model has it, without rewrites for the Neural Engine."""
    folder = tmp_path_factory.mktemp("plain") / "tinyclip-demo"
    return convert("tinyclip-demo", [TargetOptions("coreml", layout="plain")], folder, towers=("text",)).bundle


def _found(result: Any, path: str) -> dict[str, Any]:
    """The Neural Engine's part of an artifact's entry."""
    (entry,) = [entry for entry in result["contents"] if entry["artifact"] == path]
    found: dict[str, Any] = entry["neural_engine"]
    return found


def _operations(path: Path) -> list[str]:
    """The first result of every operation that runs, in order, straight from the file."""
    function = Package(path).model.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    return [op.outputs[0].name for op in operations if op.type != "const" and not op.type.startswith("constexpr_")]


def test_json_has_every_operation_of_every_core_ml_artifact(cli: Any, tiny_bundle: Path) -> None:
    result = cli("inspect", tiny_bundle, "--ane", "--json")
    assert result.status == 0
    assert set(result.json) == {"bundle", "manifest", "contents"}
    for path in (IMAGE, TEXT):
        found = _found(result.json, path)
        assert [entry["name"] for entry in found["ops"]] == _operations(tiny_bundle / path)
        wanted = {"name", "op", "shape", "dtype", "unit", "severity", "rule", "says", "source", "also", "macs"}
        assert {frozenset(entry) for entry in found["ops"]} == {frozenset(wanted)}
        summary = found["summary"]
        assert summary["ops"] == len(found["ops"])
        assert summary["ops_eligible"] == sum(entry["unit"] == "ne" for entry in found["ops"])
        assert summary["macs"] == sum(entry["macs"] for entry in found["ops"])
        assert all((entry["rule"] is None) == (entry["severity"] == "ok") for entry in found["ops"])
    others = [entry for entry in result.json["contents"] if entry["artifact"].startswith("executorch")]
    assert others
    assert not any("neural_engine" in entry for entry in others)


def test_towers_in_the_neural_engines_layout(cli: Any, tiny_bundle: Path) -> None:
    result = cli("inspect", tiny_bundle, "--ane", "--strict", "--json")
    assert result.status == 0
    image, text = _found(result.json, IMAGE)["summary"], _found(result.json, TEXT)["summary"]
    assert (image["verdict"], image["errors"], image["segments"]) == ("whole", {}, ["ne"])
    assert (text["verdict"], text["errors"].keys(), text["segments"]) == ("lookup", {"token-lookup"}, ["cpu", "ne"])
    assert not any(remedy["option"] == "--layout ane" for remedy in image["remedies"] + text["remedies"])


def test_a_tower_in_plain_layout(cli: Any, plain_text: Path) -> None:
    result = cli("inspect", plain_text, "--ane", "--strict", "--json")
    assert result.status == 1
    text = _found(result.json, TEXT)["summary"]
    assert text["verdict"] == "split"
    assert text["segments"] == ["cpu", "ne", "cpu", "ne"]  # lookup, blocks, pick of the end token, projection
    assert {"token-lookup", "index-search", "runtime-gather", "integer-compute"} <= text["errors"].keys()
    assert {remedy["option"] for remedy in text["remedies"]} == {"--layout ane"}


def test_lines(cli: Any, plain_text: Path) -> None:
    result = cli("inspect", plain_text, "--ane")
    assert result.status == 0
    lines = result.out.splitlines()
    assert "  neural engine: by rule, the work is split between the Neural Engine and the CPU" in lines
    assert any(line.strip().startswith("error   1 x reduce_argmax: ") and "index-search" in line for line in lines)
    assert any(line.strip().startswith("warning 13 x linear: ") and "linear-layer; Apple 2022" in line for line in lines)
    assert lines.count("placement is by rule; on macOS the compute plan of Core ML is added") == 1
    assert any(line.strip().startswith("Apple 2022: ") and "https://machinelearning.apple.com/" in line for line in lines)
    assert any(line.strip().startswith("`--layout ane` rewrites: ") for line in lines)
    assert len(lines) < 50


def test_without_ane_nothing_of_it_is_shown(cli: Any, tiny_bundle: Path) -> None:
    result = cli("inspect", tiny_bundle)
    assert result.status == 0
    assert "neural engine" not in result.out
    assert result.out.count("; 16 bits a weight") == 2, "both Core ML towers"


def test_all_ops_lists_every_one(cli: Any, tiny_bundle: Path) -> None:
    brief, full = cli("inspect", tiny_bundle, "--ane").out, cli("inspect", tiny_bundle, "--ane", "--all-ops").out
    count = sum(len(_operations(tiny_bundle / path)) for path in (IMAGE, TEXT))
    assert len(full.splitlines()) - len(brief.splitlines()) == count + 2 * 2  # header and rule of two tables


@pytest.mark.parametrize("option", ["--strict", "--all-ops"])
def test_options_that_go_with_ane(cli: Any, tiny_bundle: Path, option: str) -> None:
    result = cli("inspect", tiny_bundle, option)
    assert result.status == 2
    assert f"{option} goes with --ane" in result.error


def test_on_a_mac_the_plan_is_added(cli: Any, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    framework = install(monkeypatch, Framework())
    result = cli("inspect", tiny_bundle, "--ane", "--all-ops")
    assert result.status == 0
    assert "compute plan of this Mac: " in result.out
    assert "placement is by rule" not in result.out
    assert framework.planned == ["CPU_AND_NE", "CPU_AND_NE"]
    plan = _found(cli("inspect", tiny_bundle, "--ane", "--json").json, TEXT)["summary"]["plan"]
    assert plan["without_place"] == 0


def test_on_a_mac_a_package_that_does_not_compile_is_an_error(
    cli: Any, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, Framework(compile_error="unable to parse ML Program"))
    result = cli("inspect", tiny_bundle, "--ane")
    assert result.status == 2
    assert f"{tiny_bundle / IMAGE}: Core ML cannot compile it" in result.error


def test_a_bundle_without_core_ml(cli: Any, tiny_bundle: Path, tmp_path: Path) -> None:
    import json
    import shutil

    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "b"))
    manifest = json.loads((bundle / "edgeclip.json").read_text())
    manifest["artifacts"] = [one for one in manifest["artifacts"] if one["target"] == "executorch"]
    (bundle / "edgeclip.json").write_text(json.dumps(manifest))
    result = cli("inspect", bundle, "--ane")
    assert result.status == 2
    assert "has no Core ML artifact" in result.error
