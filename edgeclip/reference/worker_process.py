"""Workers as runtimes see them: native loaders trust their input, so each runs in a process that may die without harm.

A damaged or hostile file can crash the process that loads it, even where its hash is right. A runtime that is native code is
a module with a `main` (see `worker`), and a `WorkerRunner` that says how errors begin.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeclip.errors import BundleError
from edgeclip.reference.runtime import Runner
from edgeclip.reference.worker import FAILED, FREE, LOAD, RUN, TELL, Message, receive, send

# Python puts the current folder first on the path, where a bundle could bring a `torch.py` along.
_START = (
    "import importlib, sys; sys.path[:] = [path for path in sys.path if path] + sys.argv[2:];"
    "importlib.import_module(sys.argv[1]).main()"
)


def python_command(module: str) -> list[str]:
    """What starts this Python with a module's `main`."""
    return [sys.executable, "-c", _START, module, str(Path(__file__).parents[2])]


LOADING_LIMIT_S = 900.0  # for reading a file, which a hostile one need never end; an inference takes as long as its size says


class WorkerError(Exception):
    """The worker could not do what it was asked, or died of it; the text says how."""


class Worker:
    """The other side of `worker.serve`. command: what starts it. Temporary files that it leaves behind go with it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self._scratch = tempfile.TemporaryDirectory(prefix="edgeclip-", ignore_cleanup_errors=True)
        pipe = subprocess.PIPE
        environment = {**(os.environ if environment is None else environment), "TMPDIR": self._scratch.name}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._log, env=environment)
        self._owner = os.getpid()
        self._late = False

    @property
    def alive(self) -> bool:
        """Whether requests can be sent, from this process."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, code: int, program: int, content: bytes = b"") -> bytes:
        """Send a request and wait for its answer. Raises WorkerError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._limited() if code in (LOAD, TELL) else contextlib.nullcontext():
            try:
                send(self._process.stdin, Message(code, program, content))
                answer = receive(self._process.stdout)
            except BrokenPipeError:
                answer = None
        if answer is None:
            raise WorkerError(self._obituary())
        if answer.code == FAILED:
            raise WorkerError(answer.content.decode("utf-8", "replace"))
        return answer.content

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        watch = threading.Timer(LOADING_LIMIT_S, self._give_up)
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def _obituary(self) -> str:
        if self._late:
            return f"the runtime had not read it after {LOADING_LIMIT_S:g} s"
        try:
            code = self._process.wait(timeout=5)
            how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        except subprocess.TimeoutExpired:  # it talks nonsense, or takes long to end
            self._process.kill()
            self._process.wait()
            how = "does not answer any more"
        self._log.seek(0)
        lines = self._log.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        return f"the runtime {how}{': ' + lines[-1] if lines else ''}"

    def close(self) -> None:
        """End the process."""
        if self._owner != os.getpid():
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not read before it died
                    stream.close()
        self._scratch.cleanup()


class WorkerRunner(Runner):
    """One program in a worker. names: what LOAD takes. maker: whose runtime it is, for errors."""

    maker: str

    def __init__(self, worker: Worker, program: int, path: Path, names: bytes) -> None:
        self._worker = worker
        self._program = program
        self._path = path
        self._ask(LOAD, names)

    def _ask(self, code: int, content: bytes) -> bytes:
        try:
            return self._worker.ask(code, self._program, content)
        except WorkerError as error:
            doing = "load" if code == LOAD else "run"
            raise BundleError(f"{self._path}: {self.maker} cannot {doing} it: {error}") from error

    def encode(self, batch: np.ndarray) -> np.ndarray:
        rows = []
        for row in batch:
            content = io.BytesIO()
            np.save(content, np.ascontiguousarray(row[None]), allow_pickle=False)
            rows.append(np.load(io.BytesIO(self._ask(RUN, content.getvalue())), allow_pickle=False))
        return np.concatenate(rows)

    def close(self) -> None:
        if self._worker.alive:
            self._ask(FREE, b"")
