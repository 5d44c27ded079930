"""convert(): weights -> towers -> export -> lowering -> a bundle on disk, each artifact run once before it counts."""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs

from edgeclip.bundle_writer import BundleWriter, reporting_no_room
from edgeclip.cache import cache_folder
from edgeclip.calibration import Calibration, Samples
from edgeclip.data.licences import licence_text
from edgeclip.data.tokenizer import FOLDER as TOKENIZER_FOLDER
from edgeclip.errors import BudgetError, BundleError, ConversionError, CoverageError, NotRunnableError, UsageError
from edgeclip.extending import carry_over, check_free, existing_bundle, kept_artifacts
from edgeclip.golden import Golden, make_golden, write_golden
from edgeclip.golden_json import GOLDEN_JSON, write_golden_json
from edgeclip.manifest import (
    SCHEMA,
    Artifact,
    Bundle,
    Embedding,
    FileEntry,
    Manifest,
    Weights,
    content_sha256,
    file_sha256,
    size_bytes,
)
from edgeclip.models import MODELS
from edgeclip.needs import check_disk, check_memory, parts_of
from edgeclip.plugins import RUNTIMES, TARGETS
from edgeclip.progress import Progress, silent
from edgeclip.recipe import MIN_DELEGATED, UNIT_TOLERANCE, Recipe, TargetOptions
from edgeclip.spec import TOWERS, ModelSpec, Scoring, Tower
from edgeclip.target import Context, JoiningTarget, Lowered, Part, Target, resolved

if TYPE_CHECKING:
    from torch import nn

    from edgeclip.models.towers import ExportedTower
    from edgeclip.models.weights import LoadedModel

GOLDEN_FILE = "golden.npz"
LICENCE_FILE = "LICENSE.txt"
_TOOLS = ("edgeclip", "torch", "open_clip_torch", "timm", "numpy")  # beside those of targets


@dataclass(frozen=True)
class ConvertResult:
    """What `convert` did. `artifacts` are those that this conversion made."""

    bundle: Path
    artifacts: tuple[Artifact, ...]
    manifest: Manifest
    wall_s: float
    peak_rss_mb: float


@dataclass(frozen=True)
class _Job:
    """One artifact to make: a target, what it is asked for, and the tower."""

    target: Target
    options: TargetOptions
    tower: Tower

    def recipe(self, model: str, weights: str) -> Recipe:
        return resolved(self.target, self.options, model, weights, self.tower)


