"""The report as Markdown, for a pull request: the overview, the failures and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from edgeclip.progress import Progress, silent
from profiles.report import tables
from profiles.report.document import Document, summary
from profiles.report.gather import Report, gather
from profiles.report.tables import Cell, Table
from profiles.report.words import clean, plural

_SPECIAL = "\\`*_[]|~"
_CALLING = "@#"  # of people and of issues; escaped ones still do, so that an invisible character has to follow
_JOINER = "\u2060"


def document(paths: Sequence[Path], progress: Progress = silent, operations: bool = True) -> Document:
    """Bundles as a Markdown document."""
    report = gather(paths, progress, operations)
    return Document(render(report), summary(report))


def render(report: Report) -> str:
    """GitHub-flavoured Markdown. Names from files can neither close a cell nor become markup."""
    verified = sum(item.passed is True for item in report.items)
    failed = [item for item in report.items if item.passed is False]
    counts = [
        plural(len(report.items), "artifact"),
        f"{verified} verified",
        *([f"**{len(failed)} FAILED**"] if failed else []),
        plural(len(report.devices), "device"),
    ]
    parts = ["### edgeclip report", f"{', '.join(counts)}."]
    parts.append(_table(tables.overview(report)))
    if any(timing.estimated for timing in report.timings):
        parts.append("_Times marked estimated were predicted, not measured; the range is the estimator's own error._")
    budgets = tables.budgets(report)
    if budgets.rows:
        parts.append(_table(budgets))
    details = [table for table in (tables.checks(report), tables.measured(report), tables.estimated(report)) if table.rows]
    details += [table for table in (tables.placement(report), tables.left(report)) if table.rows]
    parts += [
        f"<details><summary>{escape(table.caption, quote=False)}</summary>\n\n{_rows(table)}\n\n</details>" for table in details
    ]
    notes = [f"- stale, not shown: {_escaped(note)} ({_escaped(s.name)})" for s in report.bundles for note in s.stale]
    notes += [f"- to add to this report: {_code(command)}" for shown in report.bundles for command in shown.missing]
    if notes:
        parts.append("\n".join(notes))
    return "\n\n".join(parts) + "\n"


def _table(table: Table) -> str:
    return f"{_rows(table)}\n\n{_escaped(table.caption, len(table.caption))}"


def _rows(table: Table) -> str:
    header = ["".join((_escaped(column.title), *(f" _{flag}_" for flag in column.flags))) for column in table.columns]
    rule = ["---:" if column.number else "---" for column in table.columns]
    lines = [header, rule, *([_cell(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    text = _escaped(cell.text)
    text = f"**{text}**" if cell.state == "bad" and text else text
    return text + "".join(f" _{flag}_" for flag in cell.flags)


def _escaped(text: str, most: int = 160) -> str:
    return "".join(_plain(letter) for letter in clean(text, most))


def _plain(letter: str) -> str:
    if letter in "<>&":
        return escape(letter)
    return f"\\{letter}" if letter in _SPECIAL else letter + _JOINER * (letter in _CALLING)


def _code(text: str) -> str:
    """As code; backticks inside would end it."""
    return f"`{clean(text, 400).replace('`', chr(39))}`"
