"""The report as one HTML page that needs nothing else: no network, no file beside it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeclip.progress import Progress, silent
from profiles.report import plots, scatter, stacks, tables
from profiles.report.document import Document, summary
from profiles.report.gather import Report, gather
from profiles.report.names import Series
from profiles.report.svg import MARKERS, Drawing, theme
from profiles.report.tables import Table
from profiles.report.words import clean, number, plural

# Markers in the legend, in a box of 16: the shapes of `profiles.report.svg.MARKERS`.
_SHAPES = {
    "o": "M8 3a5 5 0 1 0 0 10a5 5 0 1 0 0-10z",
    "s": "M3.5 3.5h9v9h-9z",
    "^": "M8 3l5.5 10h-11z",
    "D": "M8 2l6 6l-6 6l-6-6z",
    "P": "M6 3h4v3h3v4h-3v3h-4v-3h-3v-4h3z",
    "X": "M5 3l3 3l3-3l2 2l-3 3l3 3l-2 2l-3-3l-3 3l-2-2l3-3l-3-3z",
    "v": "M8 13l5.5-10h-11z",
    "p": "M8 2.5l5.6 4.1l-2.1 6.6h-7l-2.1-6.6z",
}

_NAMED = 2  # bundles by their names in the heading


@dataclass(frozen=True)
class Entry:
    """A line of a legend: its name, its colour's number and its shape, empty for an area."""

    name: str
    series: int
    shape: str = ""


