"""Sweeps on a dask cluster: a real scheduler and worker, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgeclip.errors import MissingPackageError
from edgeclip.sweep import cluster as module
from edgeclip.sweep.cluster import ClusterError, cluster
from edgeclip.sweep.plan import plan
from edgeclip.sweep.run import InterruptedSweepError, run
from tests.sweep.sweeps import sweep
from tests.sweep.test_run import Told

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
WORK = "tests.sweep.work"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler with one worker of two threads; both are gone afterwards."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("cluster")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    commands = (
        ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        ["worker", address, "--nthreads", "2", "--nworkers", "1", "--no-dashboard", "--local-directory", str(folder)],
    )
    with (folder / "log").open("w") as log:
        options = {"cwd": folder, "env": env, "stdout": log, "stderr": log}
        started = [subprocess.Popen([sys.executable, "-m", "dask", *command], **options) for command in commands]
        try:
            _wait_for_workers(address)
            yield address
        finally:
            for process in reversed(started):
                process.terminate()
            for process in started:
                process.wait(30)


def _wait_for_workers(address):
    deadline = time.monotonic() + 90
    while True:
        try:
            with cluster(address):
                return
        except ClusterError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_workers_do_the_jobs_and_what_is_killed_stops_nothing_else(address, tmp_path):
    asked = sweep(tmp_path)
    with cluster(address, f"{WORK}:half_killed") as place:
        rows = run(plan(asked), place, Told())
    assert [row.status for row in rows] == ["failed", "done"]
    assert "killed by SIGKILL" in str(rows[0].reason)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "tinyclip-demo"]
    with cluster(address, f"{WORK}:make") as place:
        again = run(plan(asked), place, Told())
    assert [row.status for row in again] == ["done", "kept"]


def test_errors_come_back_from_workers_as_they_are(address, tmp_path):
    with cluster(address, f"{WORK}:half_failing") as place:
        rows = run(plan(sweep(tmp_path)), place, Told())
    assert rows[0].reason == "coreml: image tower of mobileclip-demo: no such lowering"


def test_ctrl_c_ends_what_workers_do(address, tmp_path, hears_ctrl_c):
    def interrupt():
        while not (tmp_path / "mobileclip-demo").exists() or not list(tmp_path.glob(".tinyclip-demo.partial-*/half")):
            time.sleep(0.05)
        time.sleep(1)  # for the news of the first one to come back
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(InterruptedSweepError), cluster(address, f"{WORK}:endless") as place:
        run(plan(sweep(tmp_path)), place, Told())
    deadline = time.monotonic() + 30
    while list(tmp_path.glob(".tinyclip-demo*")):
        assert time.monotonic() < deadline, "the worker goes on, or leaves something behind"
        time.sleep(0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "mobileclip-demo"]


def test_a_scheduler_that_does_not_answer_is_an_error_within_the_time():
    pytest.importorskip("distributed")
    with socket.socket() as taken:  # takes connections, and never says anything
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for address in (f"tcp://127.0.0.1:{port}", "tcp://127.0.0.1:1"):
            started = time.monotonic()
            with (
                pytest.raises(ClusterError, match=f"--scheduler {address}: no answer within 1 s"),
                cluster(address, timeout_s=1),
            ):
                pass
            assert time.monotonic() - started < 20


@pytest.mark.parametrize("address", ["nonsense://x:1", "tcp://127.0.0.1:port"])
def test_an_address_that_is_none_is_an_error(address):
    pytest.importorskip("distributed")
    with pytest.raises(ClusterError, match="--scheduler"), cluster(address, timeout_s=1):
        pass


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r'pip install "edgeclip\[cluster\]"'), cluster("tcp://127.0.0.1:1"):
        pass
