"""From what a worker answered to a row: percentiles, and reasons not to rely on them."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable, Iterator
from typing import Any

from edgeclip import __version__
from edgeclip.plugins import ENGINES
from profiles import machine
from profiles.results import Device, Latency, MeasuredRow, described
from profiles.runners.host_engines import engine
from profiles.runners.host_messages import Loaded, Reloaded, Timed
from profiles.runners.host_plan import ORIGINAL, Planned
from profiles.stats import StopRule, drift, half_width, median

# More than this, and other work shows in the times: cores used by others, cores taken by other machines, inferences that lost
# their core, difference between the halves of a run, cores used beyond the threads asked for, the processor's pace below its
# best.
MOST_ELSEWHERE, MOST_STOLEN, MOST_PREEMPTED, MOST_DRIFT, MOST_EXTRA, MOST_SLOWER = 0.25, 0.05, 0.1, 0.05, 0.25, 0.1
_DIGITS = 4  # behind the point, of milliseconds: clocks tell no more


def row(planned: Planned, loaded: Loaded, timed: Timed, reloaded: Reloaded, rule: StopRule, load_before: float) -> MeasuredRow:
    """One row."""
    return MeasuredRow(
        **{**described(planned.artifact, planned.bundle.manifest.model), **_of_the_original(planned, loaded)},
        runtime=planned.runtime,
        threads=planned.threads,
        load_cold_ms=_rounded(loaded.load_ms),
        load_warm_ms=_rounded(median(reloaded.times_ms)) if reloaded.times_ms else None,
        first_ms=round(loaded.first_ms, _DIGITS),
        latency_ms=Latency.of(timed.times_ms, _DIGITS),
        peak_memory_mb=_rounded(timed.peak_memory_mb),
        memory_before_mb=_rounded(loaded.memory_before_mb),
        reference=engine(planned.runtime).reference,
        noisy=(*_crowded(load_before), *_unsettled(timed, rule), *_disturbed(timed, planned.threads)),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _of_the_original(planned: Planned, loaded: Loaded) -> dict[str, Any]:
    """The original is no artifact: its weights' hash, and the size of the tower's parameters in memory."""
    if planned.runtime != ORIGINAL:
        return {}
    return {
        "target": ORIGINAL,
        "backend": None,
        "scheme": "fp32",
        "sha256": planned.bundle.manifest.weights.sha256,
        "size_bytes": loaded.weight_bytes or 0,
        "delegates": {},
        "delegated_percent": None,
    }


def _crowded(load_before: float) -> Iterator[str]:
    if load_before > machine.cores():
        yield f"load average {load_before:.2f} on {machine.cores()} cores at the start"


def _unsettled(timed: Timed, rule: StopRule) -> Iterator[str]:
    times = timed.times_ms
    known = half_width(sorted(times))
    if known > rule.within or len(times) < rule.least:
        yield f"after {len(times)} inferences the median is known to {100 * known:.1f} %, not {100 * rule.within:g} %"
    if abs(drift(times)) > MOST_DRIFT:
        yield f"the later half took {100 * drift(times):+.0f} %"


def _disturbed(timed: Timed, threads: int | None) -> Iterator[str]:
    elsewhere = timed.elsewhere
    if elsewhere and elsewhere.processes > MOST_ELSEWHERE:
        yield f"other processes used {elsewhere.processes:.1f} of {os.cpu_count()} cores"
    if elsewhere and elsewhere.machines > MOST_STOLEN:
        yield f"the hypervisor took {elsewhere.machines:.2f} cores away"
    slower = median(timed.paces_ms) / min(timed.paces_ms) - 1
    if slower > MOST_SLOWER:
        yield f"the processor was mostly {100 * slower:.0f} % slower than at its best (its clock, or work on the same core)"
    if timed.preempted > MOST_PREEMPTED * len(timed.times_ms):
        yield f"{timed.preempted} of {len(timed.times_ms)} inferences lost their core meanwhile"
    if threads is not None and timed.busy_threads > threads + MOST_EXTRA:
        yield f"{timed.busy_threads:.1f} threads were at work where {threads} was asked for"


def device(details: dict[str, Any], uncached: bool) -> Device:
    """The host. Its id is `host` on every machine; `details` say which it is."""
    cold = "fresh process, file out of the system's cache" if uncached else "fresh process, file in the system's cache"
    name = f"{details['cpu']}, {details['cores']} cores, {details['system']} {details['architecture']}"
    return Device(id="host", kind="measured", name=name, details={**details, "cold_load": cold})


def tools(runtimes: Iterable[str]) -> dict[str, str]:
    """Versions of what ran."""
    packages = dict.fromkeys(package for runtime in runtimes for package in ENGINES[runtime].packages)
    return {"edgeclip": __version__, **{package: importlib.metadata.version(package) for package in packages}}
