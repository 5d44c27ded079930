"""The two tasks of a child: making artifacts, and timing them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgeclip.verify.metrics import unit
from latency.case import Case
from latency.child import Reporter
from latency.contender import Contender, Encode
from latency.results import summary
from latency.rounds import interleave
from peers.table import contenders


def _build(task: dict[str, Any], case: Case, chosen: list[Contender], report: Reporter) -> None:
    for contender in chosen:
        report.doing(contender.name, "building")
        try:
            versions = contender.versions()
        except importlib.metadata.PackageNotFoundError as error:
            report.refused(contender.name, f"{error.name} is not installed")
            continue
        folder = contender.made(case)
        facts = {"folder": str(folder), "size_bytes": contender.size_bytes(case, folder), "versions": versions}
        report.found(contender.name, facts)


def _measure(task: dict[str, Any], case: Case, chosen: list[Contender], report: Reporter) -> None:
    """Load all, check each against torch on this number of threads, and time those that agree."""
    encoders: dict[str, Encode] = {}
    cosines: dict[str, float] = {}
    for contender in chosen:
        report.doing(contender.name, "checking")
        encode = contender.load(case, Path(task["folders"][contender.name]), task["threads"])
        cosines[contender.name] = _least_cosine(case, encode)
        if cosines[contender.name] < contender.least_cosine or np.isnan(cosines[contender.name]):
            why = f"wrong: cosine {cosines[contender.name]:.4f} with torch, needs {contender.least_cosine:g}"
            report.refused(contender.name, why)
        else:
            encoders[contender.name] = encode
    found = interleave(encoders, case.reference.inputs[:1], task["rounds"], task["runs"], doing=report.doing)
    for name, turns in found.items():
        latency, busy = summary(turns)
        facts = {"cosine_min": round(cosines[name], 6), "latency_ms": msgspec.structs.asdict(latency), "busy_threads": busy}
        report.found(name, facts)


def _least_cosine(case: Case, encode: Encode) -> float:
    """Over the checked samples, between the answers of a contender and torch's."""
    wanted = case.reference.embeddings.astype(np.float64)
    got = np.concatenate([np.asarray(encode(sample[None]), np.float64).reshape(1, -1) for sample in case.reference.inputs])
    if got.shape != wanted.shape:
        raise ValueError(f"embeddings of shape {list(got.shape[1:])}, not {list(wanted.shape[1:])}")
    return float((unit(wanted) * unit(got)).sum(axis=1).min())


TASKS: dict[str, Callable[[dict[str, Any], Case, list[Contender], Reporter], None]] = {"build": _build, "measure": _measure}


def perform(task: dict[str, Any], report: Reporter) -> None:
    """Do what the parent asked for: {"task", "case": {...}, "contenders": [...], "schemes", ...}."""
    table = contenders(task["schemes"])
    case = Case(**{**task["case"], "work": Path(task["case"]["work"])})
    TASKS[task["task"]](task, case, [table[name] for name in task["contenders"]], report)
