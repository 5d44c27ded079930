"""One conversion of a sweep: what is asked for, and what came of it. Both travel between processes and machines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgeclip.bundle_writer import clean_up
from edgeclip.calibration import Calibration
from edgeclip.recipe import TargetOptions
from edgeclip.spec import TOWERS, Tower
from edgeclip.sweep.apart import ApartError, call_apart

Status = Literal["done", "kept", "unsupported", "failed"]


@dataclass(frozen=True)
class Job:
    """One conversion, which makes or extends the bundle `out`. why: what is wrong with what is there."""

    model: str
    targets: tuple[TargetOptions, ...]
    out: Path
    weights: str
    towers: tuple[Tower, ...] = TOWERS
    calibration: Calibration = field(default_factory=Calibration)
    force: bool = False
    check_resources: bool = True
    verbose: bool = False
    why: str | None = None


@dataclass(frozen=True)
class Made:
    """What a job made: bytes of each target's artifacts, and what it took."""

    size_bytes: dict[str, int]
    wall_s: float
    peak_rss_mb: float


@dataclass(frozen=True)
class Row:
    """One model, scheme and target of a sweep. Figures are of the job that made it, None where there was none.

    kept: it was there already, whole and of the same recipe and weights. unsupported: the target has no such scheme.
    reason: of a failure, and of making again what was there.
    """

    model: str
    scheme: str
    target: str
    bundle: Path
    status: Status
    reason: str | None = None
    size_bytes: int | None = None
    wall_s: float | None = None
    peak_rss_mb: float | None = None


def convert_job(job: Job) -> Made:
    """Convert; runs in the process of the job."""
    from edgeclip.pipeline import convert

    result = convert(
        job.model,
        list(job.targets),
        job.out,
        job.weights,
        job.force,
        towers=job.towers,
        calibration=job.calibration,
        check_resources=job.check_resources,
    )
    # Towers in one file are two artifacts of one size.
    files = {artifact.path: (artifact.target, artifact.size_bytes) for artifact in result.artifacts}
    sizes = {name: sum(size for target, size in files.values() if target == name) for name, _ in files.values()}
    return Made(sizes, result.wall_s, result.peak_rss_mb)


CONVERT = "edgeclip.sweep.job:convert_job"


def run_apart(job: Job, work: str = CONVERT, wanted: Callable[[], bool] = lambda: True) -> Made:
    """Do a job in a fresh process; nothing half-written stays of one that is killed. Raises ApartError, WithdrawnError."""
    try:
        made = call_apart(work, job, wanted, job.verbose)
    finally:
        clean_up(job.out.resolve())
    if not isinstance(made, Made):
        raise ApartError(f"{work}: gave {type(made).__name__}, not what was made")
    return made
