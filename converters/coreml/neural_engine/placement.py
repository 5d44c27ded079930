"""placement(): what the rules say of a package and, where there is a Core ML, what its own plan says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from converters.coreml.neural_engine.compute_plan import Place, PlanUnavailableError, compute_plan, missing
from converters.coreml.neural_engine.lint import Lint, lint_package


def placement(path: Path, made_with: Collection[str] = ()) -> dict[str, Any]:
    """{"ops": one entry for each operation, "summary": ...}, as plain JSON values.

    made_with: options that the package was converted with, e.g. "--layout ane"; they are not recommended again. Raises
    BundleError if the package cannot be read, or Core ML refuses to compile it.
    """
    lint = lint_package(path, made_with)
    found = lint.as_json()
    summary = found["summary"]
    if missing():
        summary["note"] = "placement is by rule; on macOS the compute plan of Core ML is added"
        return found
    try:
        places = compute_plan(path)
    except PlanUnavailableError as error:
        summary["note"] = f"placement is by rule; Core ML compiles the package, but gives no compute plan ({error})"
        return found
    for entry in found["ops"]:
        place = places.get(entry["name"])
        entry["plan"] = None if place is None else place.as_json()
    summary |= {"placement": "compute plan", "plan": _summary(lint, places)}
    return found


def _summary(lint: Lint, places: Mapping[str, Place]) -> dict[str, Any]:
    """Operations and estimated cost by preferred unit, and where the rules and Core ML differ on what the NE can run."""
    ops: Counter[str] = Counter()
    cost: dict[str, float] = {}
    differing = []
    for finding in lint.findings:
        place = places.get(finding.operation.name)
        if place is None:
            continue
        ops[place.preferred] += 1
        cost[place.preferred] = cost.get(place.preferred, 0.0) + (place.cost or 0.0)
        if ("ne" in place.supported) != (finding.unit == "ne"):
            differing.append(finding.operation.name)
    return {"ops": dict(ops), "cost": cost, "without_place": len(lint.findings) - ops.total(), "differing": differing}
