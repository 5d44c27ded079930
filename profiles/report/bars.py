"""A panel of horizontal bars, each with its label above it: legible however long the names and however narrow the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from profiles.report.svg import CARD, CHARACTER_PX, INK, MUTED, SERIES, Drawing, as_drawing, blank
from profiles.report.words import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 40  # of a panel; the table below it has all
_WIDTH, _MARGIN, _ROW, _AXIS = 460, 12, 40, 44  # px: a panel, its margins, a bar with its label, the axis below
_FROM, _TO = 0.50, 0.78  # of a row: where its bar is
_ABOVE = 0.12  # of a row, from the bar to its label
_NOTE_PX = 10.5
_LABEL_LEAST = 8  # characters
_SPOKEN_MOST = 2000


@dataclass(frozen=True)
class Bar:
    """A row of a panel: what stands above it on the left and on the right, and its parts, each with its series.

    tips: one for each part. hollow: for figures that are not to be relied on as they are. whisker: a range, drawn over the
    bar, and ticks on it. note: stands in place of the parts.
    """

    label: str
    value: str
    parts: tuple[tuple[float, int], ...] = ()
    tips: tuple[str, ...] = ()
    hollow: bool = False
    whisker: tuple[float, float] | None = None
    ticks: tuple[float, ...] = ()
    note: str = ""


@dataclass
class Panel:
    """What is being drawn, and what its artists tell."""

    figure: Figure
    axes: Axes
    tips: dict[str, str] = field(default_factory=dict)

    def tip(self, text: str) -> str:
        """A new id for an artist that tells this."""
        identifier = f"tip-{len(self.tips)}"
        self.tips[identifier] = clean(text)
        return identifier


def row_panel(axis: str, rows: int) -> Panel:
    """An empty panel for that many rows; its y axis counts rows from the top."""
    figure, axes = blank(_WIDTH, _ROW * rows + _AXIS + _MARGIN, _MARGIN, _MARGIN, _MARGIN, _AXIS)
    axes.set(ylim=(rows, 0), xlabel=axis)
    axes.set_yticks([])
    axes.grid(axis="x", linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    return Panel(figure, axes)


def middle_of(index: int) -> float:
    """Where the bar of a row is."""
    return index + (_FROM + _TO) / 2


def head(panel: Panel, index: int, label: str, value: str) -> None:
    """What stands above a row: its label, cut to what its value leaves of the width, and its value."""
    room = int((_WIDTH - 2 * _MARGIN) / CHARACTER_PX) - len(value) - 2
    height, beside = index + _FROM - _ABOVE, panel.axes.get_yaxis_transform()
    panel.axes.text(0, height, clean(label, max(_LABEL_LEAST, room)), transform=beside, va="baseline")
    panel.axes.text(1, height, value, transform=beside, va="baseline", ha="right")


def bars(name: str, caption: str, title: str, axis: str, rows: Sequence[Bar], limit: float) -> Drawing:
    """Bars from 0 to `limit`; what is longer is cut there. name: begins the ids of the element."""
    rows = rows[:MOST_ROWS]
    panel = row_panel(axis, len(rows))
    panel.axes.set_xlim(0, limit)
    panel.axes.locator_params(axis="x", nbins=6)
    for index, row in enumerate(rows):
        head(panel, index, row.label, row.value)
        _parts(panel, row, index, limit)
        _range(panel.axes, row, middle_of(index), limit)
    return as_drawing(panel.figure, name, caption, title, spoken(rows), panel.tips)


def _parts(panel: Panel, row: Bar, index: int, limit: float) -> None:
    axes, start = panel.axes, 0.0
    if row.note:
        beside = axes.get_yaxis_transform()
        axes.text(0, middle_of(index), row.note, va="center", color=MUTED, fontsize=_NOTE_PX, transform=beside)
    for (length, series), tip in zip(row.parts, row.tips, strict=True):
        shown = min(length, limit - start)
        gap = 0.8 if len(row.parts) > 1 else 0.0
        style: dict[str, Any] = {"facecolor": SERIES[series], "edgecolor": CARD, "linewidth": gap}
        if row.hollow:
            style = {"facecolor": "none", "edgecolor": SERIES[series], "linewidth": 1.6, "linestyle": (0, (3, 2))}
        axes.barh(index + _FROM, shown, _TO - _FROM, left=start, align="edge", gid=panel.tip(tip), **style)
        start += shown


def _range(axes: Axes, row: Bar, height: float, limit: float) -> None:
    inside = [tick for tick in row.ticks if tick <= limit]
    axes.plot(inside, [height] * len(inside), "|", color=INK, markersize=5, markeredgewidth=1.3)
    if row.whisker is None:
        return
    low, high = (min(end, limit) for end in row.whisker)
    axes.plot([low, high], [height, height], color=INK, linewidth=1.3, solid_capstyle="butt")
    ends = [end for end in row.whisker if end <= limit]
    axes.plot(ends, [height] * len(ends), "|", color=INK, markersize=9, markeredgewidth=1.3)
    if row.whisker[1] > limit:
        axes.plot([limit], [height], ">", color=INK, markersize=5, clip_on=False)


def spoken(rows: Sequence[Bar]) -> str:
    """What a screen reader says in place of the picture."""
    return clean("; ".join(f"{row.label}: {row.value}{f', {row.note}' if row.note else ''}" for row in rows), _SPOKEN_MOST)
