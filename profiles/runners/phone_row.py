"""Timing one artifact with `executor_runner`, wherever it runs: repeated runs until the median is known, each of them checked.

Every run takes another golden input, and its embedding is held against the original's, so that no figure is of a program that
computes something else there. A run is a fresh process; its first execution and those of the warm-up are not timed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeclip.errors import DeviceError, NotRunnableError
from edgeclip.manifest import Artifact, Bundle
from profiles.device import Request, nothing_of
from profiles.results import Latency, MeasuredRow, described
from profiles.runners import executor_runner
from profiles.runners.etdump import Trace, read_etdump
from profiles.stats import StopRule, drift, half_width, median

if TYPE_CHECKING:
    import numpy as np

_PILOT = 3
_WARM_UP = 2
_RUN_S = 2.0  # of timed executions in one process: long enough that loading is not most of it
_EXECUTIONS = (6, 500)  # least and most of one process
_PATIENCE = 10  # times what a run should take, until it counts as stuck
_START_S = 300.0  # what loading on a slow phone may take
_DRIFT = 0.05


@dataclass(frozen=True)
class Sample:
    """An input as the runner reads it, and the embedding that has to come out: (1, D) float32."""

    content: bytes
    embedding: np.ndarray


@dataclass(frozen=True)
class Order:
    """One run that is asked for. number: of the sample among those that were prepared."""

    artifact: Artifact
    executions: int
    threads: int
    number: int
    within_s: float


@dataclass(frozen=True)
class Finished:
    """What a run left. text: its log; output: the bytes of its first output; peak_memory_mb: None where nobody counted."""

    status: int
    text: str
    etdump: Path
    output: bytes
    peak_memory_mb: float | None = None


Launch = Callable[[Order], Finished]
Prepare = Callable[[Artifact, Sequence[Sample]], Launch]


@dataclass
class _Runs:
    """What was gathered so far, in milliseconds."""

    loads: list[float] = field(default_factory=list)
    timed: list[float] = field(default_factory=list)
    operators: list[dict[str, float]] = field(default_factory=list)
    cosines: list[float] = field(default_factory=list)
    peaks: list[float | None] = field(default_factory=list)
    first_ms: float | None = None


def chosen(
    request: Request, target: str, delegates: Collection[str] | None, place: str
) -> tuple[list[Artifact], dict[str, str]]:
    """The artifacts that can be tried there, and by label why the others cannot. delegates: those that exist there."""
    found, not_run = [], {}
    for artifact in request.bundle.manifest.artifacts:
        foreign = [] if delegates is None else [name for name in artifact.delegates if name not in delegates]
        if artifact.target != target:
            not_run[artifact.label] = f"nothing that edgeclip knows runs {artifact.target} {place} from outside an app"
        elif request.runtimes and target not in request.runtimes:
            not_run[artifact.label] = f"there is runtime {target} only {place}, not {', '.join(request.runtimes)}"
        elif foreign:
            not_run[artifact.label] = f"there is no {', '.join(foreign)} {place}"
        else:
            found.append(artifact)
    if not found:
        raise nothing_ran(request.bundle, not_run)
    return found, not_run


def nothing_ran(bundle: Bundle, not_run: Mapping[str, str]) -> NotRunnableError:
    """The error for a bundle of which nothing could be measured."""
    return nothing_of(bundle, "run", not_run)


def measure_all(
    request: Request, artifacts: Sequence[Artifact], not_run: dict[str, str], prepare: Prepare, where: str
) -> tuple[list[MeasuredRow], dict[str, float]]:
    """A row for each artifact and number of threads, and by label the smallest cosine; what cannot run joins `not_run`."""
    rows: list[MeasuredRow] = []
    lowest: dict[str, float] = {}
    for artifact in artifacts:
        inputs = samples(request.bundle, artifact)
        launch = prepare(artifact, inputs)
        for threads in request.threads:
            with request.progress(f"{artifact.label} on {where}, {threads} thread{'s' * (threads > 1)}"):
                try:
                    row, cosine = measure(launch, inputs, artifact, request, threads)
                except NotRunnableError as error:
                    not_run[artifact.label] = str(error)
                    break
                except DeviceError as error:
                    raise DeviceError(f"{artifact.label}: {error}") from error
            rows.append(row)
            lowest[artifact.label] = min(cosine, lowest.get(artifact.label, 1.0))
    if not rows:
        raise nothing_ran(request.bundle, not_run)
    return rows, lowest


def samples(bundle: Bundle, artifact: Artifact) -> tuple[Sample, ...]:
    """The golden inputs as an artifact takes them: one tensor, row-major, of the type that the manifest states."""
    import numpy as np

    from edgeclip.golden import read_golden

    golden = read_golden(bundle)
    given, wanted = golden.inputs(artifact.tower), golden.embeddings(artifact.tower)
    if len(artifact.inputs) != 1 or math.prod(artifact.inputs[0].shape) != given[0].size:
        raise NotRunnableError(f"{artifact.path}: takes another input than {bundle.manifest.golden} has")
    kind = np.dtype(artifact.inputs[0].dtype)
    return tuple(
        Sample(np.ascontiguousarray(one, kind).tobytes(), original[None]) for one, original in zip(given, wanted, strict=True)
    )


def measure(
    launch: Launch, inputs: Sequence[Sample], artifact: Artifact, request: Request, threads: int
) -> tuple[MeasuredRow, float]:
    """A row, and the smallest cosine of what it computed with the original's embeddings."""
    rule = StopRule(most_s=request.most_s)
    runs = _Runs()
    executions, within_s = _PILOT, _START_S
    while True:
        order = Order(artifact, executions, threads, len(runs.loads) % len(inputs), within_s)
        trace = _run(launch, order, inputs[order.number], runs)
        spent_s = sum(runs.timed) / 1e3
        if len(runs.loads) > 1 and (rule.enough(runs.timed, spent_s) or rule.over(len(runs.timed), spent_s)):
            break
        one_s = median(trace.iterations_ms) / 1e3
        executions = _WARM_UP + math.ceil(1.1 * min(_RUN_S, max(rule.most_s - spent_s, one_s)) / one_s)
        executions = min(max(executions, _EXECUTIONS[0]), _EXECUTIONS[1])
        within_s = _START_S + _PATIENCE * executions * one_s
    peaks = [peak for peak in runs.peaks if peak is not None]
    return (
        MeasuredRow(
            **described(artifact, request.bundle.manifest.model),
            runtime="executorch",
            threads=threads,
            load_cold_ms=runs.loads[0],
            load_warm_ms=median(runs.loads[1:]),
            first_ms=runs.first_ms,
            latency_ms=Latency.of(runs.timed),
            peak_memory_mb=max(peaks) if peaks else None,
            noisy=unsteady(runs.timed, rule.within),
            operators_ms=_mean(runs.operators),
        ),
        min(runs.cosines),
    )