@dataclass(frozen=True)
class Group:
    """Drawings that share a heading, a note and a legend. flags: what holds for all figures in it."""

    title: str
    drawings: tuple[Drawing, ...]
    note: str = ""
    flags: tuple[str, ...] = ()
    legend: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the page. empty: what to say where there is nothing to show; legend: of all its groups."""

    identifier: str
    title: str
    groups: tuple[Group, ...]
    tables: tuple[Table, ...]
    empty: str = ""
    note: str = ""
    legend: tuple[Entry, ...] = ()


def document(paths: Sequence[Path], progress: Progress = silent, operations: bool = True) -> Document:
    """Bundles as one HTML page."""
    report = gather(paths, progress, operations)
    with progress("drawing"):
        return Document(render(report), summary(report))


def render(report: Report) -> str:
    """The same report gives the same bytes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("profiles.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_final,
    )
    script = _source(environment, "script.js")
    with theme():
        sections = [section for section in _sections(report) if section.groups or section.tables or section.empty]
    return environment.get_template("report.html").render(
        title=_title(report),
        tiles=_tiles(report),
        shapes=_SHAPES,
        overview=tables.overview(report),
        sections=sections,
        bundles=report.bundles,
        style=_source(environment, "style.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _title(report: Report) -> str:
    names = [shown.name for shown in report.bundles]
    if len(names) <= _NAMED:
        return ", ".join(names)
    found = ", ".join(dict.fromkeys(item.model for item in report.items))
    return f"{plural(len(names), 'bundle')} of {found}"


def _final(value: Any) -> Any:
    """What templates print: plain text from files is made printable; markup and numbers stay."""
    return clean(value, 4000) if type(value) is str else value


def _source(environment: Any, name: str) -> Any:
    """A file of this package as it is, not a template."""
    from markupsafe import Markup

    return Markup(environment.loader.get_source(environment, name)[0])


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """(figure, what it is, `bad` or nothing) for the top of the page."""
    passed = sum(item.passed is True for item in report.items)
    failed = sum(item.passed is False for item in report.items)
    verified = f"{failed} of {len(report.items)} FAILED" if failed else f"{passed} of {len(report.items)}"
    measured = sum(device.kind == "measured" for device in report.devices)
    estimated = len(report.devices) - measured
    megabytes = [item.size_mb for item in report.items] or [0.0]
    models = dict.fromkeys(item.model for item in report.items)
    return [
        (str(len(report.items)), f"artifacts of {plural(len(models), 'model')}", ""),
        (verified, "verified against torch", "bad" if failed else ""),
        (f"{number(min(megabytes))} – {number(max(megabytes))}", "MB an artifact", ""),
        (f"{measured} + {estimated}", "devices measured + estimated", ""),
    ]


def _sections(report: Report) -> list[Section]:
    series = Series(report.items)
    targets = tuple(Entry(name, series.of(name), MARKERS[series.of(name)]) for name in series.names)
    return [
        _trade_offs(report, series, targets),
        _latency(report, series, targets),
        Section("size", "Size", _groups("", plots.sizes(report, series)), (), legend=targets),
        _errors(report, series, targets),
        _operations(report),
        Section("details", "Devices and bundles", (), _details(report)),
    ]


def _details(report: Report) -> tuple[Table, ...]:
    return _filled(tables.budgets(report), tables.devices(report), tables.bundles(report))


def _filled(*found: Table) -> tuple[Table, ...]:
    return tuple(table for table in found if table.rows)


def _groups(title: str, drawings: Sequence[Drawing], note: str = "", flags: Sequence[str] = ()) -> tuple[Group, ...]:
    return (Group(title, tuple(drawings), note, tuple(flags)),) if drawings else ()


def _trade_offs(report: Report, series: Series, targets: tuple[Entry, ...]) -> Section:
    note = (
        "Towards the lower left is better. Filled: on the Pareto front, which means that nothing else is at least as good in"
        " everything and better in something. Errors below 10⁻⁸ are float32's rounding and count as that."
    )
    said = {
        "measured": "The area of a mark is the size in MB; the bar is the 95 % interval of the median.",
        "estimated": "The area of a mark is the size in MB; the bar is the estimate's range, the front that of its medians.",
    }
    groups: list[Group] = []
    for index, device in enumerate(report.devices):
        drawings = scatter.trade_offs(report, device, index, series)
        groups += _groups(f"Time, size and error: {device.name}", drawings, said[device.kind], tables.device_flags(device))
    sizes = scatter.trade_offs(report, None, len(report.devices), series)
    groups += _groups("Size and error", sizes, "The dashed line is the front.")
    if not groups:
        empty = "Nothing to choose from yet: a model's tower needs two verified artifacts, such as two schemes."
        return Section("front", "Trade-offs", (), (), empty)
    return Section("front", "Trade-offs", tuple(groups), (), note=note, legend=targets)


def _latency(report: Report, series: Series, targets: tuple[Entry, ...]) -> Section:
    said = {
        "measured": "A dashed bar is of a noisy run, not to be relied on; the table says why.",
        "estimated": "Predictions of a model of the device. The whisker is the range that the model's own errors give.",
    }
    groups: list[Group] = []
    for index, device in enumerate(report.devices):
        drawings = plots.latencies(report, device, index, series)
        groups += _groups(device.name, drawings, said[device.kind], tables.device_flags(device))
    found = _filled(tables.measured(report), tables.estimated(report))
    if not groups:
        return Section("latency", "Latency", (), found, "No times yet.")
    return Section("latency", "Latency", tuple(groups), found, legend=targets)


def _errors(report: Report, series: Series, targets: tuple[Entry, ...]) -> Section:
    groups = _groups("", plots.errors(report, series))
    found = _filled(tables.checks(report))
    if not groups:
        return Section("error", "Error", (), found, "Nothing verified yet.")
    note = "Further left is better; the upright mark is what the scheme allows."
    return Section("error", "Error", groups, found, note=note, legend=targets)


def _operations(report: Report) -> Section:
    groups: list[Group] = []
    if placed := stacks.placements(report):
        groups.append(_stacked(placed, "By published rules for Apple's Neural Engine; Core ML decides on the device."))
    for index, device in enumerate(report.devices):
        flags = tables.device_flags(device)
        groups += [_stacked(times, "", flags) for times in stacks.operator_times(report, device, index)]
    found = _filled(
        tables.placement(report),
        tables.findings(report),
        tables.left(report),
        tables.operations(report),
        tables.operator_times(report),
    )
    empty = "" if groups or found else "Left out: run without --no-ops, and profile, to see them."
    return Section("operations", "Operations", tuple(groups), found, empty)


def _stacked(found: stacks.Stacks, note: str, flags: tuple[str, ...] = ()) -> Group:
    return Group(found.title, found.drawings, note, flags, tuple(Entry(kind, series) for kind, series in found.kinds))
