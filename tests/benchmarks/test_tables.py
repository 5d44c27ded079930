"""Tables and the plot of made-up results whose ratios are known."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import msgspec
import numpy as np
import pytest

MODELS = ("mobileclip-s0", "tinyclip-vit-8m-16")
MS = {"edgeclip-fp32": 10.0, "straight": 40.0, "onnxruntime": 20.0}


def _row(model, tower, threads, name, **changed):
    from latency.results import Latency, Row

    ms = MS[name] / threads
    row = Row(
        model=model,
        tower=tower,
        threads=threads,
        contender=name,
        label=name.upper(),
        ours=name.startswith("edgeclip"),
        cosine_min=0.99996,
        size_bytes=2_000_000,
        latency_ms=Latency(p25=ms * 0.9, p50=ms, p75=ms * 1.2, min=ms * 0.8, n=30),
        busy_threads=float(threads),
    )
    return msgspec.structs.replace(row, **changed)


@pytest.fixture
def results():
    from latency.results import SCHEMA, Machine, Results

    rows = [_row(*cell) for cell in product(MODELS, ("image", "text"), (1, 2), MS)]
    failed = {"latency_ms": None, "cosine_min": None, "busy_threads": None, "failed": "crashed with SIGSEGV"}
    rows = [msgspec.structs.replace(r, **failed) if (r.contender, r.tower) == ("onnxruntime", "text") else r for r in rows]
    machine = Machine(cpu="A CPU", cores=2, system="Linux", load_before=(0.1, 0.2, 0.3), load_after=(1.0, 0.5, 0.4))
    return Results(
        schema=SCHEMA,
        machine=machine,
        versions={"torch": "2.13.0"},
        weights="seeded:0",
        rounds=30,
        runs=3,
        notes={"STRAIGHT": "as it is"},
        rows=rows,
    )


def test_json_gives_the_same_results_back(results):
    from latency.results import from_json, to_json

    assert from_json(to_json(results)) == results


def test_ratios_are_of_medians_to_the_straight_export_on_the_same_threads(results):
    from latency.tables import speedup

    for row in results.rows:
        wanted = None if row.latency_ms is None else 40 / MS[row.contender]
        assert speedup(results, row) == pytest.approx(wanted)


def test_no_contender_is_silently_absent(results):
    from latency.tables import console, markdown

    text = "\n".join(markdown(results))
    for threads in ("1 thread ", "2 threads "):
        assert f"| {threads}|" in text
    assert text.count("| ONNXRUNTIME |") == 2
    assert "- [1] ONNXRUNTIME: crashed with SIGSEGV" in text
    assert text.count("[1]") == 1 + 2 * 2  # each text tower, each number of threads, and the reason itself
    assert "\n".join(console(results)).count("crashed with SIGSEGV") == 4


def test_cells_hold_median_and_ratio_and_the_cosine_is_not_rounded_up(results):
    from latency.tables import markdown

    line = next(line for line in markdown(results) if "EDGECLIP" in line)
    assert line == "| **EDGECLIP-FP32** | 10.0 (4.0x) | 10.0 (4.0x) | 10.0 (4.0x) | 10.0 (4.0x) | 0.9999 |"


def test_more_threads_at_work_than_were_set_is_said(results):
    from latency.tables import console

    rows = [msgspec.structs.replace(r, busy_threads=1.9) if r.contender == "straight" else r for r in results.rows]
    text = "\n".join(console(msgspec.structs.replace(results, rows=rows)))
    assert text.count("STRAIGHT: 1.90 threads were at work where 1 was set") == 4


def test_tables_go_between_the_markers_and_nothing_else_changes(results, tmp_path):
    from latency.tables import MARKERS, put_tables

    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{MARKERS[0]}\nold\n{MARKERS[1]}\nafter\n")
    put_tables(readme, results)
    first = readme.read_text()
    put_tables(readme, results)
    assert readme.read_text() == first
    assert first.startswith("before\n")
    assert first.endswith("\nafter\n")
    assert "old" not in first
    readme.write_text("no markers")
    with pytest.raises(SystemExit, match="lacks the markers"):
        put_tables(readme, results)


def test_quartiles_are_numpys():
    from latency.results import summary
    from latency.rounds import Turn

    turns = [Turn(float(ms), 1.0) for ms in (5, 1, 4, 2, 9, 7)]
    latency, busy = summary(turns)
    assert [latency.p25, latency.p50, latency.p75] == pytest.approx(np.percentile([5, 1, 4, 2, 9, 7], [25, 50, 75]))
    assert (latency.min, latency.n, busy) == (1, 6, 1.0)
    assert summary([replace(turns[0])])[0].p50 == 5


@pytest.mark.slow
def test_plot_is_written_small_and_the_same_each_time(results, tmp_path):
    pytest.importorskip("matplotlib")
    from latency.plot import draw

    first, second = draw(results, tmp_path / "a"), draw(results, tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert 1000 < one.stat().st_size < 200_000
        assert one.read_bytes() == other.read_bytes()
    svg = first[1].read_text()
    assert all(name.upper() in svg for name in MS)
