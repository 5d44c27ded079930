"""Bars per tower: how long each contender takes; edgeclip's in one colour, all others in another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from latency.results import Results, Row

_OURS, _PEER, _EDGE = "#d1495b", "#9fb3c8", "#f4f4f4"
_SECOND = 0.55  # lightness of bars with more threads: opacity
_WIDTH_IN, _ROW_IN, _HEAD_IN = 5.2, 0.21, 0.95  # inches: of a panel; per bar; for title and axis


def draw(results: Results, stem: Path) -> list[Path]:
    """Write `stem`.png and `stem`.svg -> their paths."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    cells = list(dict.fromkeys((row.model, row.tower) for row in results.rows))
    threads = list(dict.fromkeys(row.threads for row in results.rows))
    names = [name for name in dict.fromkeys(row.contender for row in results.rows) if _measured(results, name)]
    columns = min(2, len(cells))
    lines = -(-len(cells) // columns)
    height = lines * (_HEAD_IN + _ROW_IN * len(names) * len(threads))
    with mpl.rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "edgeclip"}):
        figure, axes = plt.subplots(lines, columns, figsize=(_WIDTH_IN * columns, height), squeeze=False, layout="constrained")
        for axis, cell in zip(axes.flat, cells, strict=False):
            _panel(axis, results, *cell, names, threads)
        for axis in list(axes.flat)[len(cells) :]:
            axis.set_visible(False)
        paths = [stem.with_suffix(suffix) for suffix in (".png", ".svg")]
        stem.parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)
    return paths


def _measured(results: Results, name: str) -> bool:
    return any(row.contender == name and row.latency_ms is not None for row in results.rows)


def _panel(axis: Any, results: Results, model: str, tower: str, names: list[str], threads: list[int]) -> None:
    thickness = 0.8 / len(threads)
    rows = [(k, t, results.row(model, tower, count, name)) for k, name in enumerate(names) for t, count in enumerate(threads)]
    # One very slow contender would make all others alike: its bar is cut, and its number says how long it is.
    times = sorted(row.latency_ms.p50 for _, _, row in rows if row is not None and row.latency_ms is not None)
    limit = min(times[-1], 3.0 * times[len(times) // 2]) if times else 1.0
    for k, t, row in rows:
        y = k + (t - (len(threads) - 1) / 2) * thickness
        if row is None or row.latency_ms is None:
            axis.text(limit * 0.01, y, "-", va="center", fontsize=7, color="#777777")
            continue
        _bar(axis, row, y, thickness, limit, 1.0 if t == 0 else _SECOND)
    axis.set_yticks(range(len(names)), [_label(results, name) for name in names])
    for text, name in zip(axis.get_yticklabels(), names, strict=True):
        text.set_fontweight("bold" if _is_ours(results, name) else "normal")
    axis.invert_yaxis()
    axis.set_xlim(0, limit * 1.18)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    shades = ", then ".join(f"{count} thread{'s' * (count > 1)}" for count in threads)
    axis.set_title(f"{model} {tower}", loc="left", fontsize=10)
    axis.set_xlabel(f"ms; {shades}")


def _bar(axis: Any, row: Row, y: float, thickness: float, limit: float, opacity: float) -> None:
    assert row.latency_ms is not None
    latency = row.latency_ms
    colour = _OURS if row.ours else _PEER
    cut = latency.p50 > limit
    axis.barh(y, min(latency.p50, limit), thickness, color=colour, alpha=opacity, hatch="///" if cut else None, edgecolor=_EDGE)
    if not cut:
        spread = [[latency.p50 - latency.p25], [max(0.0, min(latency.p75, limit * 1.1) - latency.p50)]]
        axis.errorbar(latency.p50, y, xerr=spread, fmt="none", ecolor="#333333", elinewidth=0.7)
    end = min(max(latency.p75, latency.p50), limit * 1.1)
    axis.text(end + limit * 0.01, y, f"{latency.p50:.3g}", va="center", fontsize=7)


def _label(results: Results, name: str) -> str:
    return next(row.label for row in results.rows if row.contender == name)


def _is_ours(results: Results, name: str) -> bool:
    return any(row.ours for row in results.rows if row.contender == name)
