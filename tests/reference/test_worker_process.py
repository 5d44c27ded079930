"""What a worker leaves behind, and one that never answers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeclip.reference import worker_process
from edgeclip.reference.worker import LOAD, RUN, TELL
from edgeclip.reference.worker_process import Worker, WorkerError

# TELL makes a folder with a file in it and names it; RUN crashes.
_MESSY = """
import os, pathlib, tempfile
from edgeclip.reference.worker import TELL, serve

def answer(request):
    if request.code != TELL:
        os.abort()
    folder = tempfile.mkdtemp(suffix=".compiled")
    pathlib.Path(folder, "program").write_bytes(b"x" * 100)
    return folder.encode()

serve(lambda: answer)
"""


@pytest.mark.parametrize("crashes", [False, True], ids=["closed", "crashed"])
def test_temporary_files_of_a_worker_go_with_it(tmp_path, monkeypatch, crashes):
    """Native runtimes compile into the temporary folder, and a process that is killed tidies nothing up."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    worker = Worker([sys.executable, "-c", _MESSY])
    left = Path(worker.ask(TELL, 0).decode())
    assert (left / "program").stat().st_size == 100
    assert tmp_path in left.parents, "where the user wants temporary files"
    if crashes:
        with pytest.raises(WorkerError, match="crashed with SIGABRT"):
            worker.ask(RUN, 0)
    worker.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [LOAD, TELL])
def test_a_file_that_keeps_its_reader_busy_is_an_error(monkeypatch, code):
    monkeypatch.setattr(worker_process, "LOADING_LIMIT_S", 0.2)
    endless = "import time; from edgeclip.reference.worker import serve; serve(lambda: lambda request: time.sleep(600))"
    worker = Worker([sys.executable, "-c", endless])
    with pytest.raises(WorkerError, match=r"the runtime had not read it after 0\.2 s"):
        worker.ask(code, 0)
    worker.close()
