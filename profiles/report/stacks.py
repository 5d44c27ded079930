"""What things are made of, as stacked bars: time by operation and by cause, operations by where they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from profiles.report.bars import Bar, bars
from profiles.report.gather import Item, Report, Timing
from profiles.report.names import by_panel, name_among, panel_of
from profiles.report.svg import SERIES, Drawing
from profiles.report.words import clean, number, plural
from profiles.results import Device

_KINDS = len(SERIES)  # that are told apart
_KIND_MOST = 40  # characters


@dataclass(frozen=True)
class Stacks:
    """Panels, and what the parts of their bars are: (kind, series)."""

    title: str
    drawings: tuple[Drawing, ...]
    kinds: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Stack:
    """A row in the panel of `caption`: amounts by kind."""

    caption: str
    label: str
    value: str
    amounts: Mapping[str, float]


def stacks(name: str, title: str, axis: str, rows: Sequence[Stack], fixed: Mapping[str, int] | None = None) -> Stacks:
    """A panel for each caption. fixed: all kinds in their order, and their series.

    Without it the kinds that have most in them are told apart, and the others are one.
    """
    totals: dict[str, float] = {}
    for row in rows:
        for kind, amount in row.amounts.items():
            totals[kind] = totals.get(kind, 0.0) + amount
    ordered = sorted(totals, key=lambda kind: (-totals[kind], kind))
    kept = ordered if len(ordered) <= _KINDS else ordered[: _KINDS - 1]
    series = dict(fixed) if fixed else {kind: index for index, kind in enumerate(kept)}
    others = "" if len(kept) == len(ordered) else plural(len(ordered) - len(kept), "other kind")
    drawn: dict[str, list[Bar]] = {}
    for row in rows:
        parts = [(kind, row.amounts.get(kind, 0.0), number_of) for kind, number_of in series.items()]
        if others:
            parts.append((others, sum(amount for kind, amount in row.amounts.items() if kind not in series), _KINDS - 1))
        some = [part for part in parts if part[1] > 0]
        tips = tuple(f"{kind}: {number(amount)} {axis}" for kind, amount, _ in some)
        bar = Bar(row.label, row.value, tuple((amount, number_of) for _, amount, number_of in some), tips)
        drawn.setdefault(row.caption, []).append(bar)
    drawings = []
    for index, (caption, panel) in enumerate(drawn.items()):
        limit = 1.02 * max(sum(amount for amount, _ in bar.parts) for bar in panel) or 1.0
        drawings.append(bars(f"{name}-{index}", clean(caption), f"{title}: {clean(caption)}", axis, panel, limit))
    kinds = [(clean(kind, _KIND_MOST), number_of) for kind, number_of in series.items()]
    return Stacks(title, tuple(drawings), (*kinds, (others, _KINDS - 1)) if others else tuple(kinds))


_PARTS = {"operators_ms": "operation", "bounds": "cause"}  # fields of rows, and what they are by


def operator_times(report: Report, device: Device, place: int) -> list[Stacks]:
    """Where the time goes on a device, of each artifact's fastest setting. place: of the device on the page."""
    estimated = device.kind == "estimated"
    found = []
    for what, by in _PARTS.items():
        rows = []
        for item in _ordered(report):
            known = [timing for timing in report.on(device) if timing.item is item and getattr(timing.row, what, None)]
            counted = [timing for timing in known if not timing.reference]
            if counted:
                timing = min(counted, key=Timing.preference)
                amounts = getattr(timing.row, what)
                label = " · ".join(filter(None, (name_among(item, report.items), timing.how)))
                value = f"{'estimated ' if estimated else ''}{number(sum(amounts.values()))} ms"
                rows.append(Stack(panel_of(item), label, value, amounts))
        if rows:
            title = f"{'Estimated time' if estimated else 'Time'} by {by}: {clean(device.name)}"
            found.append(stacks(f"{by}-{place}", title, "ms, estimated" if estimated else "ms", rows))
    return found


_WARNED = "Neural Engine, with a warning"
_UNITS = {"Neural Engine": 2, _WARNED: 5, "CPU": 1}  # their series


def placements(report: Report) -> Stacks | None:
    """How many operations of each Core ML artifact the Neural Engine runs, by rule."""
    rows = []
    for item in _ordered(report):
        if not (found := item.contents.get("neural_engine")):
            continue
        units = dict.fromkeys(_UNITS, 0.0)
        for op in found["ops"]:
            units["CPU" if op["unit"] != "ne" else _WARNED if op["severity"] == "warning" else "Neural Engine"] += 1
        share = found["summary"]["macs_eligible_percent"]
        value = "" if share is None else f"{share:.4g} % of multiply-adds"
        rows.append(Stack(panel_of(item), name_among(item, report.items), value, units))
    return stacks("placement", "Neural Engine", "operations", rows, _UNITS) if rows else None


def _ordered(report: Report) -> Iterator[Item]:
    for items in by_panel(report.items).values():
        yield from items