def convert(
    model: str,
    targets: list[TargetOptions],
    out: Path,
    weights: str | None = None,
    force: bool = False,
    progress: Progress = silent,
    towers: tuple[Tower, ...] = TOWERS,
    calibration: Calibration | None = None,
    tokenizer: Path | None = None,
    check_resources: bool = True,
) -> ConvertResult:
    """Convert one model to the given targets and write, or extend, the bundle at `out`.

    A bundle of the same weights that lacks these targets, or towers of them, is extended. Replacing an artifact of it, or a
    bundle of other weights, takes `force`. Nothing at `out` changes before the new bundle is whole. `calibration` says which
    inputs schemes look at that need any; `tokenizer` is the file of the vocabulary, where that is not at hand. Memory or disk
    that look too small are an error if `check_resources`.
    """
    started = time.perf_counter()
    spec = MODELS[model]
    jobs = [_Job(TARGETS[options.target].load(), options, tower) for tower in TOWERS if tower in towers for options in targets]
    asked = {(job.target.name, job.tower) for job in jobs}
    for job in jobs:
        job.recipe(model, "")  # what cannot be done is an error before anything heavy begins
        if job.options.single_file and len(towers) < len(TOWERS):
            raise UsageError("--single-file: it holds both towers; drop --tower")
    calibration = calibration or Calibration()
    calibration.check()
    weights = spec.default_weights if weights is None else weights
    existing = existing_bundle(out, force)
    if existing is not None and not force:
        check_free(existing, asked)

    if check_resources:
        parts = parts_of(spec, targets, towers)
        check_memory(spec, parts)
        check_disk(spec, parts, out, existing)

    from edgeclip.models.weights import load_model

    with progress(f"loading {spec.name} ({weights})") as task:
        loaded = load_model(spec, weights, task, tokenizer)
    kept = kept_artifacts(existing, loaded, asked, force)
    from edgeclip.models.originals import remember

    if loaded.source.startswith("file:"):
        remember(loaded.sha256, Path(weights))
    if tokenizer is not None:
        remember(file_sha256(tokenizer), tokenizer)

    with BundleWriter(out, existing.manifest if existing else None, force) as writer, reporting_no_room(out):
        if existing is not None and existing.manifest.embedding.space_id == loaded.space_id:
            carry_over(existing, kept, writer.folder)
        with progress("golden embeddings, tokenizer, licence"):
            golden = make_golden(loaded)
            files = _write_files(writer.folder, loaded, golden)
        made = tuple(_lower_all(loaded, jobs, writer.folder, Samples(loaded, calibration), progress))
        _check_budget(jobs, made)
        unchecked = Bundle(writer.folder, _manifest(loaded, (*kept, *made), files))
        made = tuple(_checked(unchecked, artifact, progress) for artifact in made)
        write_golden_json(writer.folder / GOLDEN_JSON, golden, (*kept, *made))
        manifest = _manifest(loaded, (*kept, *made), (*files, _entry(writer.folder, writer.folder / GOLDEN_JSON)))
        writer.commit(manifest)
    wall_s = time.perf_counter() - started
    return ConvertResult(out, made, manifest, wall_s, peak_rss_mb())


def _write_files(folder: Path, loaded: LoadedModel, golden: Golden) -> tuple[FileEntry, ...]:
    paths = loaded.tokenizer.save(folder / TOKENIZER_FOLDER)
    (folder / LICENCE_FILE).write_text(licence_text(loaded.licence, loaded.spec.name, loaded.source), "utf-8")
    write_golden(folder / GOLDEN_FILE, golden)
    return tuple(_entry(folder, path) for path in (*paths, folder / LICENCE_FILE, folder / GOLDEN_FILE))


def _entry(folder: Path, path: Path) -> FileEntry:
    return FileEntry(path=path.relative_to(folder).as_posix(), sha256=content_sha256(path), size_bytes=path.stat().st_size)


def _lower_all(loaded: LoadedModel, jobs: list[_Job], folder: Path, samples: Samples, progress: Progress) -> Iterator[Artifact]:
    """Lower each tower for every target; targets that rewrite it in the same way, or not at all, share one export."""
    from edgeclip.models.towers import export_tower

    waiting: dict[str, list[Part]] = {}  # by target: towers that go into one file
    for tower in TOWERS:
        shared: dict[Callable[[nn.Module], nn.Module] | None, ExportedTower] = {}
        for job in jobs:
            if job.tower != tower:
                continue
            recipe = job.recipe(loaded.spec.name, loaded.space_id)
            rewrite = job.target.rewrite(recipe.layout)
            if rewrite not in shared:
                how = f" ({recipe.layout} layout)" if rewrite else ""
                with progress(f"exporting the {tower} tower{how}"):
                    shared[rewrite] = export_tower(loaded.pair, loaded.spec, tower, rewrite)
            context = _context(loaded, job, jobs, samples, progress)
            parts = waiting.setdefault(job.target.name, [])
            parts.append(Part(shared[rewrite], recipe, artifact_metadata(loaded, tower, recipe.scheme), context))
            if not recipe.single_file or tower == TOWERS[-1]:
                yield from _lower(loaded, job, parts, folder, samples)
                parts.clear()


