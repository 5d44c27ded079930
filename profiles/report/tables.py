"""The tables of a report, the same for HTML and Markdown: cells with what they show and what they sort by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from profiles.report.gather import Item, Report, Shown, Timing, front
from profiles.report.words import clean, number, plural, span
from profiles.results import BudgetLine, Device, EstimatedRow, MeasuredRow

_DETAILS_SHOWN = 12
_OPS_SHOWN = 6
_TIMES_SHOWN = 12  # kinds of operations of an artifact, by time


@dataclass(frozen=True)
class Cell:
    """text: as shown; order: a number to sort by in place of the text, None sorts last. flags: labels beside the text.

    state: `good`, `bad` or nothing; link: an https address.
    """

    text: str
    order: float | None = None
    flags: tuple[str, ...] = ()
    state: str = ""
    link: str = ""


@dataclass(frozen=True)
class Column:
    """number: its cells are right-aligned and sort by their `order`. name: its cells are short and stay on one line.

    flags: what holds for all its figures.
    """

    title: str
    number: bool = False
    name: bool = False
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """identifier: of its element. caption: what it shows, and what its words mean."""

    identifier: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


_NONE = Cell("–")


def _number(value: float | None, text: str = "") -> Cell:
    return _NONE if value is None else Cell(text or number(value), float(value))


def _columns(*titles: str) -> tuple[Column, ...]:
    """`#` in front of those with numbers."""
    return tuple(Column(title.removeprefix("#"), title.startswith("#"), title in _NAMES) for title in titles)


_ARTIFACT = ("model", "tower", "target", "scheme")
_NAMES = ("bundle", *_ARTIFACT, "device", "verify", "runtime", "setting", "severity", "rule", "median interval", "range")


def _artifact(report: Report, item: Item) -> tuple[Cell, ...]:
    """What an artifact is; with its bundle where there are several."""
    entry = item.artifact
    cells = (Cell(item.model), Cell(entry.tower), Cell(item.where), Cell(entry.scheme))
    return (Cell(item.bundle), *cells) if len(report.bundles) > 1 else cells


def _artifact_columns(report: Report) -> tuple[str, ...]:
    return ("bundle", *_ARTIFACT) if len(report.bundles) > 1 else _ARTIFACT


_VERDICTS = {True: Cell("passed", 2.0, state="good"), False: Cell("FAILED", 0.0, state="bad")}


def verdict(item: Item) -> Cell:
    """Whether an artifact was proven."""
    if item.passed is not None:
        return _VERDICTS[item.passed]
    return Cell("not run", 1.0) if item.checks else Cell("not verified", 1.0)


def overview(report: Report) -> Table:
    """One line an artifact, one column a device: models x schemes x targets x devices."""
    devices = report.devices
    fronts = {id(item) for items in report.groups().values() for item in on_front(report, items, devices)}
    timed = tuple(Column(f"{clean(device.id, 40)}, ms", number=True, flags=device_flags(device)) for device in devices)
    columns = (*_columns(*_artifact_columns(report), "#MB", "#smallest cosine", "verify"), *timed, *_columns("front"))
    rows = []
    for item in report.items:
        check = item.worst
        cosine = None if check is None else check.cosine_min
        times = [_best(report, item, device) for device in devices]
        star = Cell("★", 1.0) if id(item) in fronts else Cell("", 0.0)
        size = _number(item.size_mb)
        rows.append((*_artifact(report, item), size, _number(cosine, _cosine(cosine)), verdict(item), *times, star))
    caption = (
        "Every artifact. Times are medians of the fastest setting on each device, in milliseconds;"
        " ★: on the Pareto front of its model and tower: of size and error, and where several were timed of time."
    )
    return Table("overview", caption, columns, tuple(rows))


def on_front(report: Report, items: Sequence[Item], devices: Sequence[Device]) -> Iterator[Item]:
    """Artifacts that are on the front of any device; where none has two to compare, on that of size and error."""
    fronts = [found for device in devices if len(found := front(report, items, device)) > 1]
    for found in fronts or [front(report, items, None)]:
        yield from (item for item, _, best in found if best)


def _device(device: Device) -> str:
    """A device's id with what has to stand beside it."""
    return clean(device.id, 40) + "".join(f" ({flag})" for flag in device_flags(device))


