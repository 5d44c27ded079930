"""Doing the jobs of a sweep: what fails stops nothing else, and Ctrl-C leaves nothing half-written."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from edgeclip.sweep.job import Job, Made
from edgeclip.sweep.plan import plan
from edgeclip.sweep.run import InterruptedSweepError, Place, here, run
from tests.sweep.sweeps import sweep

WORK = "tests.sweep.work"


class Told:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def began(self, job):
        self.said.append(("began", job.out.name))

    def ended(self, job, rows):
        self.said.append(("ended", job.out.name))


def _run(asked, work, jobs=1):
    told = Told()
    with here(jobs, f"{WORK}:{work}") as place:
        rows = run(plan(asked), place, told)
    return rows, told.said


@pytest.mark.slow
def test_jobs_are_done_in_processes_of_their_own_and_then_kept(tmp_path):
    asked = sweep(tmp_path)
    rows, said = _run(asked, "make")
    assert [(row.model, row.scheme, row.target, row.status) for row in rows] == [
        ("mobileclip-demo", "fp16", "coreml", "done"),
        ("tinyclip-demo", "fp16", "coreml", "done"),
    ]
    assert {(row.size_bytes, row.wall_s, row.peak_rss_mb) for row in rows} == {(1_000_000, 1.5, 512.0)}
    assert said == [(what, model) for model in asked.models for what in ("began", "ended")]
    pids = {line.split()[-1] for line in (tmp_path / "log").read_text().splitlines()}
    assert len(pids) == 2
    assert str(os.getpid()) not in pids
    again, said = _run(asked, "make")
    assert [row.status for row in again] == ["kept", "kept"]
    assert said == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("half_killed", "its process was killed by SIGKILL: most often the system, which ran out of memory"),
        ("half_failing", "coreml: image tower of mobileclip-demo: no such lowering"),
    ],
)
def test_what_fails_stops_nothing_else_and_leaves_nothing(tmp_path, work, reason):
    rows, _ = _run(sweep(tmp_path), work)
    assert [(row.status, row.reason) for row in rows] == [("failed", reason), ("done", None)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "tinyclip-demo"]
    again, _ = _run(sweep(tmp_path), "make")
    assert [row.status for row in again] == ["done", "kept"]


@pytest.mark.slow
def test_ctrl_c_ends_what_runs_and_the_next_run_goes_on(tmp_path, hears_ctrl_c):
    def interrupt():
        while not list(tmp_path.glob(".tinyclip-demo.partial-*/half")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(InterruptedSweepError, match="interrupted: 1 of 2 conversions are there; the same command goes on"):
        _run(sweep(tmp_path), "endless")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "mobileclip-demo"]
    again, _ = _run(sweep(tmp_path), "make")
    assert [row.status for row in again] == ["kept", "done"]


class Counting:
    """Does jobs in threads of this process, and counts how many run at once, altogether and for one bundle."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: list[Job] = []
        self.most = self.most_of_one = 0

    def __call__(self, job: Job) -> Made:
        with self.lock:
            self.running.append(job)
            self.most = max(self.most, len(self.running))
            self.most_of_one = max(self.most_of_one, sum(other.out == job.out for other in self.running))
        time.sleep(0.1)
        job.out.mkdir(parents=True, exist_ok=True)
        (job.out / "edgeclip.json").touch()
        with self.lock:
            self.running.remove(job)
        return Made({}, 0.1, 1.0)


@pytest.mark.parametrize(("width", "most"), [(1, 1), (2, 2), (None, 4)])
def test_so_many_at_a_time_and_of_one_bundle_one_after_the_other(tmp_path, width, most):
    asked = sweep(tmp_path, targets=("coreml", "executorch"), schemes=("w8", "w4"))
    counting = Counting()
    with ThreadPoolExecutor(8) as executor:
        rows = run(plan(asked), Place(executor, counting, width, lambda: None), Told())
    assert [row.status for row in rows] == ["done"] * 8
    assert (counting.most, counting.most_of_one) == (most, 1)
    order = [(model, scheme, target) for model in asked.models for scheme in ("w8", "w4") for target in asked.targets]
    assert [(row.model, row.scheme, row.target) for row in rows] == order, "in the order in which they were asked for"


def test_what_an_executor_gives_up_has_failed(tmp_path):
    class Giving(ThreadPoolExecutor):
        def submit(self, *args):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with Giving(1) as executor:
        rows = run(plan(sweep(tmp_path)), Place(executor, lambda job: None, None, lambda: None), Told())
    assert {row.reason for row in rows} == {"the cluster gave it up; is its scheduler still there?"}


def test_what_was_made_where_it_cannot_be_seen_has_failed(tmp_path):
    with ThreadPoolExecutor(1) as executor:
        rows = run(plan(sweep(tmp_path)), Place(executor, lambda job: Made({}, 1, 1), None, lambda: None), Told())
    assert all("converted, but not to be seen from here" in str(row.reason) for row in rows)
