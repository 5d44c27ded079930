"""`--device host-model`: this machine, estimated from the times of its primitives. Only here can estimates be checked.

`benchmarks/host_model.py` holds it against measurements and writes the errors that are shown with every estimate.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from edgeclip.errors import NotRunnableError, UsageError
from edgeclip.manifest import Artifact
from edgeclip.operations import Operation
from edgeclip.plugins import OPERATIONS
from profiles.device import Request, nothing_of, takes
from profiles.estimates.kernels import Kernels
from profiles.estimates.microbenchmark import measured, processor
from profiles.results import Device, EstimatedLatency, EstimatedRow, Profile, described

CHECK = Path(__file__).with_name("host_model_check.json")
_TARGET = "executorch"
_PRODUCTS = frozenset({"bmm", "conv", "depthwise", "gemm", "mean"})
_NOTE = "estimated from a micro-benchmark of this machine's kernels; the artifact itself was not run"


class HostModel:
    """Estimates XNNPACK's programs on this machine."""

    def profile(self, request: Request) -> Profile:
        if request.argument:
            raise UsageError(f"--device host-model:{request.argument}: host-model takes nothing after a colon")
        takes(request, "host-model", "threads")
        artifacts = request.bundle.manifest.artifacts
        not_run = {a.label: f"the kernels of {a.target} cannot be timed here" for a in artifacts if a.target != _TARGET}
        if len(not_run) == len(artifacts):
            raise nothing_of(request.bundle, "estimated", not_run)
        rows = []
        checks = read_checks()
        for threads in request.threads:
            with request.progress(f"timing primitives on {threads} thread{'s' * (threads > 1)}"):
                kernels = Kernels(measured(threads))
            check = checks.get(threads) or checks[max(checks)]
            for artifact in artifacts:
                if artifact.target != _TARGET:
                    continue
                try:
                    rows.append(_row(request, artifact, kernels, threads, check))
                except NotRunnableError as error:
                    not_run[artifact.label] = str(error)
        if not rows:
            raise nothing_of(request.bundle, "estimated", not_run)
        details = {"note": _NOTE, "processor": processor().partition("; flags")[0], "checked": list(checks.values())}
        device = Device(id="host-model", kind="estimated", name="this machine", details=details)
        return Profile(device=device, rows=tuple(rows), bundle=str(request.bundle.path), not_run=not_run)


def _row(request: Request, artifact: Artifact, kernels: Kernels, threads: int, check: dict[str, Any]) -> EstimatedRow:
    path = request.bundle.verified_path(artifact)
    bounds, operators = times_ms(OPERATIONS[_TARGET].load()(path, artifact.method), kernels)
    p50, worst = sum(bounds.values()), check["worst_percent"] / 100
    return EstimatedRow(
        **described(artifact, request.bundle.manifest.model),
        latency_ms=EstimatedLatency(p50=p50, low=p50 / (1 + worst), high=p50 / (1 - worst)),
        error_percent=(check["mean_percent"], check["worst_percent"]),
        threads=threads,
        bounds=bounds,
        operators_ms=operators,
    )


def read_checks() -> dict[int, dict[str, Any]]:
    """What `benchmarks/host_model.py` found, by number of threads."""
    return {check["threads"]: check for check in json.loads(CHECK.read_text("utf-8"))}


def times_ms(operations: list[Operation], kernels: Kernels) -> tuple[dict[str, float], dict[str, float]]:
    """(milliseconds by cause, by type of operation); both add up to the latency."""
    bounds: dict[str, float] = defaultdict(float, dispatch=kernels.call_us / 1e3)
    operators: dict[str, float] = defaultdict(float, dispatch=kernels.call_us / 1e3)
    for operation in operations:
        taken = kernels.us(operation) / 1e3
        cause = "compute" if operation.kernel.partition(" ")[0] in _PRODUCTS else "memory"
        bounds["fallback" if operation.unit == "portable" else cause] += taken
        operators[operation.name] += taken
    return dict(bounds), dict(sorted(operators.items(), key=lambda one: -one[1]))


DEVICE = HostModel()
