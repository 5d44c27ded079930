"""A call in a process of its own: its answer, and all the ways in which it may end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeclip.sweep.apart import ApartError, WithdrawnError, call_apart

pytestmark = pytest.mark.slow

WORK = "tests.sweep.work"


def test_an_answer_comes_back_and_what_is_printed_does_not(capfd):
    assert call_apart(f"{WORK}:add", (2, 3)) == 5
    assert capfd.readouterr() == ("", "")
    assert call_apart(f"{WORK}:add", (2, 3), verbose=True) == 5
    assert capfd.readouterr() == ("", "libraries print\n")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "internal error: ZeroDivisionError: oh"),
        ("leave_with_3", "its process ended with status 3: Fatal: cannot go on"),
        ("kill", "its process was killed by SIGKILL: most often the system, which ran out of memory"),
        ("nothing", "internal error: AttributeError: module 'tests.sweep.work' has no attribute 'nothing'"),
    ],
)
def test_how_a_call_fails_is_said_in_one_line(name, said):
    with pytest.raises(ApartError) as caught:
        call_apart(f"{WORK}:{name}", None)
    assert str(caught.value) == said


def test_a_call_that_is_withdrawn_ends_by_itself(tmp_path):
    path = tmp_path / "pid"
    with pytest.raises(WithdrawnError):
        call_apart(f"{WORK}:wait_for_ever", str(path), wanted=lambda: not path.exists() or not path.read_text())
    assert (tmp_path / "pid.left").exists(), "it was interrupted, not killed"
    assert _is_gone(int(path.read_text()))


def test_a_call_ends_with_the_process_that_made_it(tmp_path):
    path, temporary = tmp_path / "pid", tmp_path / "temporary"
    temporary.mkdir()
    code = f"from edgeclip.sweep.apart import call_apart; call_apart('{WORK}:wait_for_ever', {str(path)!r})"
    caller = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(temporary)})
    while not (path.exists() and path.read_text()):
        time.sleep(0.05)
        assert caller.poll() is None
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 20
    while not _is_gone(int(path.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (tmp_path / "pid.left").exists()
    assert list(temporary.iterdir()) == []


def test_what_it_leaves_among_temporary_files_goes_with_it():
    assert not Path(call_apart(f"{WORK}:temporary", None)).exists()


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"  # nobody has asked how it ended
