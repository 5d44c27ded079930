"""A profile for people: a table, and what has to be said below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from edgeclip.plugins import RUNTIMES
from profiles.results import Change, CountedProfile, EstimatedRow, MeasuredRow, Profile, Row, artifact_label, label

Table: TypeAlias = tuple[Sequence[str], list[tuple[str, ...]], Sequence[int]]  # header, rows, columns to align right

_MEASURED: Final = (
    "artifact",
    "threads",
    "load cold",
    "warm",
    "first",
    "p50",
    "p90",
    "p99 ms",
    "memory",
    "size MB",
    "delegated",
)
_ESTIMATED: Final = ("artifact", "load", "estimated", "from", "to ms", "size MB", "delegated")
_SHOWN, _LEAST = 4, 0.01  # kinds of operations in a line, each with at least this share of the time


def table(profile: Profile) -> Table:
    """Header, rows, and the columns that are aligned right."""
    if profile.device.kind == "estimated":
        return _ESTIMATED, [_estimated(row) for row in profile.rows if isinstance(row, EstimatedRow)], range(1, 6)
    return _MEASURED, [_measured(row) for row in profile.rows if isinstance(row, MeasuredRow)], range(1, 10)


def counted(profile: CountedProfile) -> Table:
    """As `table`, of what was counted."""
    rows: list[tuple[str, ...]] = [
        (
            f"{row.target}/{row.backend} {row.scheme} {row.tower}",
            f"{row.instructions / 1e6:.2f}",
            f"{row.instructions_range[0] / 1e6:.2f}",
            f"{row.instructions_range[1] / 1e6:.2f}",
            f"{row.size_bytes / 1e6:.1f}",
            "-" if row.delegated_percent is None else f"{row.delegated_percent:.1f} %",
        )
        for row in profile.rows
    ]
    return ("artifact", "million instructions", "from", "to", "size MB", "delegated"), rows, range(1, 5)


def counted_notes(profile: CountedProfile) -> list[str]:
    """As `notes`, of what was counted."""
    skipped = [f"not run: {name}: {why}" for name, why in profile.not_run.items()]
    return [f"\n{profile.device.name}: instructions of one inference; no time can be told from them", *skipped]


def notes(profile: Profile) -> list[str]:
    """Lines below the table."""
    return [*_conditions(profile), *_rows(profile), *_checks(profile)]


def _measured(row: MeasuredRow) -> tuple[str, ...]:
    latency = row.latency_ms
    return (
        _name(row),
        "auto" if row.threads is None else str(row.threads),
        _ms(row.load_cold_ms),
        _ms(row.load_warm_ms),
        _ms(row.first_ms),
        _ms(latency.p50),
        _ms(latency.p90),
        _ms(latency.p99),
        "-" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
        f"{row.size_bytes / 1e6:.1f}",
        _delegated(row),
    )


def _estimated(row: EstimatedRow) -> tuple[str, ...]:
    latency = row.latency_ms
    return (
        label(row),
        _ms(row.load_cold_ms),
        _ms(latency.p50),
        _ms(latency.low),
        _ms(latency.high),
        f"{row.size_bytes / 1e6:.1f}",
        _delegated(row),
    )


def _name(row: MeasuredRow) -> str:
    """As `label`, without the threads, which have a column."""
    runtime = f" in {row.runtime}" if row.runtime != row.target else ""
    flags = " *" if row.noisy or row.reference else ""
    return f"{artifact_label(row)}{runtime}{flags}"


def _delegated(row: Row) -> str:
    return "-" if row.delegated_percent is None else f"{row.delegated_percent:.1f} %"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _conditions(profile: Profile) -> Iterator[str]:
    device = profile.device
    said = " (estimated)" if device.kind == "estimated" else " (emulated)" if device.emulated else ""
    yield f"\n{device.name}{said}"
    if "load_note" in device.details:
        yield f"load: {device.details['load_note']}"


def _rows(profile: Profile) -> Iterator[str]:
    for row in profile.rows:
        if isinstance(row, MeasuredRow):
            if row.reference:
                what = RUNTIMES[row.runtime].summary
                yield f"* {label(row)}: {what}: a reference to check numbers with; no speed of any device"
            if row.noisy:
                yield f"* {label(row)}: noisy: {'; '.join(row.noisy)}"
        if row.operators_ms:
            most = sorted(row.operators_ms.items(), key=lambda item: -item[1])[:_SHOWN]
            shares = [f"{name} {_ms(value)} ms" for name, value in most if value > _LEAST * row.latency_ms.p50]
            yield f"{label(row)}: most time in {', '.join(shares)}"
    for mean, worst in dict.fromkeys(row.error_percent for row in profile.rows if isinstance(row, EstimatedRow)):
        checked = _checked(profile.device.details, (mean, worst))
        yield f"these are estimates: {checked} off by {mean:.0f} % in the mean, {worst:.0f} % at worst"
    for name, why in profile.not_run.items():
        yield f"not run: {name}: {why}"


def _checked(details: Mapping[str, Any], errors: tuple[float, float]) -> str:
    """What an estimator's errors are known from. errors: mean and worst, in percent."""
    if "scaled" in details:
        return "nothing checks them, taken to be"
    for where in details.get("checked", ()):
        if (where["mean_percent"], where["worst_percent"]) == errors:
            threads = f"{where['threads']} thread{'s' * (where['threads'] > 1)}"
            return f"checked with {where['artifacts']} artifacts on {where['processor']} ({threads}), there"
    return "where they can be checked,"


def _checks(profile: Profile) -> Iterator[str]:
    for change in profile.against or ():
        yield f"against {_change(change)}"
    for change in profile.baseline or ():
        yield f"{'ok' if change.passed else 'SLOWER'} {_change(change)}"
    for line in profile.budget or ():
        verdict = "ok" if line.passed else "FAILED"
        what = f"budget {line.limit}: {' + '.join(line.rows)}: {line.found:.3g} {line.unit}"
        yield f"{verdict} {what}{'' if line.passed else f', at most {line.most:g}'}"


def _change(change: Change) -> str:
    this, that = change.p50_ms
    low, high = change.interval
    return f"{change.label}: {change.ratio:.3f} times as long ({low:.3f} to {high:.3f}; {_ms(this)} to {_ms(that)} ms)"
