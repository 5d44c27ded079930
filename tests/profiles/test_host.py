"""The host runner: what a worker times, what it says of its death, and whole runs on a demo bundle."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from edgeclip.errors import BundleError, UsageError
from edgeclip.manifest import MANIFEST_FILE, Bundle, file_sha256, read_manifest
from profiles import machine
from profiles.device import Request
from profiles.results import Latency, MeasuredRow
from profiles.runners import host_process, host_rows, host_worker
from profiles.runners.host import DEVICE
from profiles.runners.host_engines import Engine, sample
from profiles.runners.host_messages import (
    Failed,
    GarbledError,
    Load,
    Loaded,
    Reload,
    Time,
    Timed,
    Turn,
    decoded,
    receive,
    send,
)
from profiles.runners.host_plan import plan
from profiles.runners.host_process import Template, Worker
from profiles.runners.host_rounds import ratio
from profiles.stats import StopRule
from profiles.store import read_profile

PAUSE_S = 0.002


# --- what the worker measures, on an engine whose times are known


@pytest.fixture
def job(tiny_bundle):
    """Of the image tower."""
    planned, _ = plan(Bundle.open(tiny_bundle), ("executorch",), (1,))
    return planned[0].job()


@pytest.fixture
def worker(monkeypatch, job):
    """A worker in this process whose load takes 3 and whose inference takes 1 pause."""

    def load(job):
        time.sleep(3 * PAUSE_S)
        return lambda: time.sleep(PAUSE_S) or np.ones(3)

    its = Engine(("executorch",), lambda: None, lambda job: None, load)
    monkeypatch.setattr(host_worker, "engine", lambda runtime: its)
    found = host_worker._Worker()
    found.first = found.load(Load(job))
    return found


@pytest.mark.slow
def test_each_time_is_of_its_own_part(worker):
    assert worker.first.load_ms >= 3e3 * PAUSE_S
    assert worker.first.first_ms >= 1e3 * PAUSE_S
    timed = worker.time(Time(0.3))
    assert min(timed.times_ms) >= 1e3 * PAUSE_S
    assert sum(timed.times_ms) <= 0.3e3 + max(timed.times_ms)
    assert timed.busy_threads < 0.5, "sleeping is no work"
    assert len(worker.turn(Turn(7)).times_ms) == 7
    reloaded = worker.reload(Reload())
    assert 1 <= len(reloaded.times_ms) <= host_worker.RELOADS
    assert min(reloaded.times_ms) >= 3e3 * PAUSE_S


def test_what_is_not_finite_is_not_timed(monkeypatch, job):
    its = Engine(("executorch",), lambda: None, lambda job: None, lambda job: lambda: np.array([1.0, math.nan]))
    monkeypatch.setattr(host_worker, "engine", lambda runtime: its)
    with pytest.raises(RuntimeError, match="not finite"):
        host_worker._Worker().load(Load(job))


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=50))
def test_percentiles_of_a_row_are_numpys(times):
    found = Latency.of(times, 4)
    wanted = (*np.percentile(times, [50, 90, 99, 0]), np.mean(times))
    assert (found.p50, found.p90, found.p99, found.min, found.mean) == pytest.approx(wanted, abs=2e-4)
    assert found.n == len(times)
    assert found.median_interval[0] <= found.p50 <= found.median_interval[1]


@given(st.floats(0.2, 5), st.lists(st.floats(0.5, 2), min_size=30, max_size=60))
def test_a_clock_that_wanders_cancels_out_of_a_ratio(truth, clock):
    middle, (low, high) = ratio([(truth * pace, pace) for pace in clock])
    assert (middle, low, high) == pytest.approx((truth, truth, truth))


def test_inputs_are_as_the_manifest_states_them(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    planned, _ = plan(bundle, ("executorch", "mil", "torch"), (1, 2))
    for one in planned:
        given = sample(one.job())
        assert given.shape == one.artifact.inputs[0].shape
        if one.artifact.tower == "image":
            assert given.dtype == np.float32
            assert 0 <= given.min() < given.max() <= 1
        else:
            text = bundle.manifest.text
            assert given.dtype == np.int32
            assert given[0, 0] == text.sot
            assert (given == text.eot).sum() == 1
            assert given.max() == text.eot
    assert len({(one.runtime, one.artifact.label, one.threads) for one in planned}) == len(planned) == 3 * 2 * 2


def test_own_work_is_not_others():
    before, after = machine.Ticks(100.0, 50.0, 1.0), machine.Ticks(110.0, 65.0, 2.0)
    assert machine.others(before, after, 10.0) == machine.Others(processes=0.5, machines=0.1)
    assert machine.others(before, before, 0.0) is None
    assert machine.others(None, None, 0.0) is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux only")
def test_ticks_are_what_the_system_has_spent():
    """Of all cores since the start: uptime has what they were idle, waiting for disks counted by both."""
    found = machine.ticks()
    assert found is not None
    uptime_s, idle_s = map(float, Path("/proc/uptime").read_text().split())
    assert found.busy_s <= (os.cpu_count() or 1) * uptime_s - 0.5 * idle_s


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="Linux only")
def test_a_file_is_dropped_from_the_cache_or_said_not_to_be(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"x" * 100_000)
    with file.open("rb") as opened:
        assert opened.read(1)
        assert host_worker._cached(opened.fileno())
        gone = host_worker._drop_from_cache(file)
        assert gone is not host_worker._cached(opened.fileno())
    assert file.read_bytes() == b"x" * 100_000


def _timed(**changes):
    """A run that nothing disturbed, but for `changes`."""
    found = {"times_ms": [1.0] * 100, "paces_ms": [0.1] * 10, "preempted": 0, "busy_threads": 1.0, "peak_memory_mb": 200.0}
    return Timed(**{**found, "elsewhere": machine.Others(0.0, 0.0), **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"times_ms": [1.0] * 50 + [1.2] * 50}, r"the later half took \+20 %"),
        ({"times_ms": [1.0, 3.0] * 10}, "after 20 inferences the median is known to 50.0 %, not 2 %"),
        ({"times_ms": [1.0] * 5}, "after 5 inferences"),
        ({"elsewhere": machine.Others(0.8, 0.0)}, "other processes used 0.8 of"),
        ({"elsewhere": machine.Others(0.0, 0.2)}, "the hypervisor took 0.20 cores"),
        ({"elsewhere": None}, None),
        ({"paces_ms": [0.1, 0.15, 0.16]}, "50 % slower than at its best"),
        ({"paces_ms": [0.1] * 9 + [0.5]}, None),
        ({"preempted": 11}, "11 of 100 inferences lost their core"),
        ({"busy_threads": 1.9}, "1.9 threads were at work where 1 was asked for"),
    ],
)
def test_a_disturbed_run_says_by_what(changes, said):
    timed = _timed(**changes)
    reasons = [*host_rows._unsettled(timed, StopRule(20.0)), *host_rows._disturbed(timed, 1)]
    if said is None:
        assert reasons == []
    else:
        assert any(re.search(said, reason) for reason in reasons), reasons


# --- what the other side says


LATENCIES = {
    "type": "Timed",
    "times_ms": [1.0],
    "paces_ms": [0.1],
    "preempted": 0,
    "busy_threads": 1.0,
    "elsewhere": None,
    "peak_memory_mb": 2.0,
}


@pytest.mark.parametrize(
    "change",
    [
        {"times_ms": []},
        {"times_ms": [0.0]},
        {"times_ms": [-1.0]},
        {"times_ms": [1e300]},
        {"times_ms": ["1"]},
        {"times_ms": [None]},
        {"times_ms": 1.0},
        {"paces_ms": [0.0]},
        {"preempted": -1},
        {"busy_threads": "all"},
        {"peak_memory_mb": 0},
        {"more": 1},
        {"type": "Loaded"},
    ],
)
def test_figures_that_cannot_be_are_errors(change):
    assert isinstance(decoded(json.dumps(LATENCIES).encode(), Timed), Timed)
    with pytest.raises(GarbledError):
        decoded(json.dumps({**LATENCIES, **change}).encode(), Timed)


@given(st.binary(max_size=200))
def test_noise_is_an_error_and_no_number(content):
    with pytest.raises(GarbledError):
        decoded(content, Timed)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1e999"])
def test_no_number_is_no_figure(literal):
    content = json.dumps(LATENCIES).replace("[1.0]", f"[{literal}]").encode()
    with pytest.raises(GarbledError):
        decoded(content, Timed)


class _NoTemplate:
    """Stands in for the process that workers come from: the other end of the channel is the test's."""

    def __init__(self, log):
        self.log, self.killed = log, []
        self.ours, self.theirs = socket.socketpair()

    def ready(self):
        pass

    def worker(self):
        self.process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        return self.ours, self.process.pid

    def status(self, worker):
        assert worker == self.process.pid
        return self.process.wait()


