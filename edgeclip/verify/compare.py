"""verify(): the same pictures and texts to the torch original and to every artifact, by two separate roads.

The original's road follows the model table: its preprocessing, open_clip's tokenizer, the unfused torch modules. An
artifact's road follows the bundle alone: the manifest's preprocessing, the bundle's tokenizer files, the artifact. A
wrong mean, a squashed picture or a vocabulary that is off therefore shows as a difference, as it would in an app that
trusts the bundle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgeclip.data.preprocess import preprocess_image
from edgeclip.data.reference_tokenizer import reference_ids
from edgeclip.data.tokenizer import load_tokenizer
from edgeclip.errors import BundleError, UsageError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.models.originals import load_original
from edgeclip.models.weights import LoadedModel
from edgeclip.pipeline import scoring
from edgeclip.plugins import RUNTIMES, TARGETS
from edgeclip.progress import Progress, silent
from edgeclip.recipe import DEGENERATE_COSINE, SCHEMES, UNIT_TOLERANCE
from edgeclip.reference.runtime import Runtime
from edgeclip.reference.torch_runtime import original_runner
from edgeclip.spec import TOWERS, Tower
from edgeclip.target import Target
from edgeclip.verify.metrics import between_input_cosine, compare
from edgeclip.verify.samples import TEXTS, default_images, images_below, texts_in

RESULT_FILE = "verify.json"


@dataclass(frozen=True)
class Row:
    """One artifact in one runtime and mode. Numbers are None where the artifact could not be run; `error` says why."""

    tower: Tower
    target: str
    backend: str | None
    scheme: str
    runtime: str
    mode: str
    samples: int
    cosine_min: float | None
    cosine_mean: float | None
    max_abs_error: float | None
    between_input_cosine: float
    rank_agreement: float | None
    length_error: float | None
    threshold: dict[str, float | str | None]
    passed: bool
    failures: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True)
class VerifyResult:
    """All rows, and where the bundle's statements differ from the model's."""

    passed: bool
    rows: tuple[Row, ...]
    first_divergence: dict[str, Any] | None = None
    contract: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    texts: int = 0

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
    progress: Progress = silent,
) -> VerifyResult:
    """Compare every artifact of a bundle with the torch original, and write `verify.json` into the bundle.

    `runtime` restricts to one; by default each artifact runs in every runtime that exists here.
    """
    bundle = Bundle.open(path)
    plan = _plan(bundle, runtime, mode)
    with progress("loading the torch original") as task:
        loaded = load_original(bundle.manifest, weights, task)
    with progress("preparing pictures and texts"):
        pictures = list(images_below(images) if images else default_images())
        lines = texts_in(texts) if texts else list(TEXTS)
        roads = {"image": _image_inputs(bundle, loaded, pictures), "text": _text_inputs(bundle, loaded, lines)}
    originals = {}
    for tower in TOWERS:
        with progress(f"running the torch original, {tower} tower"):
            originals[tower] = original_runner(loaded, tower).encode(roads[tower].reference)
    rows = []
    for artifact, engine, how in plan:
        with progress(f"verifying {artifact.label} in {engine.name} ({how})"):
            rows.append(_row(bundle, artifact, engine, how, roads[artifact.tower].bundle, originals))
    contract = tuple(_contract_differences(bundle, loaded))
    result = VerifyResult(
        passed=all(row.passed for row in rows) and not contract,
        rows=tuple(rows),
        contract=contract,
        images=tuple(name for name, _ in pictures),
        texts=len(lines),
    )
    _write(bundle.path / RESULT_FILE, result)
    return result


def _plan(bundle: Bundle, runtime: str | None, mode: str | None) -> list[tuple[Artifact, Runtime, str]]:
    """Which artifact runs where and how."""
    plan = []
    for artifact in bundle.manifest.artifacts:
        if artifact.target not in TARGETS or artifact.scheme not in SCHEMES:
            raise BundleError(f"{bundle.path}: {artifact.label}: this version knows no such target or scheme")
        target: Target = TARGETS[artifact.target].load()
        for name in target.runtimes:
            if not RUNTIMES[name].available or runtime not in (None, name):
                continue
            engine: Runtime = RUNTIMES[name].load()
            modes = engine.modes(artifact.scheme)
            if mode is None or mode in modes:
                plan.append((artifact, engine, mode or modes[0]))
    if not plan:
        chosen = "".join(f" --{n} {v}" for n, v in (("runtime", runtime), ("mode", mode)) if v)
        raise UsageError(f"{bundle.path}: no artifact can be run here{' with' + chosen if chosen else ''}")
    return plan


def _image_inputs(bundle: Bundle, loaded: LoadedModel, pictures: Iterable[tuple[str, Image.Image]]) -> _Roads:
    unnamed = [picture for _, picture in pictures]
    reference = np.stack([preprocess_image(picture, loaded.spec.preprocess) for picture in unnamed])
    stated = bundle.manifest.image
    if stated == loaded.spec.preprocess:
        return _Roads(reference, reference)
    return _Roads(reference, np.stack([preprocess_image(picture, stated) for picture in unnamed]))


def _text_inputs(bundle: Bundle, loaded: LoadedModel, texts: list[str]) -> _Roads:
    tokenizer = load_tokenizer(bundle)
    return _Roads(reference_ids(texts, loaded.spec.tokenizer), tokenizer(texts))


def _row(
    bundle: Bundle, artifact: Artifact, engine: Runtime, mode: str, given: np.ndarray, originals: dict[Tower, np.ndarray]
) -> Row:
    original, other = originals[artifact.tower], originals["text" if artifact.tower == "image" else "image"]
    threshold = SCHEMES[artifact.scheme].threshold
    common: dict[str, Any] = {
        "tower": artifact.tower,
        "target": artifact.target,
        "backend": artifact.backend,
        "scheme": artifact.scheme,
        "runtime": engine.name,
        "mode": mode,
        "samples": len(original),
        "threshold": {**asdict(threshold), "between_input_cosine": DEGENERATE_COSINE, "length_error": UNIT_TOLERANCE},
    }
    bundle.verified_path(artifact)  # damage is an error of the bundle, not a finding about the conversion
    try:
        with engine.open(bundle, artifact, mode) as runner:
            converted = runner.encode(given)
        if converted.shape != original.shape:
            raise BundleError(f"{artifact.path}: gives {list(converted.shape)}, the original {list(original.shape)}")
        if not np.isfinite(converted).all():
            raise BundleError(f"{artifact.path}: gives values that are not finite (overflow?)")
    except BundleError as error:
        nothing: dict[str, Any] = dict.fromkeys(
            ("cosine_min", "cosine_mean", "max_abs_error", "rank_agreement", "length_error")
        )
        between = between_input_cosine(original)
        return Row(**common, **nothing, between_input_cosine=between, passed=False, failures=("error",), error=str(error))
    agreement = compare(original, converted, other)
    failures = [
        name
        for name, holds in (
            ("cosine_min", agreement.cosine_min >= threshold.cosine_min),
            ("max_abs_error", threshold.max_abs_error is None or agreement.max_abs_error <= threshold.max_abs_error),
            ("rank_agreement", threshold.rank_agreement is None or agreement.rank_agreement >= threshold.rank_agreement),
            ("length_error", agreement.length_error <= UNIT_TOLERANCE),
            ("between_input_cosine", agreement.between_input_cosine <= DEGENERATE_COSINE),
        )
        if not holds
    ]
    return Row(**common, **asdict(agreement), passed=not failures, failures=tuple(failures))


def _contract_differences(bundle: Bundle, loaded: LoadedModel) -> Iterable[str]:
    """Statements of the manifest that are not true of the model: apps act on them, so each is a failure."""
    manifest, spec = bundle.manifest, loaded.spec
    pairs = (
        ("image", manifest.image, spec.preprocess),
        ("text", manifest.text, spec.tokenizer),
        ("scoring", manifest.scoring, scoring(loaded)),
    )
    for section, stated, true in pairs:
        for name in true.__struct_fields__:
            got, wanted = getattr(stated, name), getattr(true, name)
            if got != wanted:
                yield f"{section}.{name} is {got}, the model has {wanted}"
    if manifest.embedding.dim != spec.embed_dim:
        yield f"embedding.dim is {manifest.embedding.dim}, the model has {spec.embed_dim}"
    if not manifest.embedding.l2_normalized:
        yield "embedding.l2_normalized is false, the artifacts normalise"


def _write(path: Path, result: VerifyResult) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result.as_json(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    temporary.replace(path)
