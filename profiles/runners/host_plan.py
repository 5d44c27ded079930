"""What the host can run of a bundle: artifacts, runtimes and numbers of threads, before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs

from edgeclip.errors import MissingPackageError, UsageError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.plugins import ENGINES, RUNTIMES
from edgeclip.spec import TOWERS, TensorSpec, Tokenizer
from profiles.runners.host_engines import engine, engines
from profiles.runners.host_messages import Job

ORIGINAL = "torch"  # the runtime that runs what the artifacts were made from
_WORDS = (320, 1125, 539, 320, 1929)  # ids of short words in CLIP's vocabulary, and of some in any other


@dataclass(frozen=True)
class Planned:
    """One row to be: an artifact in a runtime. artifact: of the original, the one whose tower and input it has."""

    bundle: Bundle
    artifact: Artifact
    runtime: str
    threads: int | None

    @property
    def name(self) -> str:
        """For errors and progress."""
        if self.runtime == ORIGINAL:
            return f"{self.bundle.path}: the original's {self.artifact.tower} tower"
        return str(self.bundle.path / self.artifact.path)

    @property
    def label(self) -> str:
        """For people, as `results.label` names the row."""
        artifact = self.artifact
        what = f"torch fp32 {artifact.tower}" if self.runtime == ORIGINAL else artifact.label
        runtime = "" if self.runtime in (ORIGINAL, artifact.target) else f" in {self.runtime}"
        threads = "" if self.threads is None else f" {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{what}{runtime}{threads}"

    @property
    def key(self) -> tuple[object, ...]:
        """What it has in common with its counterpart in another bundle."""
        return (self.artifact.tower, self.artifact.target, self.runtime, self.threads)

    def job(self) -> Job:
        """For a worker, once the artifact's hash is checked."""
        artifact = self.artifact
        path = self.bundle.verified_path(artifact) if engine(self.runtime).has_file else self.bundle.path
        (given,) = artifact.inputs
        return Job(
            runtime=self.runtime,
            bundle=str(self.bundle.path.resolve()),
            path=str(path.resolve()),
            method=artifact.method,
            index=self.bundle.manifest.artifacts.index(artifact),
            tower=artifact.tower,
            given=given,
            ids=_ids(self.bundle.manifest.text, given) if artifact.tower == "text" else (),
            threads=self.threads,
            delegates=tuple(artifact.delegates),
        )


def _ids(tokenizer: Tokenizer, given: TensorSpec) -> tuple[int, ...]:
    """A short text, as the tokenizer would give it."""
    return tuple(structs.replace(tokenizer, context_length=given.shape[-1]).framed(_WORDS))


def plan(bundle: Bundle, runtimes: Sequence[str], threads: Sequence[int]) -> tuple[list[Planned], dict[str, str]]:
    """Rows to be, and for artifacts without one the reason. By default in the runtimes that ship in apps and exist here."""
    planned: list[Planned] = []
    not_run: dict[str, str] = {}
    for name in runtimes:
        if name not in ENGINES:
            raise UsageError(f"--runtime {name}: cannot be timed on the host; known: {', '.join(ENGINES)}")
        if missing := RUNTIMES[name].missing():
            raise MissingPackageError(f"--runtime {name}: {missing}")
    for artifact in bundle.manifest.artifacts:
        can = [name for name, its in engines().items() if artifact.target in its.targets]
        chosen = [name for name in can if (name in runtimes if runtimes else _ships(name))]
        for name in chosen:
            counts: Sequence[int | None] = threads if engine(name).threaded else (None,)
            planned += [Planned(bundle, artifact, name, count) for count in counts]
        if not chosen:
            not_run[artifact.label] = _why(can, runtimes)
    if ORIGINAL in runtimes:
        for tower in TOWERS:
            same = [artifact for artifact in bundle.manifest.artifacts if artifact.tower == tower]
            planned += [Planned(bundle, same[0], ORIGINAL, count) for count in threads if same]
    if not planned:
        why = "; ".join(f"{label}: {reason}" for label, reason in not_run.items()) or "it holds no artifact"
        raise UsageError(f"{bundle.path}: nothing to time here: {why}")
    return planned, not_run


def _ships(runtime: str) -> bool:
    return not engine(runtime).reference and RUNTIMES[runtime].available


def _why(can: Sequence[str], runtimes: Sequence[str]) -> str:
    if runtimes:
        return f"runs in {' or '.join(can)}, not in {' or '.join(runtimes)}"
    reasons = [f"{name}: {RUNTIMES[name].missing()}" for name in can if not RUNTIMES[name].available]
    references = [f"--runtime {name} runs it as a reference" for name in can if engine(name).reference]
    return "; ".join(reasons + references) or "nothing here runs it"