@pytest.fixture
def silent_worker(tmp_path):
    """A worker that says only what a test puts into its channel, and the process that it is."""
    with (tmp_path / "log").open("w+b") as log, ExitStack() as stack:
        template = _NoTemplate(log)
        yield stack.enter_context(Worker(template, "x.pte")), template
        template.theirs.close()


@pytest.mark.parametrize(
    "content",
    [
        b"\x05\x00\x00\x00hello",
        b"\xff\xff\xff\xff" + b"x" * 100,
        b"\x02\x00\x00\x00{}",
        b'\x10\x00\x00\x00{"type":"Failed"',
    ],
)
def test_a_garbled_answer_is_an_error_and_the_end_of_the_worker(silent_worker, content):
    worker, template = silent_worker
    template.theirs.sendall(content)
    with pytest.raises(BundleError, match=r"x\.pte: cannot run it"):
        worker.ask(Turn(1), Timed)
    assert template.process.poll() == -signal.SIGKILL


def test_silence_is_an_error(silent_worker, monkeypatch):
    monkeypatch.setattr(host_process, "SILENCE_S", 0.1)
    with pytest.raises(BundleError, match="no answer for"):
        silent_worker[0].ask(Turn(1), Timed)


def test_an_answer_cut_off_is_an_error_with_the_last_words(silent_worker):
    worker, template = silent_worker
    template.log.write(b"noise\nlast words\n")
    template.log.flush()
    template.theirs.sendall(b"\x50\x00\x00\x00{")
    template.process.send_signal(signal.SIGSEGV)
    os.waitid(os.P_PID, template.process.pid, os.WEXITED | os.WNOWAIT)
    template.theirs.close()
    with pytest.raises(BundleError, match="crashed with SIGSEGV: last words"):
        worker.ask(Turn(1), Timed)


