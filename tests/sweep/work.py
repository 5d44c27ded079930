"""What stands in for a conversion: named by tests as `tests.sweep.work:FUNCTION`, and run in processes of its own.

Each call adds a line to `log` beside the bundle.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from edgeclip.bundle_writer import BundleWriter
from edgeclip.errors import ConversionError
from edgeclip.manifest import SCHEMA, Artifact, Bundle, Embedding, FileEntry, Manifest, Scoring, Weights, file_sha256
from edgeclip.models import MODELS
from edgeclip.models.weights import GENERATED, stated_by
from edgeclip.plugins import TARGETS
from edgeclip.recipe import Recipe
from edgeclip.sweep.job import Job, Made
from edgeclip.target import resolved

GOLDEN = "golden.npz"


def make(job: Job) -> Made:
    """A whole bundle of small files, with the recipes that were asked for; one that is there is extended."""
    _log(job)
    spec = MODELS[job.model]
    stated = stated_by(spec, job.weights)
    old = Bundle.open(job.out).manifest if (job.out / "edgeclip.json").exists() and not job.force else None
    with BundleWriter(job.out, old, job.force) as writer:
        (writer.folder / GOLDEN).write_bytes(b"golden")
        artifacts = [] if old is None else list(old.artifacts)
        for artifact in artifacts:
            (writer.folder / artifact.path).write_bytes((job.out / artifact.path).read_bytes())
        for options in job.targets:
            for tower in job.towers:
                recipe = resolved(TARGETS[options.target].load(), options, job.model, "", tower)
                path = f"{options.target}_{tower}"
                (writer.folder / path).write_bytes(f"{recipe}".encode())
                artifacts.append(_artifact(recipe, tower, writer.folder / path))
        golden = FileEntry(path=GOLDEN, sha256=file_sha256(writer.folder / GOLDEN), size_bytes=6)
        weights = Weights(source=stated.source, sha256=stated.sha256 or "0" * 64, licence=GENERATED)
        manifest = Manifest(
            schema=SCHEMA,
            model=spec.name,
            weights=weights,
            image=spec.preprocess,
            text=spec.tokenizer,
            embedding=Embedding(dim=spec.embed_dim, l2_normalized=True, space_id="x"),
            scoring=Scoring(kind="softmax", logit_scale=100.0),
            artifacts=tuple(artifacts),
            tools={},
            golden=GOLDEN,
            files=(golden,),
        )
        writer.commit(manifest)
    return Made({options.target: 1_000_000 for options in job.targets}, 1.5, 512.0)


def _artifact(recipe: Recipe, tower: str, path: Path) -> Artifact:
    return Artifact(
        tower=tower,
        target=recipe.target,
        backend=recipe.backend,
        scheme=recipe.scheme,
        path=path.name,
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
        inputs=(),
        outputs=(),
        min_os=recipe.min_os,
        seed=recipe.seed,
        layout=recipe.layout,
        token_table=recipe.token_table,
        convention=recipe.convention,
        passes=recipe.passes,
    )


def _log(job: Job) -> None:
    job.out.parent.mkdir(parents=True, exist_ok=True)
    names = " ".join(options.target for options in job.targets)
    with (job.out.parent / "log").open("a") as file:
        file.write(f"{job.out.name} {names} {os.getpid()}\n")


def half_killed(job: Job) -> Made:
    """The MobileCLIP demo is killed halfway, as by a system out of memory; all else is made."""
    if job.model != "mobileclip-demo":
        return make(job)
    with BundleWriter(job.out) as writer:
        (writer.folder / "half").write_text("written")
        os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def half_failing(job: Job) -> Made:
    """The MobileCLIP demo cannot be converted; all else is made."""
    if job.model == "mobileclip-demo":
        raise ConversionError("coreml: image tower of mobileclip-demo: no such\nlowering")
    return make(job)


def endless(job: Job) -> Made:
    """The first bundle is made; whatever comes after it is begun, and goes on for ever."""
    if job.model == "mobileclip-demo":
        return make(job)
    _log(job)
    with BundleWriter(job.out) as writer:
        (writer.folder / "half").write_text("written")
        while True:
            time.sleep(0.01)


def add(numbers: tuple[int, int]) -> int:
    os.write(1, b"libraries print\n")
    return sum(numbers)


def broken(argument: object) -> None:
    raise ZeroDivisionError("oh")


def leave_with_3(argument: object) -> None:
    os.write(2, b"loading\nFatal: cannot go on\n\n")
    os._exit(3)


def kill(argument: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_ever(path: str) -> None:
    """Writes its process number, and does not end by itself."""
    Path(path).write_text(str(os.getpid()))
    try:
        while True:
            time.sleep(0.01)
    finally:
        Path(path + ".left").touch()


def temporary(argument: object) -> str:
    """Leaves a file behind where temporary ones go."""
    import tempfile

    with tempfile.NamedTemporaryFile(delete=False) as file:
        return file.name
