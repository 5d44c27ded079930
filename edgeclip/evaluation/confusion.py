"""Which classes are taken for which, as a table for spreadsheets or, with matplotlib, as a picture."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from edgeclip.errors import InputError, MissingPackageError, UsageError
from edgeclip.evaluation.datasets import EvaluationData
from edgeclip.evaluation.results import Row

_COLUMNS = ("artifact", "runtime", "class", "taken_for", "pictures")
_MOST_NAMED = 80  # classes whose names fit beside the picture


def check_confusion_file(path: Path, data: EvaluationData) -> None:
    """Raise UsageError or MissingPackageError before anything is computed, if that file could not be made."""
    if data.labelled is None:
        raise UsageError(f"--confusion {path}: {data.name} has captions, not classes")
    if path.suffix.lower() not in (".csv", ".png"):
        raise UsageError(f"--confusion {path}: give a file that ends in .csv or .png")
    if path.suffix.lower() == ".png" and importlib.util.find_spec("matplotlib") is None:
        raise MissingPackageError(f'--confusion {path}: needs matplotlib: pip install "edgeclip[plots]"; a .csv needs nothing')


def write_confusion(path: Path, rows: Sequence[Row]) -> None:
    """Write the confusions of all rows, one at least. Raises InputError if the file cannot be written."""
    try:
        _plot(path, rows) if path.suffix.lower() == ".png" else _table(path, rows)
    except OSError as error:
        raise InputError(f"--confusion {path}: cannot be written ({error.strerror})") from error


def _table(path: Path, rows: Sequence[Row]) -> None:
    """A line for each row, class, and class that it was taken for, where there are any; the most frequent first."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for row in rows:
            for (name, chosen), count in sorted(row.confusion.items(), key=lambda item: (-item[1], item[0])):
                writer.writerow((row.label, row.runtime, name, chosen, count))


def _plot(path: Path, rows: Sequence[Row]) -> None:
    """A matrix for each row, side by side: the share of a class's pictures (a line) that was taken for each class."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(rows[0].class_top1)
    place = {name: index for index, name in enumerate(names)}
    side = min(12.0, max(4.0, 0.16 * len(names) + 2))
    figure = Figure(figsize=(side * len(rows), side), layout="constrained")
    FigureCanvasAgg(figure)
    for column, row in enumerate(rows):
        shares = np.zeros((len(names), len(names)))
        for (name, chosen), count in row.confusion.items():
            shares[place[name], place[chosen]] = count
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
        axes = figure.add_subplot(1, len(rows), column + 1)
        drawn = axes.imshow(100 * shares, cmap="viridis", vmin=0, vmax=100)
        axes.set(title=f"{row.label} in {row.runtime}, top-1 {row.top1:.1f} %", xlabel="taken for", ylabel="class")
        if len(names) <= _MOST_NAMED:
            axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
            axes.set_yticks(range(len(names)), names, fontsize=6)
    figure.colorbar(drawn, ax=figure.axes, label="% of the class", shrink=0.8)
    figure.savefig(path, dpi=120)