def test_temporary_files_of_a_runtime_go_with_it(tmp_path, monkeypatch):
    """Core AI compiles each program into the temporary folder at every load, and its process is killed."""
    start = (
        "import signal, socket, sys, tempfile; tempfile.mkdtemp();"
        "socket.socket(fileno=int(sys.argv[1])).sendall(b'ready'); signal.pause()"
    )
    monkeypatch.setattr(host_process, "_START", start)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    template = Template("executorch")
    template.ready()
    (scratch,) = tmp_path.iterdir()
    assert list(scratch.iterdir())
    template.close()
    assert not list(tmp_path.iterdir())


def test_messages_arrive_as_they_were_sent():
    ours, theirs = socket.socketpair()
    long = Failed(why="x" * 300_000)
    with ours, theirs:
        sender = threading.Thread(target=send, args=(ours, long))
        sender.start()
        content = receive(theirs)
        sender.join()
    assert content is not None
    assert decoded(content, Failed) == long


# --- whole runs


@pytest.fixture(scope="module")
def template():
    """One process with ExecuTorch's libraries, for all workers of this file."""
    found = Template("executorch")
    yield found
    found.close()


def _job(bundle, tower):
    planned, _ = plan(Bundle.open(bundle), ("executorch",), (1,))
    return next(one.job() for one in planned if one.artifact.tower == tower)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_is_an_error(template, tiny_bundle):
    with Worker(template, "image.pte") as worker:
        worker.ask(Load(_job(tiny_bundle, "image")), Loaded)
        killer = threading.Timer(0.3, os.kill, (worker._pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(BundleError, match=r"image\.pte: cannot run it: the runtime crashed with SIGKILL"):
            worker.ask(Time(20.0), Timed, 20.0)
        killer.join()
    with Worker(template, "again") as worker:  # the next one is not harmed
        assert worker.ask(Load(_job(tiny_bundle, "text")), Loaded).first_ms > 0


@pytest.mark.slow
def test_workers_have_loaded_nothing_before(template, tiny_bundle):
    """Two at once are two processes, with memory of their own."""
    with Worker(template, "a") as one, Worker(template, "b") as other:
        first, second = (w.ask(Load(_job(tiny_bundle, "text")), Loaded) for w in (one, other))
        assert one._pid != other._pid
    for loaded in (first, second):
        assert loaded.memory_before_mb is not None
    assert second.memory_before_mb == pytest.approx(first.memory_before_mb, abs=5)


def _restated(bundle: Path, path: Path) -> None:
    """Give the manifest the hash that a changed file has."""
    manifest = read_manifest(bundle / MANIFEST_FILE)
    relative = path.relative_to(bundle).as_posix()
    digest, size = file_sha256(path), path.stat().st_size
    artifacts = tuple(
        structs.replace(artifact, sha256=digest, size_bytes=size) if artifact.path == relative else artifact
        for artifact in manifest.artifacts
    )
    (bundle / MANIFEST_FILE).write_bytes(structs.replace(manifest, artifacts=artifacts).to_json())


def _pte(bundle: Path) -> Path:
    return bundle / next(a.path for a in read_manifest(bundle / MANIFEST_FILE).artifacts if a.target == "executorch")


def test_a_changed_file_is_refused_before_anything_loads_it(bundle_copy, monkeypatch):
    path = _pte(bundle_copy)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    planned, _ = plan(Bundle.open(bundle_copy), ("executorch",), (1,))
    with pytest.raises(BundleError, match="content differs from the hash"):
        planned[0].job()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "zeros", "noise", "text"])
