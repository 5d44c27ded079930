"""classify(): pictures against labels, through any runtime, by what the bundle states."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.apps.matching import matching_bank
from edgeclip.data.preprocess import load_image, preprocess_image
from edgeclip.data.prompts import DEFAULT_TEMPLATES, check_labels, check_templates
from edgeclip.data.tokenizer import load_tokenizer
from edgeclip.errors import UsageError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.plugins import RUNTIMES, TARGETS, reasons
from edgeclip.progress import Progress, silent
from edgeclip.reference.runtime import Runtime
from edgeclip.spec import TOWERS, Scoring, Tower
from edgeclip.target import Target
from edgeclip.text_classifier import class_embeddings, class_prompts
from edgeclip.verify.metrics import unit

LIKELY = 0.5  # a label with a probability of its own fits if that is more likely than not


@dataclass(frozen=True)
class Score:
    """How well one label fits."""

    label: str
    score: float
    cosine: float


@dataclass(frozen=True)
class ClassifiedImage:
    """One picture's labels, best first.

    none_of_these: whether no label fits, each having a probability of its own; None where scores are shares among the labels.
    """

    path: str
    scores: tuple[Score, ...]
    none_of_these: bool | None = None


@dataclass(frozen=True)
class ClassifyResult:
    """All pictures, and the runtime that encoded them."""

    images: tuple[ClassifiedImage, ...]
    runtime: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def classify(
    path: Path,
    images: list[Path],
    labels: Sequence[str] = (),
    templates: tuple[str, ...] = DEFAULT_TEMPLATES,
    runtime: str | None = None,
    progress: Progress = silent,
    label_bank: Path | None = None,
) -> ClassifyResult:
    """Score every label for every picture.

    A label's embedding is the mean over `templates`, each with `{}` for the label. label_bank: a file that has labels and their
    embeddings, in place of `labels`; the text tower is not used then. `runtime` is a name of `edgeclip.plugins.RUNTIMES`; by
    default the first that can run the bundle here.
    """
    if label_bank is None:
        check_templates(templates)
        check_labels(labels, "--labels")
    bundle = Bundle.open(path)
    bank = None if label_bank is None else matching_bank(label_bank, bundle, "--label-bank")
    pixels = np.stack([preprocess_image(load_image(image), bundle.manifest.image) for image in images])
    engine, artifacts = choose_runtime(bundle, runtime, TOWERS if bank is None else ("image",))
    if bank is not None:
        labels, text = bank.labels, np.asarray(bank.embeddings, np.float32)
    else:
        ids = load_tokenizer(bundle)(class_prompts(labels, templates))
        with progress(f"encoding {len(ids)} prompts in {engine.name}"):
            text = _encode(bundle, engine, artifacts["text"], ids)
        text = class_embeddings(text, [len(templates)] * len(labels))
    with progress(f"encoding {len(images)} pictures in {engine.name}"):
        image = _encode(bundle, engine, artifacts["image"], pixels)
    cosines = unit(image) @ text.T
    scores = score(cosines, bundle.manifest.scoring)
    return ClassifyResult(
        tuple(
            _classified(str(name), _ranked(labels, row, cosine), bundle.manifest.scoring)
            for name, row, cosine in zip(images, scores, cosines, strict=True)
        ),
        engine.name,
    )


def _classified(name: str, ranked: tuple[Score, ...], scoring: Scoring) -> ClassifiedImage:
    none = ranked[0].score < LIKELY if scoring.kind == "sigmoid" else None
    return ClassifiedImage(name, ranked, none)


def score(cosines: np.ndarray, scoring: Scoring) -> np.ndarray:
    """Cosines (N, labels) to scores: softmax over labels, or a sigmoid for each on its own."""
    logits: np.ndarray = scoring.logit_scale * cosines.astype(np.float64)
    if scoring.kind == "sigmoid":
        exponentials: np.ndarray = np.exp(-(logits + (scoring.logit_bias or 0.0)))
        sigmoids: np.ndarray = 1 / (1 + exponentials)
        return sigmoids
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return shares


def choose_runtime(
    bundle: Bundle, name: str | None, towers: Collection[Tower] = TOWERS
) -> tuple[Runtime, dict[Tower, Artifact]]:
    """The named runtime, or the first of the table that exists here, and towers of the bundle that it runs.

    towers: those that are needed; what is found may hold the other one too.
    """
    pairs = tower_pairs(bundle, towers)
    if name is not None:
        candidates = [name] if name in RUNTIMES else [RUNTIMES[name].name]  # a miss raises with the nearest name
    else:
        candidates = [plugin.name for plugin in RUNTIMES.values() if plugin.offered()]
    for candidate in candidates:
        for target, found in pairs:
            if candidate in target.runtimes or (candidate == name == "torch"):
                return RUNTIMES[candidate].load(), found
    held = ", ".join(artifact.label for artifact in bundle.manifest.artifacts) or "nothing"
    for tower in towers:
        if all(artifact.tower != tower for artifact in bundle.manifest.artifacts):
            raise UsageError(f"{bundle.path}: has no {tower} tower (it holds {held})")
    who = f"runtime {name} can run none" if name else "nothing here runs any"
    why = "" if name else reasons(runtime for target, _ in pairs for runtime in target.runtimes)
    raise UsageError(f"{bundle.path}: {who} of its artifacts ({held}){why}")


def tower_pairs(bundle: Bundle, towers: Collection[Tower] = TOWERS) -> list[tuple[Target, dict[Tower, Artifact]]]:
    """Towers of the same target and backend, where all of `towers` are there."""
    found: dict[tuple[str, str | None], dict[Tower, Artifact]] = {}
    for artifact in bundle.manifest.artifacts:
        found.setdefault((artifact.target, artifact.backend), {})[artifact.tower] = artifact
    return [(TARGETS[key[0]].load(), held) for key, held in found.items() if held.keys() >= set(towers) and key[0] in TARGETS]


def _encode(bundle: Bundle, engine: Runtime, artifact: Artifact, batch: np.ndarray) -> np.ndarray:
    with engine.open(bundle, artifact, engine.modes(artifact.scheme)[0]) as runner:
        return runner.encode(batch)


def _ranked(labels: Sequence[str], scores: np.ndarray, cosines: np.ndarray) -> tuple[Score, ...]:
    rows = [Score(label, float(s), float(c)) for label, s, c in zip(labels, scores, cosines, strict=True)]
    return tuple(sorted(rows, key=lambda row: -row.score))
