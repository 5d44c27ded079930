"""What a report is when it is done: a text, and what `--json` says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from profiles.report.gather import Report
from profiles.report.tables import on_front


@dataclass(frozen=True)
class Document:
    """text: of the file. summary: plain JSON values."""

    text: str
    summary: dict[str, Any]


def summary(report: Report) -> dict[str, Any]:
    """What is in a report: bundles, devices, the front, and what would add to it."""
    fronts = [item for items in report.groups().values() for item in on_front(report, items, report.devices)]
    return {
        "bundles": [
            {
                "path": str(shown.path),
                "model": shown.manifest.model,
                "artifacts": len(shown.manifest.artifacts),
                "verified": sum(item.passed is True for item in report.items if item.bundle == shown.name),
                "failed": [i.artifact.label for i in report.items if i.bundle == shown.name and i.passed is False],
                "stale": list(shown.stale),
                "missing": list(shown.missing),
            }
            for shown in report.bundles
        ],
        "devices": [{"id": d.id, "name": d.name, "kind": d.kind, "emulated": d.emulated} for d in report.devices],
        "pareto": list(dict.fromkeys(f"{item.bundle}: {item.artifact.label}" for item in fronts)),
    }
