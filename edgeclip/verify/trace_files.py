"""The values of a package beside torch's, as a table for spreadsheets and, with matplotlib, as a picture."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgeclip.errors import InputError
from edgeclip.verify.traced import Localization, Statistics, TracedOp

PLOT_PACKAGE = "matplotlib"
_NUMBERS = [field.name for field in fields(Statistics) if field.name != "shape"]
_COLUMNS = (
    "index",
    "op",
    "op_type",
    "layer",
    "torch_op",
    "shape",
    *(f"{side}_{number}" for side in ("original", "converted") for number in _NUMBERS),
    "relative_error",
    "input_relative_error",
    "added_error",
    "floor",
    "cosine",
    "diverges",
    "first_divergence",
)


def can_plot() -> bool:
    """Whether pictures are drawn."""
    return importlib.util.find_spec(PLOT_PACKAGE) is not None


def write_trace(folder: Path, stem: str, title: str, traced: Localization) -> list[Path]:
    """Write `STEM.csv`, and `STEM.png` where matplotlib is installed; returns what was written.

    The table has one row a value, in the program's order; a field is empty where torch has no counterpart. Raises InputError
    if the folder cannot be written.
    """
    table = folder / f"{stem}.csv"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            first = traced.first.op if traced.first else None
            writer.writerows(_cells(op, first=op.op == first) for op in traced.ops)
        return [table, *([_plot(folder / f"{stem}.png", title, traced)] if can_plot() else [])]
    except OSError as error:
        raise InputError(f"--trace {folder}: cannot be written ({error.strerror})") from error


def _cells(op: TracedOp, first: bool) -> dict[str, Any]:
    cells = {name: getattr(op, name) for name in _COLUMNS if hasattr(op, name)}
    cells["shape"] = "x".join(map(str, op.converted.shape))
    for side, statistics in (("original", op.original), ("converted", op.converted)):
        for number in _NUMBERS:
            cells[f"{side}_{number}"] = getattr(statistics, number, None)
    return {**cells, "diverges": int(op.diverges), "first_divergence": int(first)}


def _plot(path: Path, title: str, traced: Localization) -> Path:
    """Errors along the depth, on a logarithmic axis; errors of 0 are not drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    compared = [op for op in traced.ops if op.relative_error or op.added_error]
    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = [op.index for op in compared]
    axes.semilogy(places, [op.relative_error or None for op in compared], ".-", label="error so far")
    axes.semilogy(places, [op.added_error or None for op in compared], ".", label="added by the operation itself")
    axes.semilogy(places, [op.floor for op in compared], "--", linewidth=0.8, label="explained by the scheme")
    wrong = [op for op in compared if op.diverges]
    axes.semilogy([op.index for op in wrong], [op.added_error for op in wrong], "rx", label="diverges")
    for op in wrong[:1]:
        axes.annotate(f"{op.op}\n{op.layer}", (op.index, op.added_error or 1.0), fontsize=8)
    axes.set(title=title, xlabel="operation", ylabel="relative error")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    return path