def device_flags(device: Device) -> tuple[str, ...]:
    """What holds for every figure of a device."""
    return tuple(word for word, holds in (("estimated", device.kind == "estimated"), ("emulated", device.emulated)) if holds)


def _best(report: Report, item: Item, device: Device) -> Cell:
    timing = report.best(item, device)
    references = [timing for timing in report.on(device) if timing.item is item]
    timing = timing or min(references, key=Timing.preference, default=None)
    if timing is None:
        return _NONE
    latency = timing.row.latency_ms
    text = number(latency.p50)
    if isinstance(timing.row, EstimatedRow):
        text = f"{text} ({span(timing.row.latency_ms.low, timing.row.latency_ms.high)})"
    return Cell(text, latency.p50, tuple(flag for flag in timing.flags if flag not in device_flags(device)))


def _cosine(value: float | None) -> str:
    return "" if value is None else f"{value:.7f}"


def bundles(report: Report) -> Table:
    """Where weights come from and what may be done with them."""
    columns = _columns("bundle", "model", "weights", "licence", "embedding space", "#image, px", "#values", "tools")
    return Table("bundles", "Bundles and the weights in them.", columns, tuple(map(_bundle, report.bundles)))


def _bundle(shown: Shown) -> tuple[Cell, ...]:
    manifest = shown.manifest
    licence = manifest.weights.licence
    use = "commercial use allowed" if licence.commercial_use else "no commercial use"
    return (
        Cell(shown.name),
        Cell(manifest.model),
        Cell(manifest.weights.source),
        Cell(f"{licence.name} ({use})", link=_https(licence.url), state="" if licence.commercial_use else "bad"),
        Cell(manifest.embedding.space_id),
        _number(manifest.image.size, str(manifest.image.size)),
        _number(manifest.embedding.dim, str(manifest.embedding.dim)),
        Cell(", ".join(f"{name} {version}" for name, version in manifest.tools.items())),
    )


def _https(address: str) -> str:
    return address if address.startswith("https://") else ""


def checks(report: Report) -> Table:
    """What `verify` found, of every runtime."""
    numbers = ("#samples", "#smallest cosine", "#allowed", "#mean cosine", "#largest error", "#rank agreement")
    columns = _columns(*_artifact_columns(report), "runtime", *numbers, "result")
    rows = []
    for item in report.items:
        for check in item.checks:
            state = {True: _VERDICTS[True], False: Cell("FAILED", 0.0, state="bad"), None: Cell("not run", 1.0)}[check.passed]
            why = check.error or ", ".join(name.replace("_", " ") for name in check.failures)
            result = Cell(f"{state.text}: {why}" if why else state.text, state.order, state=state.state)
            rows.append(
                (
                    *_artifact(report, item),
                    Cell(check.runtime if check.mode == "native" else f"{check.runtime} {check.mode}"),
                    _number(check.samples, str(check.samples)),
                    _number(check.cosine_min, _cosine(check.cosine_min)),
                    _number(check.threshold.cosine_min, f"{check.threshold.cosine_min:.7g}"),
                    _number(check.cosine_mean, _cosine(check.cosine_mean)),
                    _number(check.max_abs_error, "" if check.max_abs_error is None else f"{check.max_abs_error:.1e}"),
                    _number(check.rank_agreement, "" if check.rank_agreement is None else f"{check.rank_agreement:.4f}"),
                    result,
                )
            )
    caption = (
        "Embeddings of the artifacts against those of the torch original. Cosines: of an embedding with its original, over all"
        " samples; largest error: of one component; rank agreement: share of candidate pairs that a query orders alike."
    )
    return Table("checks", caption, columns, tuple(rows))


def measured(report: Report) -> Table:
    """Every measurement."""
    numbers = ("#p50", "median interval", "#p90", "#p99", "#min", "#n", "#cold load", "#warm load", "#first", "#peak MB")
    columns = _columns(*_artifact_columns(report), "device", "setting", *numbers, "noisy because")
    rows = []
    for timing in report.timings:
        if not isinstance(timing.row, MeasuredRow):
            continue
        row, latency = timing.row, timing.row.latency_ms
        figures = (latency.p90, latency.p99, latency.min)
        noisy = Cell("; ".join(row.noisy) or "–")
        rows.append(
            (
                *_artifact(report, timing.item),
                Cell(_device(timing.device)),
                Cell(timing.how),
                Cell(number(latency.p50), latency.p50, timing.flags),
                Cell(span(*latency.median_interval)),
                *map(_number, figures),
                _number(latency.n, str(latency.n)),
                *map(_number, (row.load_cold_ms, row.load_warm_ms, row.first_ms, row.peak_memory_mb)),
                noisy,
            )
        )
    caption = "Measured latencies and loading times in milliseconds; the interval is that of the median, at 95 % confidence."
    return Table("measured", caption, columns, tuple(rows))


