"""What an evaluation says. All shares and differences are in percent, or percentage points."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from edgeclip.evaluation.intervals import CONFIDENCE, METHOD

TOP = (1, 5)
RECALL = (1, 5, 10)

Interval = tuple[float, float]


def artifact_label(target: str | None, backend: str | None, scheme: str | None) -> str:
    """For people: `executorch/xnnpack fp32`; `torch original` where there is no target."""
    return "torch original" if target is None else f"{target}{f'/{backend}' if backend else ''} {scheme}"


@dataclass(frozen=True)
class Who:
    """One contender: artifacts in one runtime, or the torch original (target and scheme None)."""

    target: str | None
    backend: str | None
    scheme: str | None
    runtime: str
    mode: str

    @property
    def is_original(self) -> bool:
        return self.target is None

    @property
    def label(self) -> str:
        """For people."""
        return artifact_label(self.target, self.backend, self.scheme)


@dataclass(frozen=True)
class Row(Who):
    """Classification. Numbers against the original are None for itself, and where it was not at hand.

    top5: among the first five, or as many as there are classes. per_class: mean of the classes' top-1. agreement: of pictures
    with the original's first class. difference_percent: top-1 minus the original's, and where it is with 95 % confidence.
    confusion: of each true and each chosen class, how many pictures.
    """

    top1: float
    top5: float
    per_class: float
    agreement: float | None
    difference_percent: float | None
    difference_interval: Interval | None
    images_per_second: float
    class_top1: dict[str, float | None] = field(repr=False)
    confusion: dict[tuple[str, str], int] = field(repr=False)


@dataclass(frozen=True)
class Direction:
    """Retrieval one way. recall: k -> share of queries that have a right answer among the first k.

    difference_percent, difference_interval: of each k, as in `Row`.
    """

    queries: int
    candidates: int
    recall: dict[int, float]
    difference_percent: dict[int, float] | None
    difference_interval: dict[int, Interval] | None


@dataclass(frozen=True)
class RetrievalRow(Who):
    """Retrieval, both ways."""

    image_to_text: Direction
    text_to_image: Direction
    images_per_second: float


@dataclass(frozen=True)
class Check:
    """One limit held against one contender. limit: percent, or percentage points."""

    name: str
    who: str
    value: float
    limit: float
    passed: bool


@dataclass(frozen=True)
class Gates:
    """Limits that the artifacts are held against.

    min_top1: least top-1, in percent. max_drop: how many percentage points top-1, and recall@1 both ways, may lie below the
    original's.
    """

    min_top1: float | None = None
    max_drop: float | None = None


@dataclass(frozen=True)
class EvalResult:
    """The whole evaluation.

    top5_k: how many of the classes `top5` looks at. images: pictures that were classified; bad: unreadable ones that were left
    out, and why. original: None if it took part, else why it did not. not_run: artifacts that nothing here can run, and why.
    """

    bundle: str
    data: str
    scoring: str
    templates: tuple[str, ...]
    classes: int
    images: int
    top5_k: int
    rows: tuple[Row, ...]
    pairs_images: int
    pairs_captions: int
    retrieval: tuple[RetrievalRow, ...]
    bad: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    original_missing: str | None
    not_run: tuple[tuple[str, str], ...]
    checks: tuple[Check, ...]

    @property
    def interval_method(self) -> str:
        """Where the intervals are from."""
        return METHOD

    @property
    def failed(self) -> bool:
        """Whether a limit was exceeded."""
        return not all(check.passed for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """As the command prints it; without the confusions, which are a file of their own."""
        return {
            "bundle": self.bundle,
            "data": self.data,
            "scoring": self.scoring,
            "templates": list(self.templates),
            "classes": self.classes,
            "images": self.images,
            "top5_k": self.top5_k,
            "confidence": CONFIDENCE,
            "interval_method": self.interval_method,
            "rows": [_row_json(row) for row in self.rows],
            "retrieval": self._retrieval_json(),
            "bad_images": [{"image": name, "error": error} for name, error in self.bad],
            "notes": list(self.notes),
            "original_missing": self.original_missing,
            "not_run": [{"artifact": label, "error": error} for label, error in self.not_run],
            "checks": [asdict(check) for check in self.checks],
            "passed": None if not self.checks else not self.failed,
        }

    def _retrieval_json(self) -> dict[str, Any] | None:
        if not self.retrieval:
            return None
        rows = [asdict(row) for row in self.retrieval]
        return {"images": self.pairs_images, "captions": self.pairs_captions, "rows": rows}


def _row_json(row: Row) -> dict[str, Any]:
    values = asdict(row)
    del values["confusion"]
    return values
