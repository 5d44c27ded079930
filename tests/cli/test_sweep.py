"""`edgeclip convert --all`: what it shows, its exit statuses, and a whole sweep with real conversions."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeclip.calibration import Calibration
from edgeclip.cli.sweep import Request, convert_all
from edgeclip.manifest import Bundle
from edgeclip.models import MODELS
from edgeclip.recipe import TargetOptions
from edgeclip.spec import TOWERS
from edgeclip.sweep.run import Place
from tests.sweep import work

FIELDS = {"model", "scheme", "target", "bundle", "status", "reason", "size_bytes", "wall_s", "peak_rss_mb"}


def _request(out, **changes):
    given = {
        "models": ("mobileclip-demo", "tinyclip-demo"),
        "targets": ("executorch",),
        "schemes": ("w8", "pal4"),
        "options": lambda target, scheme: TargetOptions(target, scheme),
        "out": out,
        "weights": None,
        "towers": TOWERS,
        "images": None,
        "texts": None,
        "force": False,
        "check_resources": True,
        "jobs": None,
        "scheduler": None,
    }
    return Request(**{**given, **changes})


def _table(out: str) -> list[list[str]]:
    lines = out.splitlines()[2:]
    return [line.split(maxsplit=7) for line in lines[: lines.index("")]]


@pytest.mark.slow
def test_a_table_says_what_became_of_each(tmp_path, capfd):
    assert convert_all(_request(tmp_path), False, False, "tests.sweep.work:half_killed") == 1
    out, err = capfd.readouterr()
    assert [(row[0], row[1], row[2]) for row in _table(out)] == [
        (model, scheme, "executorch") for model in ("mobileclip-demo", "tinyclip-demo") for scheme in ("w8", "pal4")
    ]
    lines = out.splitlines()
    assert "FAILED       its process was killed by SIGKILL: most often the system, which ran out of memory" in lines[2]
    assert lines[3].endswith("not offered  executorch has no scheme pal4; it has fp32, fp16, w8, w8a8, w4, auto")
    assert lines[4].split() == ["tinyclip-demo", "w8", "executorch", "1.0", "1.5", "0.5", "done"]
    assert "(1 done, 2 not offered, 1 FAILED; " in out
    assert "1 of 2: mobileclip-demo w8 executorch failed: its process was killed" in err
    assert "2 of 2: tinyclip-demo w8 executorch done in 1.5 s (2 ended after " in err
    assert convert_all(_request(tmp_path), False, False, "tests.sweep.work:make") == 0
    out, err = capfd.readouterr()
    assert "(1 done, 1 was there, 2 not offered; " in out
    assert "1 of 1: mobileclip-demo w8 executorch\n" in err
    (tmp_path / "tinyclip-demo-w8" / "executorch_image").write_bytes(b"x")
    assert convert_all(_request(tmp_path), False, False, "tests.sweep.work:make") == 0
    out, err = capfd.readouterr()
    assert "1 of 1: tinyclip-demo w8 executorch again: executorch_image is damaged\n" in err
    assert "done         made again: executorch_image is damaged" in out


def test_rows_as_json(tmp_path, capfd):
    assert convert_all(_request(tmp_path, models=("tinyclip-demo",)), True, False, "tests.sweep.work:make") == 0
    content = json.loads(capfd.readouterr().out)
    assert content.keys() == {"out", "rows", "wall_s"}
    assert all(row.keys() == FIELDS for row in content["rows"])
    assert [(row["scheme"], row["status"], row["size_bytes"]) for row in content["rows"]] == [
        ("w8", "done", 1_000_000),
        ("pal4", "unsupported", None),
    ]
    assert content["rows"][0]["bundle"] == str(tmp_path / "tinyclip-demo-w8")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--all", "--target", "corml"], "did you mean 'coreml'"),
        (["--all", "--target", "coreml", "--scheme", "w9"], "unknown scheme 'w9'"),
        (["--all", "nothing", "--target", "coreml"], "unknown model 'nothing'"),
        (["--all", "--target", "executorch", "--scheme", "pal4"], "nothing to do: executorch has no scheme pal4"),
        (["--all", "--target", "coreml", "--weights", "w.pt"], "name it instead of --all"),
        (["tinyclip-demo", "mobileclip-demo", "--target", "coreml", "--weights", "w.pt"], "name one MODEL"),
        (
            ["tinyclip-demo", "--all", "--target", "coreml", "--weights", "w.pt"],
            "neither a file nor one of hub, demo, seeded:N",
        ),
        (["--all", "--target", "coreml", "--layers", "x.json"], "--layers: it holds a form for each weight of one model"),
        (["--all", "--target", "coreml", "--tokenizer", "x.model"], "takes the file from the folder of the weights"),
        (["--all", "--target", "coreml", "--min-cosine", "0.9"], "goals of --scheme auto"),
        (["--all", "--target", "coreml", "--backend", "xnnpack"], "backend for coreml: there is nothing to choose"),
        (["--all", "--target", "coreml", "--jobs", "2", "--scheduler", "tcp://x:1"], "--jobs: on a cluster"),
        (["tinyclip-demo", "--target", "coreml", "--jobs", "2"], "--jobs: this is one conversion"),
        (["tinyclip-demo", "--target", "coreml", "--scheduler", "tcp://x:1"], "--scheduler: this is one conversion"),
    ],
)
def test_a_sweep_that_cannot_start_is_one_line_and_status_2(cli, args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("convert", *args)
    assert result.status == 2
    assert said in result.error
    assert result.out == ""
    assert list(tmp_path.iterdir()) == []


def test_workers_of_a_cluster_are_given_whole_paths(tmp_path, monkeypatch):
    """They have working directories of their own."""
    monkeypatch.chdir(tmp_path)
    Path("w.pt").write_bytes(b"weights")
    Path("texts.txt").write_text("a dog\na cat\n")
    jobs = []

    @contextmanager
    def cluster(address, done):
        with ThreadPoolExecutor(1) as executor:
            yield Place(executor, lambda job: jobs.append(job) or work.make(job), None, lambda: None)

    monkeypatch.setattr("edgeclip.sweep.cluster.cluster", cluster)
    asked = {"models": ("tinyclip-demo",), "schemes": ("w8",), "texts": Path("texts.txt"), "scheduler": "tcp://host:8786"}
    for weights, meant in (("w.pt", str(tmp_path / "w.pt")), ("demo", "demo")):
        assert convert_all(_request(Path(f"of {weights}"), **asked, weights=weights), True, False) == 0
        job = jobs.pop()
        assert (job.out, job.weights) == (tmp_path / f"of {weights}" / "tinyclip-demo-w8", meant)
        assert job.calibration == Calibration(None, tmp_path / "texts.txt")


def test_conversions_that_do_not_fit_side_by_side_do_not_begin(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeclip.needs.available_memory", lambda: 1_500_000_000)
    options = ["--target", "coreml", "--jobs", "2", "--weights", "demo", "--out", tmp_path]
    result = cli("convert", "--all", *options)
    assert result.status == 2
    assert "--jobs 2: the 2 largest conversions need about" in result.error
    assert "use --jobs 1, or begin all the same with --skip-resource-check" in result.error
    without = [name for name, spec in MODELS.items() if spec.demo_weights is None]
    assert f"--weights demo: there are none of {', '.join(without)}; left out" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_sweep_with_real_conversions_is_done_once(cli, tmp_path):
    options = ["--target", "coreml", "--scheme", "fp32", "--tower", "image", "--weights", "demo", "--out", tmp_path]
    first = cli("convert", "--all", *options, "--json")
    assert first.status == 0, first.err
    rows = first.json["rows"]
    assert [(row["model"], row["status"]) for row in rows] == [("mobileclip-demo", "done"), ("tinyclip-demo", "done")]
    for row in rows:
        (artifact,) = Bundle.open(tmp_path / f"{row['model']}-fp32").manifest.artifacts
        assert (artifact.scheme, artifact.size_bytes) == (row["scheme"], row["size_bytes"])
        assert row["peak_rss_mb"] > 200
    manifests = {path: path.read_bytes() for path in tmp_path.glob("*/edgeclip.json")}
    (tmp_path / "tinyclip-demo-fp32" / "golden.npz").write_bytes(b"damaged")
    again = cli("convert", "--all", *options, "--json")
    assert again.status == 0, again.err
    assert [(row["status"], row["reason"]) for row in again.json["rows"]] == [("kept", None), ("done", "golden.npz is damaged")]
    assert {path: path.read_bytes() for path in tmp_path.glob("*/edgeclip.json")} == manifests, "the same bytes again"
    assert Bundle.open(tmp_path / "tinyclip-demo-fp32").verified_file("golden.npz")