def _context(loaded: LoadedModel, job: _Job, jobs: list[_Job], samples: Samples, progress: Progress) -> Context:
    goal, tower = job.options.goal, job.tower
    ours = [other for other in jobs if other.target is job.target]
    return Context(
        samples=lambda: samples.inputs(tower),
        originals=lambda: samples.embeddings(tower),
        drawn=samples.are_drawn(tower),
        goal=replace(goal, max_mb=goal.max_mb and goal.max_mb * _share(loaded, tower, ours)),
        cache=cache_folder() / "auto",
        progress=progress,
    )


def _lower(loaded: LoadedModel, job: _Job, parts: list[Part], folder: Path, samples: Samples) -> Iterator[Artifact]:
    """One file: of one tower, or of all where the recipe says so."""
    spec, target, recipe = loaded.spec, job.target, parts[0].recipe
    stem = spec.file_stem if recipe.single_file else target.file_stem(spec, job.tower, recipe.convention)
    path = folder / target.name / f"{stem}{target.suffix}"
    path.parent.mkdir(exist_ok=True)
    if recipe.single_file:
        assert isinstance(target, JoiningTarget)
        results = target.join(parts, path)
    else:
        results = tuple(target.lower(part.exported, part.recipe, part.metadata, path, part.context) for part in parts)
    for part, lowered in zip(parts, results, strict=True):
        artifact = _artifact(spec, target, part, lowered, path, samples)
        _check_coverage(artifact, job.options.min_delegated)
        yield artifact


def _artifact(spec: ModelSpec, target: Target, part: Part, lowered: Lowered, path: Path, samples: Samples) -> Artifact:
    recipe, tower = part.recipe, part.exported.tower
    interface = target.interface(spec, tower, recipe.convention)
    delegation = lowered.delegation
    return Artifact(
        tower=tower,
        target=recipe.target,
        backend=recipe.backend,
        scheme=recipe.scheme,
        path=f"{path.parent.name}/{path.name}",
        sha256=content_sha256(path),
        size_bytes=size_bytes(path),
        inputs=interface.inputs,
        outputs=interface.outputs,
        min_os=recipe.min_os,
        seed=recipe.seed,
        layout=recipe.layout,
        token_table=recipe.token_table,
        convention=recipe.convention,
        calibration=samples.sha256(tower) if lowered.calibrated else None,
        min_cosine=lowered.min_cosine,
        layers=None if lowered.layers is None else dict(lowered.layers),
        kept_fp32=lowered.kept_fp32,
        libraries=lowered.libraries,
        passes=recipe.passes,
        method=lowered.method,
        delegates={} if delegation is None else dict(delegation.delegates),
        delegated_percent=None if delegation is None else delegation.ops_percent,
        delegated_macs_percent=None if delegation is None else delegation.macs_percent,
        left=() if delegation is None else delegation.left,
    )


def _check_coverage(artifact: Artifact, wanted: float | None) -> None:
    """Delegates take as much of an artifact as they have to."""
    least = MIN_DELEGATED if wanted is None else wanted
    share = artifact.delegated_percent
    if share is not None and round(share, 1) < least:  # as it is shown
        left = ", ".join(f"{rest.count} x {rest.op} ({rest.why})" for rest in artifact.left)
        raise CoverageError(
            f"{artifact.label}: {share:.1f} % of the operations are in delegates, --min-delegated asks for {least:g};"
            f" nothing was written. Left behind: {left}"
        )


def _share(loaded: LoadedModel, tower: Tower, jobs: list[_Job]) -> float:
    """The part of a target's size that falls to one tower: its part of the weights of the towers that are made."""
    sizes = {"image": loaded.spec.image_params, "text": loaded.spec.text_params}
    return sizes[tower] / sum(sizes[job.tower] for job in jobs)


def _check_budget(jobs: list[_Job], made: tuple[Artifact, ...]) -> None:
    """The packages of a target together are within its `--max-mb`."""
    for target, most in {job.target.name: job.options.goal.max_mb for job in jobs}.items():
        size = sum({artifact.path: artifact.size_bytes for artifact in made if artifact.target == target}.values()) / 1e6
        if most is not None and size > most:
            raise BudgetError(
                f"{target}: {size:.1f} MB is the smallest found, over --max-mb {most:g}; lower --min-cosine or raise --max-mb"
            )