def estimated(report: Report) -> Table:
    """Every estimate."""
    numbers = ("#estimated p50", "range", "#estimated cold load", "#mean error, %", "#worst error, %")
    columns = _columns(*_artifact_columns(report), "device", *numbers, "bound by")
    rows = []
    for timing in report.timings:
        if not isinstance(timing.row, EstimatedRow):
            continue
        row = timing.row
        causes = sorted(row.bounds.items(), key=lambda bound: -bound[1])
        rows.append(
            (
                *_artifact(report, timing.item),
                Cell(_device(timing.device)),
                Cell(number(row.latency_ms.p50), row.latency_ms.p50, timing.flags),
                Cell(span(row.latency_ms.low, row.latency_ms.high)),
                _number(row.load_cold_ms),
                *map(_number, row.error_percent),
                Cell(", ".join(f"{name} {number(ms)} ms" for name, ms in causes) or "–"),
            )
        )
    caption = (
        "Estimated, not measured: predictions in milliseconds. The range is by the estimator's own errors, where it could be"
        " checked; of a device that is scaled from another nothing checks it, and they are assumed."
    )
    return Table("estimated", caption, columns, tuple(rows))


def operations(report: Report) -> Table:
    """What is inside artifacts and who runs it."""
    columns = _columns(
        *_artifact_columns(report), "#operations", "#bits a weight", "#delegated, %", "delegates", "most frequent"
    )
    rows = []
    for item in report.items:
        if not item.contents:
            continue
        counts = item.contents["ops"]
        most = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        rest = f", {plural(len(most) - _OPS_SHOWN, 'other kind')}" if len(most) > _OPS_SHOWN else ""
        share = item.artifact.delegated_percent
        rows.append(
            (
                *_artifact(report, item),
                _number(sum(counts.values()), str(sum(counts.values()))),
                _number(item.contents.get("bits_per_weight")),
                _number(share),
                Cell(", ".join(f"{count} × {clean(name, 40)}" for name, count in item.artifact.delegates.items()) or "–"),
                Cell(", ".join(f"{count} × {clean(name, 40)}" for name, count in most[:_OPS_SHOWN]) + rest),
            )
        )
    return Table("operations", "Operations in the artifacts, and the delegates that take them.", columns, tuple(rows))


_SEVERITY = {"error": Cell("error", 0.0, state="bad"), "warning": Cell("warning", 1.0)}
_PLACES = {
    "whole": "all on the Neural Engine",
    "lookup": "all but the token lookup on the Neural Engine",
    "split": "split between the Neural Engine and the CPU",
    "none": "nothing of weight on the Neural Engine",
}


def placement(report: Report) -> Table:
    """The Neural Engine's verdict on each Core ML artifact."""
    columns = _columns(
        *_artifact_columns(report), "#on it", "#operations", "#multiply-adds, %", "#switches", "by rule", "rewritten by"
    )
    rows = []
    for item, found in _placed(report):
        summary = found["summary"]
        options = dict.fromkeys(remedy["option"] for remedy in summary["remedies"])
        rows.append(
            (
                *_artifact(report, item),
                _number(summary["ops_eligible"], str(summary["ops_eligible"])),
                _number(summary["ops"], str(summary["ops"])),
                _number(summary["macs_eligible_percent"]),
                _number(len(summary["segments"]) - 1, str(len(summary["segments"]) - 1)),
                Cell(_PLACES.get(summary["verdict"], summary["verdict"])),
                Cell(", ".join(options) or "–"),
            )
        )
    caption = (
        "Where the operations of Core ML artifacts run, by published rules; a switch hands tensors from one unit to another."
    )
    return Table("placement", caption, columns, tuple(rows))


