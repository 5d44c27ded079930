"""The part of `edgeclip convert` that converts many: says on stderr how it goes on, and ends with a table."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeclip.cli.output import print_json
from edgeclip.cli.table import print_table
from edgeclip.errors import UsageError
from edgeclip.spec import Tower
from edgeclip.sweep.job import CONVERT

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from edgeclip.sweep.job import Job, Row
    from edgeclip.sweep.plan import Options, Plan, Sweep

_SAID = {"done": "done", "kept": "was there", "unsupported": "not offered", "failed": "FAILED"}


@dataclass(frozen=True)
class Request:
    """A sweep as the command line has it: no models are all of them, no schemes each target's default."""

    models: tuple[str, ...]
    targets: tuple[str, ...]
    schemes: tuple[str, ...]
    options: Options
    out: Path
    weights: str | None
    towers: tuple[Tower, ...]
    images: Path | None
    texts: Path | None
    force: bool
    check_resources: bool
    jobs: int | None
    scheduler: str | None


def convert_all(request: Request, as_json: bool, verbose: bool, work: str = CONVERT) -> int:
    """Do a sweep and show what came of it; returns the exit status: 1 if anything failed. `work` does a job."""
    if request.scheduler is not None and request.jobs is not None:
        raise UsageError("--jobs: on a cluster, the threads of its workers say how many run at a time; drop it")
    from edgeclip.needs import check_side_by_side
    from edgeclip.sweep.cluster import cluster
    from edgeclip.sweep.plan import needed_by, plan
    from edgeclip.sweep.run import here, run

    sweep = _sweep(request, verbose)
    started = time.perf_counter()
    jobs = request.jobs or 1
    with here(jobs, work) if request.scheduler is None else cluster(request.scheduler, work) as place:
        todo = plan(sweep)
        if request.scheduler is None and request.check_resources:
            check_side_by_side([needed_by(job) for job in todo.jobs], jobs)
        with _shown(todo) as listener:
            rows = run(todo, place, listener)
    wall_s = time.perf_counter() - started
    if as_json:
        print_json({"out": str(sweep.out), "rows": [_plain(row) for row in rows], "wall_s": round(wall_s, 2)})
    else:
        _print(rows, sweep.out, wall_s)
    return int(any(row.status == "failed" for row in rows))


def _sweep(request: Request, verbose: bool) -> Sweep:
    from edgeclip.calibration import Calibration
    from edgeclip.models import MODELS
    from edgeclip.models.weights import names_a_path
    from edgeclip.sweep.plan import Sweep, servable

    models = request.models
    if not models:
        models = servable(request.weights)
        if left := [name for name in MODELS if name not in models]:
            click.echo(f"--weights {request.weights}: there are none of {', '.join(left)}; left out", err=True)
    out, images, texts, weights = request.out, request.images, request.texts, request.weights
    if request.scheduler:  # workers have working directories of their own
        out, images, texts = out.absolute(), images and images.absolute(), texts and texts.absolute()
        weights = str(Path(weights).absolute()) if weights and names_a_path(weights) else weights
    return Sweep(
        models,
        request.targets,
        request.schemes or (None,),
        request.options,
        out,
        weights,
        request.towers,
        Calibration(images, texts),
        request.force,
        request.check_resources,
        verbose,
    )


def _plain(row: Row) -> dict[str, Any]:
    return {**asdict(row), "bundle": str(row.bundle), "wall_s": None if row.wall_s is None else round(row.wall_s, 2)}


def _print(rows: Sequence[Row], out: Path, wall_s: float) -> None:
    print_table(
        ("model", "scheme", "target", "MB", "s", "peak GB", "status", ""),
        [
            (
                row.model,
                row.scheme,
                row.target,
                _figure(row.size_bytes, 1e6),
                _figure(row.wall_s, 1),
                _figure(row.peak_rss_mb, 1024),
                _SAID[row.status],
                _reason(row),
            )
            for row in rows
        ],
        right=(3, 4, 5),
    )
    counts = {status: sum(row.status == status for row in rows) for status in _SAID}
    said = ", ".join(f"{count} {_SAID[status]}" for status, count in counts.items() if count)
    click.echo(f"\nbundles: {out}  ({said}; {wall_s:.0f} s)")
    if counts["failed"]:
        click.echo("the same command tries again what failed, and keeps the rest")


def _figure(value: float | None, unit: float) -> str:
    return "-" if value is None else f"{value / unit:.1f}"


def _reason(row: Row) -> str:
    if row.reason is None:
        return ""
    return f"made again: {row.reason}" if row.status == "done" else row.reason


@contextmanager
def _shown(todo: Plan) -> Iterator[_Lines]:
    """Tells of jobs on stderr: on a terminal also a line that says what runs."""
    if not sys.stderr.isatty():
        yield _Lines(len(todo.jobs))
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bar(len(todo.jobs), bars)


class _Lines:
    """One line when a job begins and one when it has ended."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._begun = self._ended = 0
        self._started = time.perf_counter()
        self._running: dict[Job, int] = {}

    def began(self, job: Job) -> None:
        self._begun += 1
        self._running[job] = self._begun
        again = f" again: {job.why}" if job.why else ""
        self._say(f"{self._begun} of {self._total}: {_label(job)}{again}")

    def ended(self, job: Job, rows: Sequence[Row]) -> None:
        self._ended += 1
        number = self._running.pop(job)
        row = rows[0]
        what = f"failed: {row.reason}" if row.status == "failed" else f"done in {row.wall_s or 0:.1f} s"
        elapsed = time.perf_counter() - self._started
        self._say(f"{number} of {self._total}: {_label(job)} {what} ({self._ended} ended after {elapsed:.0f} s)")

    def _say(self, line: str) -> None:
        click.echo(line, err=True)


class _Bar(_Lines):
    def __init__(self, total: int, bars: Bars) -> None:
        super().__init__(total)
        self._bars = bars
        self._bar = bars.add_task("", total=total)

    def began(self, job: Job) -> None:
        super().began(job)
        self._show()

    def ended(self, job: Job, rows: Sequence[Row]) -> None:
        super().ended(job, rows)
        self._show()

    def _show(self) -> None:
        self._bars.update(self._bar, completed=self._ended, description="; ".join(map(_label, self._running)))

    def _say(self, line: str) -> None:
        self._bars.console.print(line, highlight=False, markup=False)


def _label(job: Job) -> str:
    targets = " and ".join(options.target for options in job.targets)
    return f"{job.model} {job.targets[0].scheme} {targets}"