def test_a_damaged_file_whose_hash_is_stated_is_an_error(bundle_copy, damage, cli):
    path = _pte(bundle_copy)
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(
        {
            "cut": content[:half],
            "zeros": content[:half] + bytes(len(content) - half),
            "noise": content[:64] + np.random.default_rng(0).bytes(4096) + content[64 + 4096 :],
            "text": b"not a program",
        }[damage]
    )
    _restated(bundle_copy, path)
    result = cli("profile", bundle_copy, "--max-seconds", "0.3", "--json")
    if damage == "zeros" and result.status == 0:  # weights of zero compute something, and that may be timed
        assert {row["tower"] for row in json.loads(result.out)["rows"]} == {"image", "text"}
        return
    assert result.status == 2
    assert result.out == ""
    assert "cannot" in result.error
    assert path.name in result.error
    assert not (bundle_copy / "profile").exists()


@pytest.fixture(scope="module")
def profiled(tiny_bundle, tmp_path_factory):
    """A profile of both towers on one and two threads, with the bundle it is stored in."""
    from profiles.session import profile

    bundle = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("profiled") / "bundle"))
    outcome = profile(bundle, threads=(1, 2), most_s=0.5)
    assert outcome.warnings == ()
    return bundle, outcome.profile


@pytest.mark.slow
def test_every_row_says_all(profiled):
    bundle, profile = profiled
    manifest = read_manifest(bundle / MANIFEST_FILE)
    programs = [artifact for artifact in manifest.artifacts if artifact.target == "executorch"]
    assert [(row.tower, row.threads) for row in profile.rows] == [(a.tower, n) for a in programs for n in (1, 2)]
    for row in profile.rows:
        assert isinstance(row, MeasuredRow)
        figures = [row.load_cold_ms, row.load_warm_ms, row.first_ms, row.peak_memory_mb, row.memory_before_mb]
        assert all(figure is not None and figure > 0 for figure in figures)
        ordered = [row.latency_ms.min, row.latency_ms.p50, row.latency_ms.p90, row.latency_ms.p99]
        assert ordered == sorted(ordered)
        assert row.latency_ms.n >= 1
        assert row.peak_memory_mb > row.memory_before_mb
        assert row.delegates == next(a.delegates for a in programs if a.tower == row.tower)
        assert not row.reference
    assert set(profile.not_run) == {a.label for a in manifest.artifacts if a.target == "coreml"}
    assert all("macOS only" in why for why in profile.not_run.values())
    assert profile.device.kind == "measured"
    assert {"cpu", "cores", "governor", "load_average", "cold_load"} <= profile.device.details.keys()
    assert {"executorch", "torch", "edgeclip"} <= profile.tools.keys()


