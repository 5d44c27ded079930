"""Rankings of one contender, and the original's of the same pictures, to a row of the result."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from edgeclip.evaluation.datasets import LabelledPictures
from edgeclip.evaluation.encoder import Contender
from edgeclip.evaluation.intervals import difference_interval
from edgeclip.evaluation.ranking import Ranking, mean_per_class
from edgeclip.evaluation.results import RECALL, TOP, Direction, Interval, RetrievalRow, Row
from edgeclip.plugins import RUNTIMES


def row(contender: Contender, data: LabelledPictures, found: Ranking, original: Ranking | None, per_second: float) -> Row:
    """A row of classification. original: None where there is none, or it is this one."""
    labels = np.asarray(data.labels)
    right = found.hits(TOP[0])
    difference, interval = (None, None) if original is None else _difference(right, original.hits(TOP[0]))
    return Row(
        **_who(contender),
        top1=_percent(right),
        top5=_percent(found.hits(TOP[1])),
        per_class=100 * mean_per_class(right, labels),
        agreement=None if original is None else _percent(found.best == original.best),
        difference_percent=difference,
        difference_interval=interval,
        images_per_second=per_second,
        class_top1={
            name: _percent(right[labels == index]) if (labels == index).any() else None
            for index, name in enumerate(data.classes)
        },
        confusion=dict(
            Counter((data.classes[true], data.classes[best]) for true, best in zip(labels, found.best, strict=True))
        ),
    )


def retrieval_row(
    contender: Contender,
    found: tuple[Ranking, Ranking],
    original: tuple[Ranking, Ranking] | None,
    owners: np.ndarray,
    per_second: float,
) -> RetrievalRow:
    """A row of retrieval. found, original: image to text, text to image; owners: of each caption, its picture."""
    to_text, to_image = found
    text_before, image_before = original or (None, None)
    return RetrievalRow(
        **_who(contender),
        image_to_text=_direction(to_text, text_before, len(owners), None),
        text_to_image=_direction(to_image, image_before, len(to_text.ranks), owners),
        images_per_second=per_second,
    )


def _direction(found: Ranking, original: Ranking | None, candidates: int, clusters: np.ndarray | None) -> Direction:
    ks = sorted({min(k, candidates) for k in RECALL})
    differences = {} if original is None else {k: _difference(found.hits(k), original.hits(k), clusters) for k in ks}
    return Direction(
        queries=len(found.ranks),
        candidates=candidates,
        recall={k: _percent(found.hits(k)) for k in ks},
        difference_percent={k: value for k, (value, _) in differences.items()} or None,
        difference_interval={k: interval for k, (_, interval) in differences.items()} or None,
    )


def _difference(found: np.ndarray, original: np.ndarray, clusters: np.ndarray | None = None) -> tuple[float, Interval]:
    """Hits of the same queries: how many percentage points more, and the interval of that."""
    low, high = difference_interval(found, original, clusters)
    return _percent(found) - _percent(original), (100 * low, 100 * high)


def _percent(hits: np.ndarray) -> float:
    return 100 * float(hits.mean())


def _who(contender: Contender) -> dict[str, Any]:
    artifact = contender.artifact
    return {
        "target": artifact and artifact.target,
        "backend": artifact and artifact.backend,
        "scheme": contender.scheme,
        "runtime": contender.runtime,
        "mode": RUNTIMES[contender.runtime].load().modes(artifact.scheme if artifact else "fp32")[0],
    }