def artifact_metadata(loaded: LoadedModel, tower: Tower, scheme: str) -> dict[str, str]:
    """What an artifact says about itself, where its format has room for it."""
    licence = loaded.licence
    use = "commercial use allowed" if licence.commercial_use else "no commercial use"
    return {
        "author": f"{loaded.spec.name}, converted by edgeclip",
        "licence": f"{licence.name} ({use}) {licence.url}".strip(),
        "description": f"{loaded.spec.name}: {tower} encoder, unit-length embeddings of {loaded.spec.embed_dim} values",
        "version": importlib.metadata.version("edgeclip"),
        "model": loaded.spec.name,
        "tower": tower,
        "scheme": scheme,
        "weights": loaded.source,
        "space_id": loaded.space_id,
    }


def _manifest(loaded: LoadedModel, artifacts: tuple[Artifact, ...], files: tuple[FileEntry, ...]) -> Manifest:
    spec = loaded.spec
    return Manifest(
        schema=SCHEMA,
        model=spec.name,
        weights=Weights(source=loaded.source, sha256=loaded.sha256, licence=loaded.licence),
        image=spec.preprocess,
        text=loaded.tokenizer.spec,
        embedding=Embedding(dim=spec.embed_dim, l2_normalized=True, space_id=loaded.space_id),
        scoring=scoring(loaded),
        artifacts=tuple(sorted(artifacts, key=lambda artifact: artifact.path)),
        tools=tool_versions(),
        golden=GOLDEN_FILE,
        files=files,
    )


def scoring(loaded: LoadedModel) -> Scoring:
    """The scoring rule with the scale that these weights learnt."""
    pair = loaded.pair
    return Scoring(kind=loaded.spec.scoring, logit_scale=round(pair.score_scale, 4), logit_bias=pair.score_bias)


def tool_versions() -> dict[str, str]:
    """Versions of the packages that decide the bytes of artifacts."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in (*_TOOLS, *(package for plugin in TARGETS.values() for package in plugin.packages)):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _checked(bundle: Bundle, artifact: Artifact, progress: Progress) -> Artifact:
    """The artifact, with what its manifest says of having been run."""
    try:
        with progress(f"running {artifact.label} once"):
            _run_once(bundle, artifact)
    except NotRunnableError:
        return structs.replace(artifact, checked="lowered")
    return structs.replace(artifact, checked="run")


def _run_once(bundle: Bundle, artifact: Artifact) -> None:
    """Load an artifact and run its first golden input; what does not come back at unit length is no artifact."""
    from edgeclip.golden import read_golden

    golden = read_golden(bundle)
    target: Target = TARGETS[artifact.target].load()
    name = next((name for name in target.runtimes if RUNTIMES[name].offered()), None)
    if name is None:
        raise ConversionError(f"{artifact.label}: no runtime here can run it, so it cannot be trusted")
    runtime = RUNTIMES[name].load()
    try:
        with runtime.open(bundle, artifact, runtime.modes(artifact.scheme)[0]) as runner:
            embedding = runner.encode(golden.inputs(artifact.tower)[:1])
    except BundleError as error:
        raise ConversionError(f"{artifact.label}: converted, but does not run: {error}") from error
    if embedding.shape != (1, bundle.manifest.embedding.dim):
        raise ConversionError(f"{artifact.label}: gives an output of shape {list(embedding.shape)}")
    if not abs(float(np.linalg.norm(embedding)) - 1) <= UNIT_TOLERANCE:
        raise ConversionError(
            f"{artifact.label}: gives an embedding of length {np.linalg.norm(embedding):.4f}, not 1"
            " (overflow? try --scheme fp32)"
        )


def peak_rss_mb() -> float:
    """Peak memory of this process or of its largest child, in MB; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0.0
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)
