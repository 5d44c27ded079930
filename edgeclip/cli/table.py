"""Plain tables for terminals and pipes: columns as wide as their content, no colour, nothing cut off."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import click


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows under a header; columns in `right` are right-aligned."""
    widths = [max(width(row[k]) for row in (header, *rows)) for k in range(len(header))]
    for row in (header, tuple("-" * w for w in widths), *rows):
        cells = []
        for k, cell in enumerate(row):
            padding = " " * (widths[k] - width(cell))
            cells.append(padding + cell if k in right else cell + padding)
        click.echo("  ".join(cells).rstrip())


def width(text: str) -> int:
    """Columns a text takes on a terminal: wide East Asian characters take two, combining marks none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)
