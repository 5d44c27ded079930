"""Budgets: what the rows of a profile may take at most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeclip.errors import InputError, UsageError
from edgeclip.registry import unknown
from edgeclip.spec import TOWERS
from profiles.results import BudgetLine, EstimatedRow, MeasuredRow, Profile, Row, label
from profiles.toml import read_toml

EACH, TOTAL = "each", "total"
SCOPES = (EACH, *TOWERS, TOTAL)  # every row; every row of a tower; a group's towers together


@dataclass(frozen=True)
class Quantity:
    """What can be limited. of: the figure of a row, None where it has none; most: the parts of a total are not added up.

    files: artifacts of one file count once.
    """

    unit: Literal["ms", "MB"]
    of: Callable[[Row], float | None]
    most: bool = False
    files: bool = False


def _milliseconds(row: Row) -> float:
    """Of an estimate the high end: it is within budget only if all of its range is."""
    return row.latency_ms.high if isinstance(row, EstimatedRow) else row.latency_ms.p50


def _memory_mb(row: Row) -> float | None:
    return row.peak_memory_mb if isinstance(row, MeasuredRow) else None


QUANTITIES: Mapping[str, Quantity] = {
    "ms": Quantity("ms", _milliseconds),
    "mb": Quantity("MB", lambda row: row.size_bytes / 1e6, files=True),
    # Each row has a process of its own, so that the sum of two would count the runtime twice.
    "memory-mb": Quantity("MB", _memory_mb, most=True),
}


@dataclass(frozen=True)
class Limit:
    """At most so much of a quantity, in each row or in some."""

    quantity: str
    scope: str
    most: float

    @property
    def text(self) -> str:
        """As on the command line."""
        scope = "" if self.scope == EACH else f"{self.scope}="
        return f"{self.quantity} {scope}{self.most:g}"


def limits_of(given: Mapping[str, Sequence[str]]) -> tuple[Limit, ...]:
    """What `--budget-QUANTITY` takes: `20` for each row, `image=20`, `text=5`, `total=25`."""
    limits = []
    for quantity, texts in given.items():
        for text in texts:
            scope, equals, number = text.rpartition("=")
            limits.append(_limit(quantity, scope if equals else EACH, _number(number), f"--budget-{quantity} {text}"))
    return tuple(limits)


def read_budgets(path: Path) -> tuple[Limit, ...]:
    """A TOML file with a table for each quantity: `[ms]`, and in it `image = 20`."""
    limits = []
    for quantity, table in read_toml(path).items():
        if quantity not in QUANTITIES:
            raise InputError(f"{path}: {unknown('budget', quantity, QUANTITIES)}")
        if not isinstance(table, dict):
            raise InputError(f"{path}: {quantity} is a table of {', '.join(SCOPES)}")
        for scope, value in table.items():
            number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
            limits.append(_limit(quantity, scope, number, f"{path}: {quantity}.{scope}"))
    if not limits:
        raise InputError(f"{path}: holds no budget; tables are {', '.join(QUANTITIES)}")
    return tuple(limits)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _limit(quantity: str, scope: str, most: float | None, where: str) -> Limit:
    if scope not in SCOPES:
        raise UsageError(f"{where}: {unknown('budget scope', scope, SCOPES)}")
    if most is None or not math.isfinite(most) or most <= 0:
        raise UsageError(f"{where}: give a number above 0, as in image=20")
    return Limit(quantity, scope, most)


def check(limits: Sequence[Limit], profile: Profile) -> tuple[BudgetLine, ...]:
    """Hold every limit against the rows it means.

    A limit that means no row is an error, and so is one on a tower that has none: it would pass unseen.
    """
    lines = []
    for limit in limits:
        for tower, why in _without_figures(profile):
            if limit.scope in (EACH, tower):
                raise UsageError(f"budget {limit.text}: nothing to hold the {tower} tower against ({why})")
        found = list(_held(limit, profile))
        if not found:
            raise UsageError(f"budget {limit.text}: nothing on {profile.device.name} to hold it against")
        lines += found
    return tuple(lines)


def _without_figures(profile: Profile) -> Iterator[tuple[str, str]]:
    """Towers of the bundle of which no artifact ran, and why."""
    have = {row.tower for row in profile.rows}
    for tower in TOWERS:
        reasons = [f"{label}: {why}" for label, why in profile.not_run.items() if label.endswith(f" {tower}")]
        if reasons and tower not in have:
            yield tower, "; ".join(reasons)


def _held(limit: Limit, profile: Profile) -> Iterator[BudgetLine]:
    quantity = QUANTITIES[limit.quantity]
    for group in _groups(limit.scope, profile.rows):
        counted = {row.sha256: row for row in group}.values() if quantity.files else group
        figures = [quantity.of(row) for row in counted]
        numbers = [figure for figure in figures if figure is not None]
        if len(numbers) < len(figures):
            raise UsageError(f"budget {limit.text}: {profile.device.name} does not say it of {label(group[0])}")
        found = max(numbers) if quantity.most else sum(numbers)
        yield BudgetLine(
            limit=limit.text,
            unit=quantity.unit,
            most=limit.most,
            found=found,
            passed=found <= limit.most,
            rows=tuple(label(row) for row in group),
        )


def _groups(scope: str, rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows that count together: alone, or for a total the towers of one target that ran alike."""
    if scope != TOTAL:
        yield from ([row] for row in rows if scope in (EACH, row.tower))
        return
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        runtime = row.runtime if isinstance(row, MeasuredRow) else None
        groups.setdefault((row.target, runtime, row.threads), []).append(row)
    for group in groups.values():
        if len(group) < len(TOWERS):
            raise UsageError(f"budget total: {label(group[0])} is alone; the other tower has no figure")
        if len({row.tower for row in group}) < len(group):
            raise UsageError(f"budget total: {', '.join(map(label, group))}: several of one tower, whose sum nobody runs")
        yield group
