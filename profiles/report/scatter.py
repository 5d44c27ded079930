"""Size, error and time against each other, and what is on the Pareto front: a panel for each tower that leaves a choice."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from profiles.report.bars import Bar, Panel, spoken
from profiles.report.gather import LEAST_ERROR, Item, Report, Timing, front
from profiles.report.labels import Box, place_labels
from profiles.report.names import Series, name_of, panel_of
from profiles.report.plots import error_text
from profiles.report.svg import CARD, INK, MARKERS, MUTED, SERIES, Drawing, as_drawing, blank, decades
from profiles.report.words import clean, number
from profiles.results import Device, Latency

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 400, 300  # px
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 18, 32, 44
_AREA, _AREA_LEAST, _AREA_MOST = 70.0, 36.0, 420.0  # px²: of a mark; of the smallest and largest artifact
_LOG_FROM = 8.0  # largest by smallest from which the axis across is logarithmic
_LABEL_PX = 11
_LABEL_MOST = 24  # characters
_BAR_HALF = 3.0  # px: half the height of an interval

Point = tuple[Item, Timing | None, bool]


def trade_offs(report: Report, device: Device | None, place: int, series: Series) -> list[Drawing]:
    """Time (without a device: size) against error, for each model and tower with two artifacts; the front is filled."""
    drawings = []
    for index, ((model, tower, _), items) in enumerate(report.groups().items()):
        points = front(report, items, device)
        if len(points) < 2:
            continue
        caption = f"{clean(model)} {tower}"
        across = "size" if device is None else f"{device.kind} time on {clean(device.name)}"
        drawings.append(_scatter(f"front-{place}-{index}", (caption, f"{caption}: {across} against error"), points, series))
    return drawings


def _scatter(name: str, titles: tuple[str, str], points: Sequence[Point], series: Series) -> Drawing:
    figure, axes = blank(_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM)
    panel = Panel(figure, axes)
    at = [(item.size_mb if timing is None else timing.p50_ms, item.shown_error or LEAST_ERROR) for item, timing, _ in points]
    _scale(axes, at, points)
    taken: list[Box] = []
    if points[0][1] is None:
        taken += _front_line(axes, [xy for xy, (_, _, best) in zip(at, points, strict=True) if best])
    largest = max(item.size_mb for item, _, _ in points) or 1.0
    marks: list[tuple[float, float, float]] = []
    said = []
    for (item, timing, best), (x, y) in zip(points, at, strict=True):
        area = _AREA if timing is None else max(_AREA_LEAST, _AREA_MOST * item.size_mb / largest)
        if timing is not None:
            taken.append(_draw_interval(axes, timing, y))
        about = _about(item, timing, best)
        said.append(Bar(name_of(item), about))
        colour = SERIES[series[item]]
        axes.scatter(
            [x],
            [y],
            s=area,
            marker=MARKERS[series[item]],
            facecolor=colour if best else CARD,
            edgecolor=colour,
            linewidth=1.6,
            zorder=3,
            gid=panel.tip(f"{panel_of(item)} {name_of(item)}: {about}"),
        )
        marks.append((*axes.transData.transform((x, y)), area**0.5 / 2))
    _label(axes, points, marks, taken)
    return as_drawing(figure, name, *titles, spoken(said), panel.tips)


def _scale(axes: Axes, at: Sequence[tuple[float, float]], points: Sequence[Point]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    across, up = zip(*at, strict=True)
    timing = points[0][1]
    word = "size, MB" if timing is None else f"median, ms{', estimated' if timing.estimated else ''}"
    axes.set(xlabel=word, yscale="log", ylim=(min(up) / 4, max(up) * 4))
    axes.text(8, _HEIGHT - 14, "1 − smallest cosine", transform=None, color=MUTED, va="center")
    decades(axes.yaxis)
    low, high = min(across), max([*across, *(interval(timing)[1] for _, timing, _ in points if timing is not None)])
    if low > 0 and high / low > _LOG_FROM:
        axes.set(xscale="log", xlim=(low / 1.5, high * 1.6))
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.minorticks_off()
    else:
        axes.set_xlim(0, 1.18 * high or 1.0)
        axes.locator_params(axis="x", nbins=6)
    axes.grid(linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines["left"].set_visible(True)


def interval(timing: Timing) -> tuple[float, float]:
    """How sure the median is, ms: the range of an estimate, or the 95 % interval of what was measured."""
    latency = timing.row.latency_ms
    return latency.median_interval if isinstance(latency, Latency) else (latency.low, latency.high)


def _draw_interval(axes: Axes, timing: Timing, y: float) -> Box:
    """The bar of an interval, and where it is in px."""
    ends = interval(timing)
    colour = INK if timing.estimated else MUTED
    axes.plot(ends, [y, y], color=colour, linewidth=1.2, zorder=2)
    axes.plot(ends, [y, y], "|", color=colour, markersize=7, zorder=2)
    (left, level), (right, _) = axes.transData.transform([(ends[0], y), (ends[1], y)])
    return left, level - _BAR_HALF, right, level + _BAR_HALF


def _front_line(axes: Axes, members: Sequence[tuple[float, float]]) -> list[Box]:
    """The steps from one member to the next, and where they are in px."""
    ordered = sorted(members)
    style = (0, (4, 3))
    axes.step([x for x, _ in ordered], [y for _, y in ordered], where="post", color=MUTED, linewidth=1.2, linestyle=style)
    boxes = []
    for (x, y), (right, below) in pairwise(axes.transData.transform(ordered)):
        boxes += [(x, y - 1, right, y + 1), (right - 1, below, right + 1, y)]
    return boxes


def _label(axes: Axes, points: Sequence[Point], marks: Sequence[tuple[float, float, float]], taken: Sequence[Box]) -> None:
    texts = [
        clean(item.artifact.scheme + (" noisy" if timing is not None and timing.noisy else ""), _LABEL_MOST)
        for item, timing, _ in points
    ]
    around = axes.get_window_extent()
    inside = (around.x0, around.y0, around.x1, around.y1)
    for text, (x, y) in zip(texts, place_labels(marks, texts, inside, taken), strict=True):
        axes.text(x, y, text, transform=None, va="center", ha="center", fontsize=_LABEL_PX, zorder=4)


def _about(item: Item, timing: Timing | None, best: bool) -> str:
    parts = [f"{number(item.size_mb)} MB", f"error {error_text(item)}"]
    if timing is not None:
        parts.append(f"{'estimated ' if timing.estimated else ''}{number(timing.p50_ms)} ms")
        parts += [timing.how] if timing.how else []
    return ", ".join([*parts, "on the Pareto front" if best else "dominated"])
