"""Estimates of what conversions take, and refusals before anything heavy begins."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from edgeclip.errors import ResourceError
from edgeclip.models import MODELS
from edgeclip.needs import (
    Part,
    check_disk,
    check_memory,
    check_side_by_side,
    disk_bytes,
    memory_bytes,
    parts_of,
)
from edgeclip.peaks import MEASURED, PEAKS, WORST
from edgeclip.plugins import TARGETS
from edgeclip.recipe import TargetOptions

DEMO = MODELS["tinyclip-demo"]
HUGE = replace(DEMO, name="huge", image_params=428_000_000, text_params=450_000_000)
BOTH = [TargetOptions("coreml"), TargetOptions("executorch")]
TOWERS = ("image", "text")


def test_no_row_is_of_what_there_is_not_and_what_is_not_measured_takes_the_worst():
    there = {(name, scheme) for name in TARGETS for scheme in TARGETS[name].load().schemes}
    assert PEAKS.keys() <= there
    for peak in PEAKS.values():
        assert WORST.base_mb >= peak.base_mb
        assert WORST.per_parameter >= peak.per_parameter
        assert WORST.stored >= peak.stored
    unknown = Part("coreai", "w2", ("image",))
    assert memory_bytes(DEMO, unknown) == int(WORST.base_mb * 1e6 + 4 * 6_658_944 + WORST.per_parameter * 1_560_384)


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row.model}-{row.target}-{row.scheme}-{'+'.join(row.towers)}")
def test_estimates_are_near_what_was_measured(row):
    spec = MODELS[row.model]
    estimate = max(memory_bytes(spec, Part(row.target, row.scheme, (tower,))) for tower in row.towers)
    assert 0.93 <= estimate / (row.peak_rss_mb * (1 << 20)) <= 1.4


def test_files_by_options():
    assert parts_of(DEMO, BOTH, TOWERS) == [
        Part("coreml", "fp16", ("image",)),
        Part("coreml", "fp16", ("text",)),
        Part("executorch", "fp32", ("image",)),
        Part("executorch", "fp32", ("text",)),
    ]
    assert parts_of(DEMO, [TargetOptions("executorch", "w8", single_file=True)], TOWERS) == [Part("executorch", "w8", TOWERS)]


def test_what_memory_cannot_hold_is_refused_in_one_line_that_says_what_would_fit():
    parts = parts_of(HUGE, BOTH, TOWERS)
    needed = sorted(memory_bytes(HUGE, part) for part in parts)
    check_memory(HUGE, parts, needed[-1])
    check_memory(HUGE, parts, 10**15)
    with pytest.raises(ResourceError) as caught:
        check_memory(HUGE, parts, needed[-1] - 1)
    assert str(caught.value) == (
        f"huge needs about {needed[-1] / 1e9:.1f} GB of memory for coreml fp16 (text), {needed[-1] / 1e9:.1f} GB are free:"
        " --target executorch alone or --tower image alone would fit, or begin all the same with --skip-resource-check"
    )
    large = [part for part in parts if part.towers == ("image",) or part.target == "coreml"]
    with pytest.raises(ResourceError, match="free: --target executorch alone would fit, or begin"):
        check_memory(HUGE, large, needed[0])
    same = [Part("coreml", "fp16", ("text",)), Part("executorch", "fp32", ("image",)), Part("executorch", "fp32", ("text",))]
    with pytest.raises(ResourceError, match="free: --tower image alone would fit, or begin"):
        check_memory(HUGE, same, needed[0])
    with pytest.raises(ResourceError, match=r"1\.0 GB are free: close other programs, or take a larger machine, or begin"):
        check_memory(HUGE, parts, 10**9)


def test_what_does_not_fit_side_by_side_is_refused_with_what_does():
    check_side_by_side([5, 4, 3], 1, free=4)  # each is looked at by itself, when its turn comes
    check_side_by_side([3, 5, 4], 2, free=9)
    check_side_by_side([3], 4, free=1)
    with pytest.raises(ResourceError, match=r"--jobs 3: the 3 largest .* use --jobs 2, or begin"):
        check_side_by_side([3, 5, 4], 3, free=11)
    with pytest.raises(ResourceError, match="use --jobs 1, or begin"):
        check_side_by_side([3, 5, 4], 3, free=1)


def test_what_the_disk_cannot_hold_is_refused(tmp_path):
    parts = parts_of(HUGE, BOTH, TOWERS)
    assert disk_bytes(HUGE, parts) > 878_000_000 * (2 + 4)
    enormous = replace(HUGE, image_params=shutil.disk_usage(tmp_path).total)
    with pytest.raises(ResourceError, match=r"MB on the disk, \d+ MB are free; use --out, or begin all the same"):
        check_disk(enormous, parts, tmp_path / "bundle")
    check_disk(DEMO, parts, tmp_path / "bundle")


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr("edgeclip.needs.available_memory", lambda: 100_000_000)


@pytest.mark.usefixtures("little_memory")
def test_a_conversion_that_cannot_work_does_not_begin(cli, tmp_path):
    result = cli("convert", "tinyclip-demo", "--target", "coreml", "--out", tmp_path / "b")
    assert result.status == 2
    assert result.error.startswith("edgeclip: tinyclip-demo needs about ")
    assert "0.1 GB are free" in result.error
    assert "loading" not in result.err
    assert not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("little_memory")
def test_it_begins_all_the_same_if_told_so(cli, tmp_path):
    options = ["--target", "coreml", "--tower", "image", "--out", tmp_path / "b", "--skip-resource-check", "--json"]
    result = cli("convert", "tinyclip-demo", *options)
    assert result.status == 0
    assert json.loads(result.out)["peak_rss_mb"] > 100