@pytest.mark.slow
def test_the_latest_profile_is_kept_and_the_bundle_still_opens(profiled):
    bundle, profile = profiled
    stored = read_profile(bundle / "profile" / "host.json")
    assert json.dumps(stored.as_json()) == json.dumps(profile.as_json())
    assert Bundle.open(bundle).manifest.artifacts


@pytest.mark.slow
def test_a_bundle_that_is_extended_keeps_its_profiles(profiled, tmp_path):
    from edgeclip.extending import carry_over

    bundle = Bundle.open(profiled[0])
    carry_over(bundle, bundle.manifest.artifacts, tmp_path / "next")
    assert read_profile(tmp_path / "next" / "profile" / "host.json").rows == profiled[1].rows


@pytest.mark.slow
def test_where_processes_are_not_copied_each_row_starts_one(tiny_bundle, monkeypatch):
    """As on macOS."""
    monkeypatch.setattr("profiles.runners.host.COPIES", False)
    monkeypatch.setattr(Template.__init__, "__defaults__", (False,))
    found = DEVICE.profile(Request(bundle=Bundle.open(tiny_bundle), most_s=0.2))
    assert [row.tower for row in found.rows] == ["image", "text"]


@pytest.mark.slow
def test_against_itself(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    found = DEVICE.compare(Request(bundle=bundle, most_s=0.5), bundle)
    assert found.against is not None
    assert len(found.against) == len(found.rows) == 2
    for change, row in zip(found.against, found.rows, strict=True):
        assert change.label.startswith(f"executorch/xnnpack fp32 {row.tower}")
        assert 0 < change.interval[0] <= change.ratio <= change.interval[1]
        assert change.passed is None


@pytest.mark.slow
def test_references_and_the_original_are_labelled(tiny_bundle):
    found = DEVICE.profile(Request(bundle=Bundle.open(tiny_bundle), most_s=0.2, runtimes=("mil", "torch")))
    rows = {(row.runtime, row.tower): row for row in found.rows if isinstance(row, MeasuredRow)}
    assert rows.keys() == {(runtime, tower) for runtime in ("mil", "torch") for tower in ("image", "text")}
    for (runtime, _), row in rows.items():
        assert row.reference is (runtime == "mil")
        assert row.target == ("torch" if runtime == "torch" else "coreml")
    manifest = read_manifest(tiny_bundle / MANIFEST_FILE)
    original = rows["torch", "image"]
    assert original.sha256 == manifest.weights.sha256
    assert original.load_cold_ms is None
    assert original.size_bytes > 0
    assert set(found.not_run) == {a.label for a in manifest.artifacts if a.target == "executorch"}


def test_what_cannot_run_here_is_said(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    with pytest.raises(UsageError, match="known: executorch, coreml, mil, coreai, torch"):
        plan(bundle, ("quantum",), (1,))
    only = Bundle(bundle.path, structs.replace(bundle.manifest, artifacts=bundle.manifest.artifacts[:0]))
    with pytest.raises(UsageError, match="holds no artifact"):
        plan(only, (), (1,))
    image = [a for a in bundle.manifest.artifacts if a.target == "coreml"]
    only = Bundle(bundle.path, structs.replace(bundle.manifest, artifacts=tuple(image)))
    with pytest.raises(UsageError, match=r"runs in coreml or mil, not in executorch"):
        plan(only, ("executorch",), (1,))


@pytest.mark.slow
def test_a_delegate_that_is_not_here_is_not_run(bundle_copy):
    manifest = read_manifest(bundle_copy / MANIFEST_FILE)
    artifacts = tuple(
        structs.replace(a, delegates={"WarpBackend": 1}) if (a.target, a.tower) == ("executorch", "image") else a
        for a in manifest.artifacts
    )
    (bundle_copy / MANIFEST_FILE).write_bytes(structs.replace(manifest, artifacts=artifacts).to_json())
    found = DEVICE.profile(Request(bundle=Bundle.open(bundle_copy), most_s=0.2))
    assert [row.tower for row in found.rows] == ["text"]
    assert "has no WarpBackend" in found.not_run["executorch/xnnpack fp32 image"]


def test_messages_have_no_pickles():
    """Structs alone go through the channel, each of a known kind."""
    for message in (Time(1.0), Turn(2), Reload(), Failed(why="x")):
        assert msgspec.json.decode(msgspec.json.encode(message))["type"] == type(message).__name__