def findings(report: Report) -> Table:
    """What keeps operations from the Neural Engine or slows them there, by rule."""
    columns = _columns(*_artifact_columns(report), "severity", "rule", "#count", "operations", "why", "source")
    rows = []
    for item, found in _placed(report):
        for group in found["summary"]["findings"]:
            kinds = ", ".join(f"{count} × {clean(name, 40)}" for name, count in list(group["ops"].items())[:_OPS_SHOWN])
            rest = ", …" if len(group["ops"]) > _OPS_SHOWN else ""
            source = group["source"]
            rows.append(
                (
                    *_artifact(report, item),
                    _SEVERITY[group["severity"]],
                    Cell(group["rule"]),
                    _number(group["count"], str(group["count"])),
                    Cell(kinds + rest),
                    Cell(group["says"]),
                    Cell(source["short"], link=_https(source["url"])),
                )
            )
    return Table(
        "findings", "Findings by rule. An error stays on the CPU; a warning runs, but not at its best.", columns, tuple(rows)
    )


def left(report: Report) -> Table:
    """Operations that no delegate of ExecuTorch took."""
    columns = _columns(*_artifact_columns(report), "operation", "#count", "why")
    rows = [
        (*_artifact(report, item), Cell(rest.op), _number(rest.count, str(rest.count)), Cell(rest.why))
        for item in report.items
        for rest in item.artifact.left
    ]
    return Table("left", "Operations that no delegate took, and the partitioner's reason.", columns, tuple(rows))


def operator_times(report: Report) -> Table:
    """Time by kind of operation."""
    columns = _columns(*_artifact_columns(report), "device", "setting", "operation", "#ms", "#share, %")
    rows = []
    for timing in report.timings:
        spent = sorted(timing.row.operators_ms.items(), key=lambda entry: (-entry[1], entry[0]))
        total = sum(ms for _, ms in spent) or 1.0
        for kind, ms in spent[:_TIMES_SHOWN]:
            cells = (Cell(_device(timing.device)), Cell(timing.how or "–"), Cell(kind))
            rows.append(
                (*_artifact(report, timing.item), *cells, Cell(number(ms), ms, timing.flags), _number(100 * ms / total))
            )
    caption = f"Time by kind of operation, at most {_TIMES_SHOWN} of an artifact; the share is of all its operations."
    return Table("operator-times", caption, columns, tuple(rows))


def devices(report: Report) -> Table:
    """What the figures are of."""
    columns = _columns("bundle", "device", "name", "figures", "details", "tools", "not run")
    rows = []
    for shown in report.bundles:
        for profile in shown.profiles:
            device = profile.device
            details = [f"{clean(str(name), 40)}: {clean(str(value), 80)}" for name, value in device.details.items()]
            more = [f"{len(details) - _DETAILS_SHOWN} more"] if len(details) > _DETAILS_SHOWN else []
            flags = ("emulated",) if device.emulated else ()
            rows.append(
                (
                    Cell(shown.name),
                    Cell(device.id),
                    Cell(device.name),
                    Cell(device.kind, flags=flags),
                    Cell("; ".join(details[:_DETAILS_SHOWN] + more) or "–"),
                    Cell(", ".join(f"{name} {version}" for name, version in profile.tools.items()) or "–"),
                    Cell("; ".join(f"{name}: {why}" for name, why in profile.not_run.items()) or "–"),
                )
            )
    return Table("devices", "Devices: where times were measured or estimated.", columns, tuple(rows))


def budgets(report: Report) -> Table:
    """What was to be held, and whether it was."""
    columns = _columns("bundle", "device", "limit", "#at most", "#found", "unit", "artifacts", "result")
    rows = []
    for shown in report.bundles:
        for profile in shown.profiles:
            rows += [(Cell(shown.name), Cell(_device(profile.device)), *_budget(line)) for line in profile.budget or ()]
    return Table("budgets", "Budgets of the last profile.", columns, tuple(rows))


def _budget(line: BudgetLine) -> Iterable[Cell]:
    result = _VERDICTS[line.passed]
    return Cell(line.limit), _number(line.most), _number(line.found), Cell(line.unit), Cell(", ".join(line.rows)), result


def _placed(report: Report) -> Iterator[tuple[Item, dict[str, Any]]]:
    for item in report.items:
        if found := item.contents.get("neural_engine"):
            yield item, found
