"""Results as text: for the console, and between the README's markers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from latency.results import Results, Row
from markers import put

MARKERS = ("<!-- latency: benchmarks/latency_vs_peers.py -->", "<!-- end of latency -->")
BASELINE = "straight"  # ratios are to this contender
BUSY_SLACK = 0.15  # of a thread: what else the process does, and the clocks' grain


def console(results: Results) -> Iterator[str]:
    """Every row with all that was measured."""
    head = ("model", "tower", "thr", "contender", "p25", "p50 ms", "p75", "min", "x", "busy", "cosine", "MB")
    lines = [head, *(_detail(results, row) for row in results.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        yield "  ".join(
            text.ljust(width) if k < 4 else text.rjust(width) for k, (text, width) in enumerate(zip(line, widths, strict=True))
        )
    yield ""
    for row in results.rows:
        if row.failed:
            yield f"{row.model} {row.tower}, {row.threads} thread(s): {row.label}: {row.failed}"
        elif warning := busy_warning(row):
            yield f"{row.model} {row.tower}, {row.threads} thread(s): {row.label}: {warning}"
    yield from _conditions(results)


def _detail(results: Results, row: Row) -> tuple[str, ...]:
    latency = row.latency_ms
    times = ("-",) * 4 if latency is None else tuple(f"{ms:.2f}" for ms in (latency.p25, latency.p50, latency.p75, latency.min))
    return (
        row.model,
        row.tower,
        str(row.threads),
        row.label,
        *times,
        _times(speedup(results, row)),
        "-" if row.busy_threads is None else f"{row.busy_threads:.2f}",
        "-" if row.cosine_min is None else f"{row.cosine_min:.6f}",
        "-" if row.size_bytes is None else f"{row.size_bytes / 1e6:.1f}",
    )


def speedup(results: Results, row: Row) -> float | None:
    """How many times faster than the straight export the median is."""
    base = results.row(row.model, row.tower, row.threads, BASELINE)
    if base is None or base.latency_ms is None or row.latency_ms is None:
        return None
    return base.latency_ms.p50 / row.latency_ms.p50


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def busy_warning(row: Row) -> str | None:
    """What is wrong with the number of threads, if more were at work than were asked for."""
    if row.busy_threads is None or row.busy_threads <= row.threads + BUSY_SLACK:
        return None
    return f"{row.busy_threads:.2f} threads were at work where {row.threads} was set"


def markdown(results: Results) -> Iterator[str]:
    """One table per number of threads, then why cells are empty, and the conditions."""
    reasons: dict[str, int] = {}
    for threads in dict.fromkeys(row.threads for row in results.rows):
        yield from _table(results, threads, reasons)
        yield ""
    yield (
        "Median milliseconds of one inference, batch 1, and in brackets how many times faster than ExecuTorch's straight"
        " export; cosine: the smallest with torch, over all towers."
    )
    yield ""
    for why, number in reasons.items():
        yield f"- [{number}] {why}"
    for label, note in results.notes.items():
        yield f"- {label}: {note}"
    yield ""
    yield from _conditions(results)


def _table(results: Results, threads: int, reasons: dict[str, int]) -> Iterator[str]:
    cells = list(dict.fromkeys((row.model, row.tower) for row in results.rows))
    yield (
        f"| {threads} thread{'s' * (threads > 1)} | " + " | ".join(f"{model} {tower}" for model, tower in cells) + " | cosine |"
    )
    yield "|---|" + "--:|" * (len(cells) + 1)
    for name in dict.fromkeys(row.contender for row in results.rows):
        rows = [results.row(model, tower, threads, name) for model, tower in cells]
        first = next((row for row in rows if row is not None), None)
        if first is None:
            continue
        cosines = [row.cosine_min for row in rows if row is not None and row.cosine_min is not None]
        label = f"**{first.label}**" if first.ours else first.label
        texts = [_cell(results, row, reasons) for row in rows]
        yield f"| {label} | {' | '.join(texts)} | {_cosine(min(cosines)) if cosines else '-'} |"


def _cell(results: Results, row: Row | None, reasons: dict[str, int]) -> str:
    if row is None:
        return "-"
    if row.latency_ms is None:
        return f"[{reasons.setdefault(f'{row.label}: {row.failed}', len(reasons) + 1)}]"
    ratio = speedup(results, row)
    text = f"{row.latency_ms.p50:.1f}" + ("" if ratio is None else f" ({ratio:.1f}x)")
    if warning := busy_warning(row):
        text += f" [{reasons.setdefault(f'{row.label}: {warning}', len(reasons) + 1)}]"
    return text


def _cosine(value: float) -> str:
    """Not rounded up to 1, except by float32's own noise."""
    return "1.0000" if value >= 0.999995 else f"{int(value * 1e4) / 1e4:.4f}"


def _conditions(results: Results) -> Iterator[str]:
    machine = results.machine
    before, after = machine.load_before[0], machine.load_after[0]
    yield (
        f"{machine.cpu}, {machine.cores} cores, {machine.system}; {results.rounds} interleaved rounds of {results.runs} runs,"
        f" weights {results.weights}; load average {before:.2f} before, {after:.2f} after."
        f" {', '.join(f'{name} {version}' for name, version in results.versions.items())}."
    )


def put_tables(readme: Path, results: Results) -> None:
    """Put the tables between the file's markers."""
    put(readme, MARKERS, "\n".join(markdown(results)))
