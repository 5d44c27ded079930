"""What a worker leaves behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeclip.reference.worker import RUN, TELL
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
