"""`edgeclip profile`: usage, exit statuses, and what it prints."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeclip.plugins import DEVICES, Plugin
from profiles.results import Profile
from tests.profiles.rows import estimated, measured, profile_of


class _Known:
    """A device whose figures are known; `given` keeps what it was asked."""

    found: Profile = profile_of(measured(10.0), measured(4.0, tower="text", sha256="c" * 64))

    def __init__(self):
        self.given = None

    def profile(self, request):
        self.given = request
        return self.found


@pytest.fixture
def known(monkeypatch):
    """`--device host` is a device whose figures are known."""
    device = _Known()
    monkeypatch.setattr(Plugin, "load", _loading(Plugin.load, device))
    return device


def _loading(load, device):
    return lambda plugin: device if plugin is DEVICES["host"] else load(plugin)


def test_a_table_for_people(cli, known, bundle_copy):
    result = cli("profile", bundle_copy)
    assert result.status == 0
    header, _, image, text, *_ = result.out.splitlines()
    assert all(name in header for name in ("load cold", "warm", "first", "p50", "p90", "p99", "memory", "size", "threads"))
    assert image.split()[:4] == ["executorch/xnnpack", "fp32", "image", "1"]
    assert "10.00" in image
    assert "4.00" in text


def test_json_is_one_object_and_is_kept(cli, known, bundle_copy):
    result = cli("profile", bundle_copy, "--json")
    assert result.status == 0
    assert {"device", "rows", "budget"} <= result.json.keys()
    assert result.json["device"]["kind"] == "measured"
    row = result.json["rows"][0]
    wanted = "tower target backend scheme threads load_cold_ms load_warm_ms latency_ms peak_memory_mb size_bytes delegates"
    assert {*wanted.split(), "delegated_percent"} <= row.keys()
    assert {"p50", "p90", "p99", "min", "mean", "n"} <= row["latency_ms"].keys()
    assert json.loads((bundle_copy / "profile" / "host.json").read_text()) == result.json
    assert result.json["bundle"] == str(bundle_copy)


def test_options_reach_the_device(cli, known, bundle_copy):
    cli("profile", bundle_copy, "--device", "host", "--threads", "2,1,2", "--runtime", "mil", "--max-seconds", "3")
    assert (known.given.threads, known.given.runtimes, known.given.most_s) == ((2, 1), ("mil",), 3.0)


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["--budget-ms", "11"], 0, "ok budget ms 11"),
        (["--budget-ms", "9"], 1, "FAILED budget ms 9: executorch/xnnpack fp32 image 1 thread: 10 ms, at most 9"),
        (["--budget-ms", "text=5", "--budget-ms", "total=13"], 1, "FAILED budget ms total=13"),
        (["--budget-mb", "30"], 1, "FAILED budget mb 30: executorch/xnnpack fp32 image 1 thread: 40 MB, at most 30"),
        (["--budget-memory-mb", "image=301"], 0, "ok budget memory-mb image=301"),
    ],
)
def test_budgets(cli, known, bundle_copy, args, status, said):
    result = cli("profile", bundle_copy, *args)
    assert result.status == status
    assert said in result.out
    held = cli("profile", bundle_copy, *args, "--json")
    assert held.status == status
    assert all(line["passed"] for line in held.json["budget"]) is (status == 0)


def test_budgets_of_a_file_and_of_options_hold_together(cli, known, bundle_copy, tmp_path):
    file = tmp_path / "budgets.toml"
    file.write_text("[ms]\nimage = 9\n")
    result = cli("profile", bundle_copy, "--budgets", file, "--budget-ms", "text=5", "--json")
    assert result.status == 1
    assert [(line["limit"], line["passed"]) for line in result.json["budget"]] == [("ms text=5", True), ("ms image=9", False)]


def test_a_baseline_fails_only_beyond_doubt(cli, known, bundle_copy, tmp_path):
    file = tmp_path / "before.json"
    file.write_text(cli("profile", bundle_copy, "--json").out)
    assert cli("profile", bundle_copy, "--baseline", file).status == 0
    known.found = profile_of(measured(12.0), measured(4.0, tower="text"))
    result = cli("profile", bundle_copy, "--baseline", file)
    assert result.status == 1
    assert "SLOWER executorch/xnnpack fp32 image 1 thread: 1.200 times as long" in result.out
    assert "ok executorch/xnnpack fp32 text 1 thread: 1.000" in result.out
    assert cli("profile", bundle_copy, "--baseline", file, "--tolerance", "0.3").status == 0
    known.found = profile_of(measured(10.0), details={"cpu": "Other"})
    other = cli("profile", bundle_copy, "--baseline", file)
    assert other.status == 2
    assert "another machine" in other.error
    assert "Example 9000" in other.error
    assert "Other" in other.error


def test_the_kept_profile_can_be_the_baseline(cli, known, bundle_copy):
    """It is read before the new one takes its place."""
    cli("profile", bundle_copy)
    known.found = profile_of(measured(20.0))
    result = cli("profile", bundle_copy, "--baseline", bundle_copy / "profile" / "host.json")
    assert result.status == 1
    assert "2.000 times as long" in result.out


def test_noise_and_references_are_said(cli, known, bundle_copy):
    known.found = profile_of(measured(10.0, noisy=("the later half took +9 %",)), measured(90.0, reference=True, runtime="mil"))
    result = cli("profile", bundle_copy)
    assert "noisy: the later half took +9 %" in result.out
    assert "executorch/xnnpack fp32 image in mil 1 thread: our ML Program interpreter" in result.out


def test_an_estimate_says_so_and_has_a_range(cli, known, bundle_copy):
    known.found = profile_of(estimated(2.0, 1.6, 2.5))
    result = cli("profile", bundle_copy, "--budget-ms", "2.2")
    assert result.status == 1
    assert "estimated" in result.out
    assert "1.60" in result.out
    assert "2.50" in result.out
    assert "off by 8 % in the mean, 20 % at worst" in result.out


def test_errors_that_nothing_checks_are_not_said_to_be_checked(cli, known, bundle_copy):
    known.found = profile_of(estimated(2.0, 1.6, 2.5), details={"scaled": {"device": "x"}})
    out = cli("profile", bundle_copy).out
    assert "nothing checks them, taken to be off by 8 % in the mean, 20 % at worst" in out
    assert "where they can be checked" not in out


def test_errors_of_another_machine_name_it(cli, known, bundle_copy):
    where = {"artifacts": 36, "processor": "Some CPU", "threads": 1, "mean_percent": 8.0, "worst_percent": 20.0}
    other = {**where, "processor": "Other CPU", "worst_percent": 30.0}
    known.found = profile_of(estimated(2.0, 1.6, 2.5), details={"checked": [other, where]})
    out = cli("profile", bundle_copy).out
    assert "checked with 36 artifacts on Some CPU (1 thread), there off by 8 % in the mean, 20 % at worst" in out


def test_a_device_that_cannot_take_turns_says_so(cli, known, bundle_copy, tiny_bundle):
    result = cli("profile", bundle_copy, "--against", tiny_bundle)
    assert result.status == 2
    assert "cannot time two bundles in turns" in result.error


def test_a_bundle_that_cannot_be_written_costs_a_warning(cli, known, bundle_copy):
    (bundle_copy / "profile").write_text("in the way")
    result = cli("profile", bundle_copy, "--json")
    assert result.status == 0
    assert "warning: " in result.err
    assert result.json["rows"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--device", "hots"], "did you mean 'host'?"),
        (["--device", "toaster"], "known: host"),
        (["--device", "host:1"], "takes nothing after a colon"),
        (["--runtime", "onnx"], "unknown runtime 'onnx'"),
        (["--threads", "0"], "from 1 to 256"),
        (["--threads", "1,"], "from 1 to 256"),
        (["--threads", "many"], "from 1 to 256"),
        (["--threads", "99999999999"], "from 1 to 256"),
        (["--max-seconds", "0"], "0<x<=3600"),
        (["--budget-ms", "fast"], "above 0"),
        (["--budget-ms", "vision=3"], "known: each, image, text, total"),
        (["--budgets", "none.toml"], "none.toml: cannot be read"),
        (["--baseline", "none.json"], "none.json: cannot be read"),
        (["--tolerance", "-1"], "--tolerance"),
        (["--against", "nowhere"], "nowhere: not a bundle"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(cli, tiny_bundle, args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("profile", tiny_bundle, *args)
    assert result.status == 2
    assert said in result.error
    assert result.out == ""
    assert not (tiny_bundle / "profile").exists()


def test_no_bundle(cli, tmp_path):
    assert "not a bundle" in cli("profile", tmp_path).error


@pytest.mark.parametrize("args", [["--help"], ["nowhere"], ["nowhere", "--device", "toaster"]])
def test_nothing_heavy_is_loaded_to_say_so(args):
    code = (
        f"import sys; from edgeclip.cli.main import run; run(['profile', *{args!r}]);"
        "print('LOADED', *[m for m in ('torch', 'coremltools', 'executorch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.slow
def test_from_the_command_line(tiny_bundle, tmp_path):
    """In a folder with a `torch.py`, which a worker must not take for PyTorch; nothing but one object on stdout."""
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (tmp_path / "torch.py").write_text("raise SystemExit('a stranger was imported')")
    script = "from edgeclip.cli.main import main; main()"
    command = [sys.executable, "-c", f"import sys; sys.path.remove(''); {script}", "profile", str(bundle)]
    args = ["--max-seconds", "0.2", "--json", "--budget-ms", "1e6"]
    done = subprocess.run([*command, *args], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["tower"] for row in found["rows"]] == ["image", "text"]
    assert all(row["latency_ms"]["p50"] > 0 for row in found["rows"])
    assert "timing executorch/xnnpack fp32 image" in done.stderr
