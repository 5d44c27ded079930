"""Sizes, latencies and errors as bars: a panel for each tower of a model, whose artifacts are alternatives."""

from __future__ import annotations

from collections.abc import Sequence

from profiles.report.bars import MOST_ROWS, Bar, bars, head, middle_of, row_panel, spoken
from profiles.report.gather import LEAST_ERROR, Item, Report, Timing
from profiles.report.names import Series, by_panel, name_among, name_of, panel_of
from profiles.report.svg import INK, MARKERS, SERIES, Drawing, as_drawing, decades
from profiles.report.words import clean, number, span
from profiles.results import Device, Latency

_OUTLIER = 3.0  # whiskers longer than this many of the longest median are cut
_MARGIN = 1.04  # of an axis beyond what it shows
_FAILED = "X"  # the marker of what failed


def sizes(report: Report, series: Series) -> list[Drawing]:
    """Bytes of each artifact."""
    drawings = []
    for index, (caption, items) in enumerate(by_panel(report.items).items()):
        rows = []
        for item in items:
            tip = f"{caption} {name_of(item)}: {item.artifact.size_bytes:,} bytes"
            rows.append(Bar(name_among(item, items), f"{number(item.size_mb)} MB", ((item.size_mb, series[item]),), (tip,)))
        limit = _MARGIN * max(item.size_mb for item in items) or 1.0
        drawings.append(bars(f"size-{index}", clean(caption), f"Size of {clean(caption)}", "MB (1e6 bytes)", rows, limit))
    return drawings


_AXES = {
    "measured": "ms: bar to the median, small tick p90, whisker min to p99",
    "estimated": "ms, estimated: bar to the prediction, whisker its range",
}


def latencies(report: Report, device: Device, place: int, series: Series) -> list[Drawing]:
    """How long each artifact takes on a device, with the spread. place: of the device on the page."""
    timings = report.on(device)
    timed = {id(timing.item): timing.item for timing in timings}
    drawings = []
    for index, (caption, items) in enumerate(by_panel(list(timed.values())).items()):
        shown = [timing for item in items for timing in timings if timing.item is item]
        rows = [_timed(timing, items, series) for timing in shown]
        how = f"{'emulated, ' if device.emulated else ''}{device.kind}"
        title = f"Latency of {clean(caption)} on {clean(device.name)}, {how}"
        drawings.append(bars(f"latency-{place}-{index}", clean(caption), title, _AXES[device.kind], rows, _limit(shown)))
    return drawings


def _limit(timings: Sequence[Timing]) -> float:
    """The end of the axis, ms: outliers are cut, and references do not count."""
    counted = [timing for timing in timings if not timing.reference]
    if not counted:
        return 1.0
    longest = max(timing.p50_ms for timing in counted)
    return _MARGIN * min(_OUTLIER * longest, max(_ends(timing)[1] for timing in counted))


def _ends(timing: Timing) -> tuple[float, float]:
    latency = timing.row.latency_ms
    return (latency.min, latency.p99) if isinstance(latency, Latency) else (latency.low, latency.high)


def _timed(timing: Timing, items: Sequence[Item], series: Series) -> Bar:
    label = " · ".join(filter(None, (name_among(timing.item, items), timing.how)))
    value = f"{number(timing.p50_ms)} ms{' (noisy)' if timing.noisy else ''}"
    if timing.reference:
        return Bar(label, value, note="reference, not a speed")
    if timing.estimated:
        value = f"estimated {number(timing.p50_ms)} ms ({span(*_ends(timing))})"
    return Bar(
        label,
        value,
        ((timing.p50_ms, series[timing.item]),),
        (f"{panel_of(timing.item)} {label}: {value}",),
        hollow=timing.estimated or bool(timing.noisy),
        whisker=_ends(timing),
        ticks=(timing.row.latency_ms.p90,) if isinstance(timing.row.latency_ms, Latency) else (),
    )


def errors(report: Report, series: Series) -> list[Drawing]:
    """1 - the smallest cosine on a logarithmic axis, the same in all panels, and what the scheme allows."""
    known = [(item, item.shown_error, _allowed(item)) for item in report.items if item.shown_error is not None]
    if not known:
        return []
    ends = min(error for _, error, _ in known) / 3, max(max(error, allowed) for _, error, allowed in known) * 3
    figures = {id(item): (error, allowed) for item, error, allowed in known}
    return [
        _error_panel(index, clean(caption), [(item, *figures[id(item)]) for item in items][:MOST_ROWS], ends, series)
        for index, (caption, items) in enumerate(by_panel([item for item, _, _ in known]).items())
    ]


def _allowed(item: Item) -> float:
    assert item.worst is not None
    return max(LEAST_ERROR, 1 - item.worst.threshold.cosine_min)


def _error_panel(
    index: int, caption: str, rows: Sequence[tuple[Item, float, float]], ends: tuple[float, float], series: Series
) -> Drawing:
    panel = row_panel("1 − smallest cosine to the original", len(rows))
    axes = panel.axes
    axes.set(xscale="log", xlim=ends)
    decades(axes.xaxis)
    items = [item for item, _, _ in rows]
    said = []
    for place, (item, error, allowed) in enumerate(rows):
        value = f"{error_text(item)}{' FAILED' if item.passed is False else ''}"
        label, height = name_among(item, items), middle_of(place)
        head(panel, place, label, value)
        said.append(Bar(label, f"{value}, allowed {allowed:.1g}"))
        colour = SERIES[series[item]]
        axes.plot([ends[0], error], [height, height], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot([allowed], [height], "|", color=INK, markersize=14, markeredgewidth=2)
        tip = panel.tip(f"{caption} {label}: {value}, the scheme allows {allowed:.2g}")
        shape = _FAILED if item.passed is False else MARKERS[series[item]]
        axes.plot([error], [height], shape, color=colour, markersize=8, gid=tip, clip_on=False)
    return as_drawing(panel.figure, f"error-{index}", caption, f"Error of {caption}", spoken(said), panel.tips)


def error_text(item: Item) -> str:
    """The error of a verified artifact; what is below float32's rounding is not told apart."""
    assert item.error is not None
    return f"{item.error:.1e}" if item.error > LEAST_ERROR else f"below {LEAST_ERROR:.0e}"
