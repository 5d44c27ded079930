"""verify(): the same pictures and texts to the torch original and to every artifact, by two separate roads.

The original's road follows the model table: its preprocessing, open_clip's tokenizer or cleaning, the unfused torch modules. An
artifact's road follows the bundle alone: the manifest's preprocessing, the bundle's tokenizer files, the artifact. A
wrong mean, a squashed picture or a vocabulary that is off therefore shows as a difference, as it would in an app that
trusts the bundle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgeclip.data.preprocess import preprocess_image
from edgeclip.data.reference_tokenizer import reference_ids
from edgeclip.data.tokenizer import load_tokenizer
from edgeclip.errors import BundleError, InputError, NotRunnableError, ResourceError, UsageError
from edgeclip.extending import RESULT_FILE
from edgeclip.manifest import Artifact, Bundle
from edgeclip.models.originals import load_original
from edgeclip.models.weights import LoadedModel
from edgeclip.plugins import RUNTIMES, TARGETS
from edgeclip.progress import Progress, silent
from edgeclip.recipe import DEGENERATE_COSINE, SCHEMES, UNIT_TOLERANCE
from edgeclip.reference.runtime import Runtime
from edgeclip.reference.torch_runtime import original_runner
from edgeclip.spec import TOWERS, Tower
from edgeclip.target import Target
from edgeclip.verify.contract import contract_differences, file_differences
from edgeclip.verify.diagnose import INTERPRETER, Diagnosis, Sample, can_be_traced
from edgeclip.verify.metrics import between_input_cosine, compare
from edgeclip.verify.samples import TEXTS, default_images, images_below, texts_in
from edgeclip.verify.thresholds import threshold_of
from edgeclip.verify.trace_files import write_trace
from edgeclip.whole_file import write_whole


@dataclass(frozen=True)
class Row:
    """One artifact in one runtime and mode. Numbers are None where there are none; `error` says why it could not be run.

    passed: None where nothing here can run it, so that it neither passed nor failed.
    """

    tower: Tower
    target: str
    backend: str | None
    scheme: str
    runtime: str
    mode: str
    samples: int
    sha256: str
    cosine_min: float | None
    cosine_mean: float | None
    max_abs_error: float | None
    between_input_cosine: float
    rank_agreement: float | None
    length_error: float | None
    threshold: dict[str, float | str | None]
    passed: bool | None
    failures: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class VerifyResult:
    """All rows, and where the bundle's statements differ from the model's.

    `passed` only if every row did. `not_run` are artifacts whole in themselves that nothing here can run.
    `first_divergence` is of the first Core ML artifact that failed. `skipped` are artifacts that were not run because the
    caller asked for one runtime or mode. `traces` are the files that were written because the caller asked for them.
    `unchecked`: artifacts whose operations could not be looked at one by one, and why; their embeddings were.
    """

    passed: bool
    rows: tuple[Row, ...]
    first_divergence: dict[str, Any] | None = None
    contract: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    texts: int = 0
    skipped: tuple[str, ...] = ()
    traces: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a check ran and failed."""
        return bool(self.contract) or any(row.passed is False for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Roads:
    """The same samples as a tower's input on either road."""

    reference: np.ndarray
    bundle: np.ndarray


def verify(
    path: Path,
    images: Path | None = None,
    texts: Path | None = None,
    weights: str | None = None,
    runtime: str | None = None,
    mode: str | None = None,
    trace: Path | None = None,
    progress: Progress = silent,
    tokenizer: Path | None = None,
) -> VerifyResult:
    """Compare every artifact of a bundle with the torch original; `record` keeps the result.

    `runtime` and `mode` restrict to one; by default each artifact runs in every runtime that exists here, but for those that
    are to be asked for by name, and has to run in one at least. With `trace`, every value of every Core ML artifact is
    written into that folder, beside torch's.
    """
    bundle = Bundle.open(path)
    plan, skipped = _plan(bundle, runtime, mode)
    if trace is not None and not any(can_be_traced(artifact) for artifact, _, _ in plan):
        raise UsageError(f"--trace {trace}: none of the artifacts to verify in {bundle.path} is of Core ML")
    with progress("loading the torch original") as task:
        loaded = load_original(bundle.manifest, weights, task, tokenizer)
    with progress("preparing pictures and texts"):
        names, image_roads = _image_inputs(bundle, loaded, images_below(images) if images else default_images())
        lines = texts_in(texts) if texts else list(TEXTS)
        roads = {"image": image_roads, "text": _text_inputs(bundle, loaded, lines)}
    originals = {}
    for tower in TOWERS:
        with progress(f"running the torch original, {tower} tower"):
            originals[tower] = original_runner(loaded, tower).encode(roads[tower].reference)
    with progress("checking the manifest against the files"):
        contract = (*contract_differences(bundle, loaded), *file_differences(bundle, loaded))
    rows, worst = [], []
    for artifact, engine, how in plan:
        with progress(f"verifying {artifact.label} in {engine.name} ({how})"):
            row, index = _row(bundle, artifact, engine, how, roads[artifact.tower].bundle, originals)
        rows.append(row)
        name = (names if artifact.tower == "image" else lines)[index]
        worst.append(_sample(name, roads[artifact.tower], originals[artifact.tower], index))
    diagnosis = Diagnosis(bundle, loaded)
    unchecked: dict[str, str] = {}
    rows = _operations_checked(diagnosis, plan, rows, worst, unchecked, progress)
    divergence, traces = _look_inside(diagnosis, plan, rows, worst, trace, unchecked, progress)
    return VerifyResult(
        passed=all(row.passed for row in rows) and not contract,
        not_run=tuple(artifact.label for (artifact, _, _), row in zip(plan, rows, strict=True) if row.passed is None),
        rows=tuple(rows),
        first_divergence=divergence,
        traces=traces,
        contract=contract,
        images=names,
        texts=len(lines),
        skipped=skipped,
        unchecked=tuple(f"{label}: {why}" for label, why in unchecked.items()),
    )


_Planned = tuple[Artifact, Runtime, str]


def _sample(name: str, roads: _Roads, originals: np.ndarray, index: int) -> Sample:
    return Sample(name, roads.reference[index], roads.bundle[index], originals[index])


def _operations_checked(
    diagnosis: Diagnosis,
    plan: list[_Planned],
    rows: list[Row],
    worst: list[Sample],
    unchecked: dict[str, str],
    progress: Progress,
) -> list[Row]:
    """Rows that passed, failed where an operation is not torch's; what is too large to tell goes to `unchecked`.

    What a lossy scheme costs would hide a wrong operation from the embedding. So each operation of such an artifact is given
    torch's operands, and its result held against torch's, in float32 arithmetic.
    """
    checked = list(rows)
    for index, ((artifact, engine, _), row) in enumerate(zip(plan, rows, strict=True)):
        if not row.passed or artifact.scheme == "fp32" or engine.name != INTERPRETER or not can_be_traced(artifact):
            continue
        with progress(f"checking every operation of {artifact.label}"):
            try:
                right = diagnosis.trace(artifact, "fp32", worst[index]).first is None
            except ResourceError as error:
                unchecked[artifact.label] = str(error)
                continue
            except BundleError as error:
                checked[index] = replace(row, passed=False, failures=("error",), error=str(error))
                continue
            if not right:
                checked[index] = replace(row, passed=False, failures=("operation",))
    return checked


def _look_inside(
    diagnosis: Diagnosis,
    plan: list[_Planned],
    rows: list[Row],
    worst: list[Sample],
    trace: Path | None,
    unchecked: dict[str, str],
    progress: Progress,
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The first divergence among artifacts that failed, and the traces written of all, each on its worst sample."""
    divergence: dict[str, Any] | None = None
    written: dict[str, None] = {}
    for (artifact, engine, how), row, sample in zip(plan, rows, worst, strict=True):
        wanted = row.passed is False and (divergence is None or divergence["op"] is None)
        if not can_be_traced(artifact) or not (wanted or trace):
            continue
        mode = how if engine.name == INTERPRETER else RUNTIMES[INTERPRETER].load().modes(artifact.scheme)[0]
        with progress(f"looking into {artifact.label} ({mode})"):
            try:
                traced = diagnosis.trace(artifact, mode, sample)
            except ResourceError as error:
                if trace:
                    raise
                unchecked[artifact.label] = str(error)
                continue
            except BundleError:
                if row.error is None:
                    raise
                continue  # it could not be run before either, and its row says why
            if wanted:
                explained = diagnosis.explain(artifact, mode, sample, traced)
                divergence = explained if divergence is None or explained["op"] else divergence
        if trace:
            stem = f"{artifact.label}-{mode}".replace(" ", "-").replace("/", "-")
            files = write_trace(trace, stem, f"{artifact.label}, {mode}, {sample.name!r:.60}", traced)
            written |= dict.fromkeys(map(str, files))
    return divergence, tuple(written)


def _plan(bundle: Bundle, runtime: str | None, mode: str | None) -> tuple[list[_Planned], tuple[str, ...]]:
    """Which artifact runs where and how, and which are left out."""
    plan: list[_Planned] = []
    for artifact in bundle.manifest.artifacts:
        if artifact.target not in TARGETS or artifact.scheme not in SCHEMES:
            raise BundleError(f"{bundle.path}: {artifact.label}: this version knows no such target or scheme")
        target: Target = TARGETS[artifact.target].load()
        for name in target.runtimes:
            if not RUNTIMES[name].offered(runtime):
                continue
            engine: Runtime = RUNTIMES[name].load()
            modes = engine.modes(artifact.scheme)
            if mode is None or mode in modes:
                plan.append((artifact, engine, mode or modes[0]))
    planned = {artifact.key for artifact, _, _ in plan}
    skipped = tuple(artifact.label for artifact in bundle.manifest.artifacts if artifact.key not in planned)
    chosen = "".join(f" --{n} {v}" for n, v in (("runtime", runtime), ("mode", mode)) if v)
    if not plan or (skipped and not chosen):
        which = ", ".join(skipped) or "a bundle without artifacts"
        raise UsageError(f"{bundle.path}: cannot be run here{' with' + chosen if chosen else ''}: {which}")
    return plan, skipped


def _image_inputs(
    bundle: Bundle, loaded: LoadedModel, pictures: Iterable[tuple[str, Image.Image]]
) -> tuple[tuple[str, ...], _Roads]:
    names, reference, stated = [], [], []
    alike = bundle.manifest.image == loaded.spec.preprocess
    for name, picture in pictures:
        names.append(name)
        reference.append(preprocess_image(picture, loaded.spec.preprocess))
        if not alike:
            stated.append(preprocess_image(picture, bundle.manifest.image))
    stacked = np.stack(reference)
    return tuple(names), _Roads(stacked, stacked if alike else np.stack(stated))


def _text_inputs(bundle: Bundle, loaded: LoadedModel, texts: list[str]) -> _Roads:
    tokenizer = load_tokenizer(bundle)
    return _Roads(reference_ids(texts, loaded.tokenizer), tokenizer(texts))


def _row(
    bundle: Bundle, artifact: Artifact, engine: Runtime, mode: str, given: np.ndarray, originals: dict[Tower, np.ndarray]
) -> tuple[Row, int]:
    """The row of an artifact, and the index of the sample that it gets most wrong."""
    original, other = originals[artifact.tower], originals["text" if artifact.tower == "image" else "image"]
    threshold = threshold_of(artifact)
    common: dict[str, Any] = {
        "tower": artifact.tower,
        "target": artifact.target,
        "backend": artifact.backend,
        "scheme": artifact.scheme,
        "runtime": engine.name,
        "mode": mode,
        "samples": len(original),
        "sha256": artifact.sha256,
        "threshold": {**asdict(threshold), "between_input_cosine": DEGENERATE_COSINE, "length_error": UNIT_TOLERANCE},
    }
    worst = 0
    try:
        with engine.open(bundle, artifact, mode) as runner:
            converted = runner.encode(given)
        if converted.shape != original.shape:
            raise BundleError(f"{artifact.path}: gives {list(converted.shape)}, the original {list(original.shape)}")
        # NaN counts as the largest; of equal errors the first.
        worst = int(np.abs(original - converted).max(axis=1).argmax())
        if not np.isfinite(converted).all():
            raise BundleError(f"{artifact.path}: gives values that are not finite (overflow?)")
    except (BundleError, NotRunnableError) as error:
        nothing: dict[str, Any] = dict.fromkeys(
            ("cosine_min", "cosine_mean", "max_abs_error", "rank_agreement", "length_error")
        )
        nothing["between_input_cosine"] = between_input_cosine(original)
        if isinstance(error, NotRunnableError):
            return Row(**common, **nothing, passed=None, error=str(error)), worst
        return Row(**common, **nothing, passed=False, failures=("error",), error=str(error)), worst
    agreement = compare(original, converted, other)
    failures = [
        name
        for name, holds in (
            ("cosine_min", agreement.cosine_min >= threshold.cosine_min),
            ("max_abs_error", threshold.max_abs_error is None or agreement.max_abs_error <= threshold.max_abs_error),
            ("rank_agreement", threshold.rank_agreement is None or not agreement.rank_agreement < threshold.rank_agreement),
            ("length_error", agreement.length_error <= UNIT_TOLERANCE),
            ("between_input_cosine", agreement.between_input_cosine <= DEGENERATE_COSINE),
        )
        if not holds
    ]
    numbers: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in asdict(agreement).items()}
    return Row(**common, **numbers, passed=not failures, failures=tuple(failures)), worst


def record(path: Path, result: VerifyResult) -> None:
    """Write a result into the bundle at `path`, as `verify.json`. Raises InputError if that cannot be written."""
    file = path / RESULT_FILE
    try:
        write_whole(file, json.dumps(result.as_json(), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror})") from error
