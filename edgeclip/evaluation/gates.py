"""Limits on what an artifact may lose."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgeclip.errors import UsageError
from edgeclip.evaluation.datasets import EvaluationData
from edgeclip.evaluation.results import Check, Gates, RetrievalRow, Row, Who


def check_gates(gates: Gates, data: EvaluationData, original: bool, artifacts: bool) -> None:
    """Raise UsageError for a limit that says nothing. original, artifacts: whether they take part."""
    for option, value in (("--min-top1", gates.min_top1), ("--max-drop", gates.max_drop)):
        if value is not None and not (math.isfinite(value) and 0 <= value <= 100):
            raise UsageError(f"{option} {value}: give percent, 0 to 100")
    if gates.min_top1 is not None and data.labelled is None:
        raise UsageError(f"--min-top1: {data.name} has captions, not classes; --max-drop is held against recall too")
    if gates.max_drop is not None and not (original and artifacts):
        raise UsageError("--max-drop: compares artifacts with the torch original, so both have to take part")


def held(gates: Gates, rows: Sequence[Row], retrieval: Sequence[RetrievalRow]) -> tuple[Check, ...]:
    """The limits, held against every artifact; against the original where it is alone."""
    return (*_least(gates.min_top1, rows), *_drops(gates.max_drop, rows, retrieval))


def _least(limit: float | None, rows: Sequence[Row]) -> Iterator[Check]:
    if limit is None:
        return
    for row in [row for row in rows if not row.is_original] or rows:
        yield Check("min_top1", _name(row), row.top1, limit, passed=row.top1 >= limit)


def _drops(limit: float | None, rows: Sequence[Row], retrieval: Sequence[RetrievalRow]) -> Iterator[Check]:
    if limit is None:
        return
    found: list[tuple[str, Who, float | None]] = [("top1", row, row.difference_percent) for row in rows]
    for line in retrieval:
        for name, way in (("image_to_text_recall1", line.image_to_text), ("text_to_image_recall1", line.text_to_image)):
            found.append((name, line, None if way.difference_percent is None else way.difference_percent[1]))
    for name, who, difference in found:
        if difference is not None:
            drop = -difference + 0.0  # never -0.0
            # A drop of a whole number of pictures that equals the limit passes, whatever the rounding of its percentage.
            yield Check(f"max_drop_{name}", _name(who), drop, limit, passed=drop <= limit + 1e-9)


def _name(who: Who) -> str:
    return f"{who.label} in {who.runtime}"
