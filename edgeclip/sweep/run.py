"""Doing the jobs of a sweep through an executor: processes of this machine, or the workers of a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeclip.errors import EdgeclipError
from edgeclip.manifest import MANIFEST_FILE
from edgeclip.recipe import TargetOptions
from edgeclip.sweep.job import CONVERT, Job, Made, Row, run_apart
from edgeclip.sweep.plan import Plan

_LOOK_S = 0.5  # how long a wait may keep Ctrl-C waiting


class InterruptedSweepError(EdgeclipError):
    """Ctrl-C: what was done is there, what was under way is not."""

    exit_status = 130  # 128 + SIGINT, as shells report it


class Listener(Protocol):
    """Is told how a sweep goes on."""

    def began(self, job: Job) -> None: ...

    def ended(self, job: Job, rows: Sequence[Row]) -> None: ...


@dataclass(frozen=True)
class Place:
    """Where jobs are done. call: what `executor` is given with each job; width: how many at a time, None as it likes.

    withdraw: makes jobs under way end soon, and waits for those that are here.
    """

    executor: Executor
    call: Callable[[Job], Made]
    width: int | None
    withdraw: Callable[[], None]


@contextmanager
def here(jobs: int = 1, work: str = CONVERT) -> Iterator[Place]:
    """This machine: each job in a process of its own, `jobs` at a time. `work`: `package.module:function`, Job -> Made."""
    withdrawn = threading.Event()

    def call(job: Job) -> Made:
        return run_apart(job, work, lambda: not withdrawn.is_set())

    with ThreadPoolExecutor(jobs, "sweep") as executor:  # each thread minds one process
        try:
            yield Place(executor, call, jobs, withdrawn.set)
        finally:
            withdrawn.set()


def run(plan: Plan, place: Place, listener: Listener) -> tuple[Row, ...]:
    """Do the jobs; a row for each combination, those of the plan first. A failure stops nothing but itself.

    Raises InterruptedSweepError on Ctrl-C, once what was under way has been given up.
    """
    rows = list(plan.rows)
    waiting = list(plan.jobs)
    running: dict[Future[Made], Job] = {}
    try:
        while waiting or running:
            for job in _ready(waiting, {job.out for job in running.values()}, place.width):
                waiting.remove(job)
                listener.began(job)
                running[place.executor.submit(place.call, job)] = job
            done, _ = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            for future in done:
                job = running.pop(future)
                ended = _rows(job, future)
                rows += ended
                listener.ended(job, ended)
    except KeyboardInterrupt:
        place.withdraw()
        for future in running:
            future.cancel()
        there = sum(row.status in ("done", "kept") for row in rows)
        raise InterruptedSweepError(
            f"interrupted: {there} of {len(plan.order)} conversions are there; the same command goes on with the others"
        ) from None
    return tuple(sorted(rows, key=lambda row: plan.order.index((row.bundle, row.target))))


def _ready(waiting: Sequence[Job], busy: set[Path], width: int | None) -> list[Job]:
    """The jobs to begin: as many as there is room for, and for each bundle one at a time."""
    ready: list[Job] = []
    for job in waiting:
        if width is not None and len(busy) + len(ready) >= width:
            break
        if job.out not in busy | {other.out for other in ready}:
            ready.append(job)
    return ready


def _rows(job: Job, future: Future[Made]) -> list[Row]:
    """What became of a job, for each of its targets."""
    try:
        error = future.exception()
    except CancelledError:
        error = EdgeclipError("the cluster gave it up; is its scheduler still there?")
    if error is None and not (job.out / MANIFEST_FILE).exists():
        error = EdgeclipError(f"{job.out}: converted, but not to be seen from here; workers need this folder too (--out)")
    if error is not None:
        known = isinstance(error, EdgeclipError)
        reason = " ".join(str(error).split()) if known else f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return [Row(*_names(job, options), job.out, "failed", reason) for options in job.targets]
    made = future.result()
    return [
        Row(
            *_names(job, options),
            job.out,
            "done",
            job.why,
            made.size_bytes.get(options.target),
            made.wall_s,
            made.peak_rss_mb,
        )
        for options in job.targets
    ]


def _names(job: Job, options: TargetOptions) -> tuple[str, str, str]:
    """Model, scheme and target of a row."""
    assert options.scheme is not None  # the plan has resolved it
    return job.model, options.scheme, options.target