def _run(launch: Launch, order: Order, sample: Sample, runs: _Runs) -> Trace:
    """One run, checked, and added to the others. The first one is the pilot: it gives loads and firsts, and is not timed."""
    finished = launch(order)
    executor_runner.check_ending(finished.status, finished.text)
    log = executor_runner.read_log(finished.text, order.executions)
    trace = read_etdump(finished.etdump, order.executions)
    executor_runner.check_agreement(log, trace)
    runs.cosines.append(check_output(finished.output, sample, order.artifact))
    runs.peaks.append(finished.peak_memory_mb)
    runs.loads.append(trace.load_ms)
    if runs.first_ms is None:
        runs.first_ms = trace.iterations_ms[0]
    else:
        runs.timed += trace.iterations_ms[_WARM_UP:]
        runs.operators.append(trace.operators_ms)
    return trace


def check_output(output: bytes, sample: Sample, artifact: Artifact) -> float:
    """The cosine of what was computed with the original's embedding. Below the scheme's threshold it is an error."""
    import numpy as np

    if len(output) != 4 * sample.embedding.size:
        raise DeviceError(f"{artifact.path}: {len(output)} bytes came out where an embedding has {4 * sample.embedding.size}")
    return check_embedding(np.frombuffer(output, np.float32)[None], sample.embedding, artifact)


def check_embedding(found: np.ndarray, original: np.ndarray, artifact: Artifact) -> float:
    """As `check_output`, of arrays (1, D)."""
    import numpy as np

    from edgeclip.verify.metrics import cosines
    from edgeclip.verify.thresholds import threshold_of

    if found.shape != original.shape or not np.isfinite(found).all():
        raise NotRunnableError(f"{artifact.path}: computes no finite embedding of {original.shape[-1]} values there")
    cosine = float(cosines(found, original)[0])
    least = threshold_of(artifact).cosine_min
    if not cosine >= least:
        raise NotRunnableError(
            f"{artifact.path}: computes something else there: cosine {cosine:.5f} with the original's embedding, "
            f"less than {least:g}; run `edgeclip verify` for where it differs"
        )
    return cosine


def unsteady(values: list[float], within: float) -> tuple[str, ...]:
    """Why a list of times is not to be relied on, as far as it shows by itself."""
    found = []
    if (width := half_width(sorted(values))) > within:
        found.append(f"its median is known to {100 * width:.0f} % only")
    if abs(change := drift(values)) > _DRIFT:
        found.append(f"it became {100 * abs(change):.0f} % {'slower' if change > 0 else 'faster'} during the run")
    return tuple(found)


def toybox_peak_mb(text: str) -> float | None:
    """`Max RSS (KiB)` as toybox `time -v` prints it after the program's own output; None where it was not asked."""
    found = re.findall(r"^Max RSS \(KiB\): (\d{1,9})$", text, re.MULTILINE)
    if len(found) > 1:
        raise DeviceError("the device counted the memory of one process more than once")
    return int(found[0]) * 1024 / 1e6 if found else None


def _mean(tables: list[dict[str, float]]) -> dict[str, float]:
    names = {name for table in tables for name in table}
    means = {name: math.fsum(table.get(name, 0.0) for table in tables) / len(tables) for name in names}
    return dict(sorted(means.items(), key=lambda item: (-item[1], item[0])))
