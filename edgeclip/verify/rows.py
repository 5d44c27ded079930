"""One artifact in one runtime, held against the original."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgeclip.errors import BundleError, NotRunnableError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.recipe import DEGENERATE_COSINE, UNIT_TOLERANCE
from edgeclip.reference.runtime import Runtime
from edgeclip.spec import Tower
from edgeclip.verify.metrics import between_input_cosine, compare
from edgeclip.verify.sampling import encode
from edgeclip.verify.thresholds import threshold_of


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
class Ran:
    """What came of running an artifact.

    worst: the index of the sample that it gets most wrong. indices (n,): of the samples that it was run on; embeddings (n, D):
    what it gave for them. Both are empty where it gave none.
    """

    row: Row
    worst: int
    indices: np.ndarray = field(default_factory=lambda: np.empty(0, int))
    embeddings: np.ndarray = field(default_factory=lambda: np.empty((0, 0), np.float32))


def run(
    bundle: Bundle, artifact: Artifact, engine: Runtime, mode: str, given: np.ndarray, originals: Mapping[Tower, np.ndarray]
) -> Ran:
    """Run an artifact and hold its embeddings against the original's. given: its tower's inputs, by the bundle's road."""
    original, other = originals[artifact.tower], originals["text" if artifact.tower == "image" else "image"]
    threshold = threshold_of(artifact)
    common: dict[str, Any] = {
        "tower": artifact.tower,
        "target": artifact.target,
        "backend": artifact.backend,
        "scheme": artifact.scheme,
        "runtime": engine.name,
        "mode": mode,
        "sha256": artifact.sha256,
        "threshold": {**asdict(threshold), "between_input_cosine": DEGENERATE_COSINE, "length_error": UNIT_TOLERANCE},
    }
    worst = 0
    indices = np.arange(len(original))
    try:
        with engine.open(bundle, artifact, mode) as runner:
            indices, converted = encode(runner, given, engine.patience_s)
        original = original[indices]
        if converted.shape != original.shape:
            raise BundleError(f"{artifact.path}: gives {list(converted.shape)}, the original {list(original.shape)}")
        # NaN counts as the largest; of equal errors the first.
        worst = int(indices[np.abs(original - converted).max(axis=1).argmax()])
        if not np.isfinite(converted).all():
            raise BundleError(f"{artifact.path}: gives values that are not finite (overflow?)")
    except (BundleError, NotRunnableError) as error:
        nothing: dict[str, Any] = dict.fromkeys(
            ("cosine_min", "cosine_mean", "max_abs_error", "rank_agreement", "length_error")
        )
        nothing["between_input_cosine"] = between_input_cosine(original)
        nothing["samples"] = len(original)
        if isinstance(error, NotRunnableError):
            return Ran(Row(**common, **nothing, passed=None, error=str(error)), worst)
        return Ran(Row(**common, **nothing, passed=False, failures=("error",), error=str(error)), worst)
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
    row = Row(**common, **numbers, samples=len(indices), passed=not failures, failures=tuple(failures))
    return Ran(row, worst, indices, converted)
