"""What a sweep has to do: each combination is a job, or there already, or nothing that a target can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeclip.calibration import Calibration
from edgeclip.errors import InputError, UsageError
from edgeclip.models import MODELS
from edgeclip.models.shards import in_folder
from edgeclip.models.weights import names_a_path, serves
from edgeclip.needs import memory_bytes, parts_of
from edgeclip.plugins import TARGETS
from edgeclip.recipe import SCHEMES, Recipe, TargetOptions
from edgeclip.spec import TOWERS, ModelSpec, Tower
from edgeclip.sweep.job import Job, Row
from edgeclip.sweep.standing import Standing
from edgeclip.target import Target, resolved

Options = Callable[[str, str | None], TargetOptions]  # target and scheme (None: its default) -> what is asked of it


@dataclass(frozen=True)
class Sweep:
    """What is asked for. `out` is the folder of the bundles; schemes: None stands for each target's default.

    options: what to ask of a target for a scheme; Raises UsageError for what does not go together.
    """

    models: tuple[str, ...]
    targets: tuple[str, ...]
    schemes: tuple[str | None, ...]
    options: Options
    out: Path
    weights: str | None = None
    towers: tuple[Tower, ...] = TOWERS
    calibration: Calibration = Calibration()  # noqa: RUF009 (frozen)
    force: bool = False
    check_resources: bool = True
    verbose: bool = False

    def __post_init__(self) -> None:
        for name in self.models:
            MODELS[name]
        for name in self.targets:
            TARGETS[name]
        for scheme in self.schemes:
            if scheme is not None:
                SCHEMES[scheme]

    def bundle(self, model: str, scheme: str | None) -> Path:
        """MODEL where each target has its default scheme, MODEL-SCHEME where one is asked for."""
        return self.out / (model if scheme is None else f"{model}-{scheme}")

    def weights_of(self, model: str) -> str:
        return MODELS[model].default_weights if self.weights is None else self.weights


@dataclass(frozen=True)
class Plan:
    """Jobs in the order in which they are done; rows of what needs none. order: bundle and target of all rows there will be."""

    jobs: tuple[Job, ...]
    rows: tuple[Row, ...]
    order: tuple[tuple[Path, str], ...]


def needed_by(job: Job) -> int:
    """Peak memory of a job's process, in bytes."""
    spec = MODELS[job.model]
    return max(memory_bytes(spec, part) for part in parts_of(spec, job.targets, job.towers))


def servable(weights: str | None) -> tuple[str, ...]:
    """The models for which `--weights` stands for weights: what `--all` means."""
    found = tuple(name for name, spec in MODELS.items() if weights is None or serves(spec, weights))
    if not found:
        raise UsageError(f"--weights {weights}: a file holds the weights of one model; name it instead of --all")
    return found


def plan(sweep: Sweep) -> Plan:
    """Look at what is there, and list what is to be made.

    Raises UsageError or InputError where nothing of it can begin.
    """
    _check_weights(sweep)
    sweep.calibration.check()
    jobs: list[Job] = []
    rows: list[Row] = []
    for model in sweep.models:
        for scheme in sweep.schemes:
            possible = []
            for target in sweep.targets:
                try:
                    possible.append(_asked(sweep, model, target, scheme))
                except _UnsupportedError as error:
                    rows.append(_refused(sweep, model, scheme, target, "unsupported", error))
                except UsageError as error:
                    rows.append(_refused(sweep, model, scheme, target, "failed", error))
            if possible:
                asked = {(one.options.target, tower) for one in possible for tower in sweep.towers}
                place, weights = sweep.bundle(model, scheme), sweep.weights_of(model)
                standing = Standing(place, MODELS[model], weights, sweep.calibration, asked)
                made, there = _jobs_of(sweep, standing, possible)
                jobs += made
                rows += there
    if rows and not jobs and all(row.status in ("unsupported", "failed") for row in rows):
        raise UsageError(f"nothing to do: {'; '.join(dict.fromkeys(str(row.reason) for row in rows))}")
    places = [sweep.bundle(model, scheme) for model in sweep.models for scheme in sweep.schemes]
    return Plan(tuple(jobs), tuple(rows), tuple((place, target) for place in places for target in sweep.targets))


class _UnsupportedError(UsageError):
    """A scheme that a target does not have."""


@dataclass(frozen=True)
class Asked:
    """A target with what is asked of it, and the recipe of each tower that comes of it."""

    options: TargetOptions
    recipes: dict[Tower, Recipe]


def _check_weights(sweep: Sweep) -> None:
    """A checkpoint, in a file or a folder, is there, and no sweep gives it to several models."""
    weights = sweep.weights
    if weights is None or not names_a_path(weights):
        return
    if len(sweep.models) > 1:
        raise UsageError(f"--weights {weights}: a file holds the weights of one model; name one MODEL")
    path = Path(weights)
    if weights and path.is_dir():
        in_folder(path)  # raises where there is none in it
    elif not path.is_file():
        raise InputError(f"--weights {weights}: neither a file nor one of hub, demo, seeded:N")


def _asked(sweep: Sweep, model: str, name: str, scheme: str | None) -> Asked:
    target: Target = TARGETS[name].load()
    options = sweep.options(name, scheme)
    known = target.schemes_with(options.backend)
    if scheme is not None and scheme not in known:
        raise _UnsupportedError(f"{name} has no scheme {scheme}; it has {', '.join(known)}")
    recipes = {tower: resolved(target, options, model, "", tower) for tower in sweep.towers}
    return Asked(replace(options, scheme=recipes[sweep.towers[0]].scheme), recipes)


def _refused(sweep: Sweep, model: str, scheme: str | None, target: str, status: str, error: UsageError) -> Row:
    assert status in ("unsupported", "failed")
    bundle = sweep.bundle(model, scheme)
    return Row(model, scheme or "default", target, bundle, "unsupported" if status == "unsupported" else "failed", str(error))


def _jobs_of(sweep: Sweep, standing: Standing, possible: Sequence[Asked]) -> tuple[list[Job], list[Row]]:
    """The jobs of one bundle, and rows of what it has.

    What is damaged is made anew first, and at once: `convert` carries over only what is whole.
    """
    jobs, rows, damaged = [], [], []
    bundle = standing.path
    for asked in possible:
        finding = standing.finding(asked.options, asked.recipes, sweep.force)
        if finding is None:
            size = standing.size_bytes(asked.options.target)
            scheme = next(iter(asked.recipes.values())).scheme
            rows.append(Row(standing.spec.name, scheme, asked.options.target, bundle, "kept", size_bytes=size))
        elif finding.damage:
            damaged.append((asked, finding))
        else:
            jobs.append(_job(sweep, standing.spec, bundle, (asked,), finding.replaces, finding.why))
    if damaged:
        why = damaged[0][1].why
        jobs.insert(0, _job(sweep, standing.spec, bundle, [asked for asked, _ in damaged], True, why))
    return jobs, rows


def _job(sweep: Sweep, spec: ModelSpec, bundle: Path, asked: Sequence[Asked], force: bool, why: str | None) -> Job:
    return Job(
        spec.name,
        tuple(one.options for one in asked),
        bundle,
        sweep.weights_of(spec.name),
        sweep.towers,
        sweep.calibration,
        force,
        sweep.check_resources,
        sweep.verbose,
        why,
    )
