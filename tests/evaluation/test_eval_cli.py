"""`edgeclip eval` says what is wrong in one line, before anything heavy is done."""

from __future__ import annotations

import pytest
from PIL import Image

from edgeclip.cli.output import pace
from tests.support.bundles import write_small_bundle


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a bundle without artifacts, class folders and captions."""
    monkeypatch.chdir(tmp_path)
    write_small_bundle(tmp_path / "bundle", "space")
    for name in ("classes/a/1.png", "classes/b/1.png", "pairs/1.png", "pairs/2.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    (tmp_path / "pairs/captions.tsv").write_text("1.png\tone\n2.png\ttwo\n")
    return tmp_path


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["bundle"], "--data"),
        (["nowhere", "--data", "demo"], "nowhere: not a bundle"),
        (["bundle", "--data", "demo"], "nothing here runs any of its pairs of towers"),
        (["bundle", "--data", "demo", "--runtime", "mil"], "runtime mil can run none of its pairs of towers"),
        (["bundle", "--data", "demo", "--runtime", "onnx"], "unknown runtime 'onnx'"),
        (["bundle", "--data", "demo", "--runtime", "torch", "--runtime", "torch"], "one is given twice"),
        (["bundle", "--data", "demo", "--runtime", "torch", "--no-torch"], "leaves out what --runtime torch asks for"),
        (["bundle", "--data", "none", "--runtime", "torch"], "--data none: no such folder, and not 'demo'"),
        (["bundle", "--data", "classes", "--runtime", "torch", "--limit", "0"], "--limit 0: give 1 or more"),
        (["bundle", "--data", "classes", "--runtime", "torch", "--jobs", "0"], "--jobs 0: give 1 or more"),
        (["bundle", "--data", "classes", "--runtime", "torch", "--template", "photo"], "needs {} exactly once"),
        (["bundle", "--data", "classes", "--templates", "none.txt"], "no set of that name (general)"),
        (["bundle", "--data", "classes", "--templates", "general", "--template", "{}"], "either by --template or"),
        (["bundle", "--data", "classes", "--runtime", "torch", "--max-drop", "1"], "compares artifacts with the torch"),
        (["bundle", "--data", "classes", "--runtime", "torch", "--min-top1", "nan"], "--min-top1 nan: give percent, 0 to 100"),
        (["bundle", "--data", "pairs", "--runtime", "torch", "--min-top1", "50"], "pairs has captions, not classes"),
        (["bundle", "--data", "pairs", "--runtime", "torch", "--per-class", "5"], "give --limit"),
        (["bundle", "--data", "pairs", "--runtime", "torch", "--classnames", "x.txt"], "pairs has no class folders"),
        (["bundle", "--data", "classes", "--runtime", "torch", "--classnames", "x.txt"], "--classnames x.txt: no such file"),
        (["bundle", "--data", "classes", "--runtime", "torch", "--confusion", "x.pdf"], "ends in .csv or .png"),
        (["bundle", "--data", "pairs", "--runtime", "torch", "--confusion", "x.csv"], "pairs has captions, not classes"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line_and_status_2(cli, place, args, said):
    before = sorted(place.rglob("*"))
    result = cli("eval", *args)
    assert result.status == 2
    assert said in result.error
    assert result.out == ""
    assert sorted(place.rglob("*")) == before, "nothing is left behind"


def test_progress_says_the_rate_and_the_time_left():
    assert pace(50, 200, 10.0, "pictures") == "5.0 pictures/s, 0:00:30 left"
    assert pace(0, 200, 10.0, "pictures") == "no pictures yet"
    assert pace(1, 50_001, 0.5, "pictures") == "2.0 pictures/s, 6:56:40 left"
