"""Core ML's compute plan as edgeclip reads it, with a stand-in for the framework below coremltools."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.coreml.neural_engine.compute_plan import PlanUnavailableError, compute_plan, missing
from converters.coreml.neural_engine.placement import placement
from edgeclip.errors import BundleError
from tests.reference.packages import builder, save
from tests.support.coreml_framework import Framework, install


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A lookup, a sum that rules and plan agree on, and a comparison of floats that the stand-in's table keeps on the CPU."""

    def body(v: dict[str, Any]) -> Any:
        mb = builder()
        rows = mb.gather(x=np.ones((11, 32), np.float16), indices=v["text"], axis=0, name="rows")
        first, second = mb.split(x=rows, split_sizes=[3, 4], axis=1, name="parts")
        product = mb.matmul(x=first, y=second, transpose_y=True, name="product")
        return mb.cast(x=product, dtype="fp32", name="out")

    return save(tmp_path / "small.mlpackage", {"text": ((1, 7), "int32")}, body)


def test_every_operation_has_its_place(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    framework = install(monkeypatch, Framework())
    places = compute_plan(package)
    assert framework.planned == ["CPU_AND_NE"]
    assert places["rows"].preferred == "cpu"
    assert places["rows"].supported == ("cpu",)
    assert places["product"].preferred == "ne"
    assert places["product"].supported == ("cpu", "ne")
    assert {"parts_0", "parts_1"} <= places.keys(), "an operation is found by each of its results"
    assert places["parts_0"] is places["parts_1"]
    assert all(place.cost == pytest.approx(1 / 4) for place in places.values())
    assert not any("const" in name for name in places)


def test_placement_has_rules_and_plan(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    install(monkeypatch, Framework())
    found = placement(package)
    assert {entry["name"]: entry["plan"]["preferred"] for entry in found["ops"]} == {
        "rows": "cpu",
        "parts_0": "ne",
        "product": "ne",
        "out": "ne",
    }
    summary = found["summary"]
    assert summary["placement"] == "compute plan"
    assert "note" not in summary
    assert summary["plan"]["ops"] == {"cpu": 1, "ne": 3}
    assert summary["plan"]["cost"] == {"cpu": pytest.approx(0.25), "ne": pytest.approx(0.75)}
    assert summary["plan"]["without_place"] == 0
    assert summary["plan"]["differing"] == []


def test_where_rules_and_plan_differ_is_listed(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    from tests.support import coreml_framework

    install(monkeypatch, Framework())
    monkeypatch.setattr(coreml_framework, "_CPU_ONLY", frozenset({"gather", "matmul"}))
    summary = placement(package)["summary"]
    assert summary["plan"]["differing"] == ["product"]
    assert summary["verdict"] == "lookup", "the verdict stays that of the rules"


def test_a_package_that_does_not_compile_is_named(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    install(monkeypatch, Framework(compile_error="compiler error:  Encountered an error\nwhile compiling"))
    with pytest.raises(BundleError) as caught:
        placement(package)
    assert str(caught.value).startswith(f"{package}: Core ML cannot compile it (Error compiling model:")
    assert "\n" not in str(caught.value)


def test_without_a_plan_the_rules_stand(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    install(monkeypatch, Framework(plan_error="MLComputePlan is only available on macOS 14.4 and later"))
    with pytest.raises(PlanUnavailableError):
        compute_plan(package)
    summary = placement(package)["summary"]
    assert summary["placement"] == "rules"
    assert summary["note"].endswith("gives no compute plan (MLComputePlan is only available on macOS 14.4 and later)")


def test_bugs_are_not_taken_for_refusals(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    from coremltools.models.compute_plan import MLComputePlan

    install(monkeypatch, Framework())

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(MLComputePlan, "load_from_path", broken)
    with pytest.raises(ZeroDivisionError):
        compute_plan(package)


def test_off_the_mac_the_summary_says_what_is_missing(package: Path) -> None:
    if not missing():
        pytest.skip("Core ML is here")
    summary = placement(package)["summary"]
    assert summary["note"] == "placement is by rule; on macOS the compute plan of Core ML is added"
    assert summary["placement"] == "rules"
    assert Counter(entry.get("plan") for entry in placement(package)["ops"]) == {None: 4}


@pytest.mark.slow
def test_a_real_tower_has_a_place_for_every_operation(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    """Names in the plan are those in the file, so that nothing is lost between the two."""
    install(monkeypatch, Framework())
    found = placement(tiny_bundle / "coreml" / "tinyclip_demo_text.mlpackage")
    assert found["summary"]["plan"]["without_place"] == 0
    assert found["summary"]["plan"]["differing"] == []
