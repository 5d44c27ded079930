"""The official ExecuTorch runtime, in a process of its own.

Its loader is native code that trusts its input: a damaged or hostile `.pte` can crash the process that loads it. So the
hash is checked first, and even then loading and running happen in a worker (`executorch_worker`), which may die without
harm. One worker serves all programs, since starting it takes seconds; after a crash the next program gets a new one.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeclip.errors import BundleError, NotRunnableError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.reference.executorch_worker import DELEGATES, FAILED, FREE, LOAD, RUN, Message, receive, send
from edgeclip.reference.runtime import NATIVE, Runner

# Python puts the current folder first on the path, where a bundle could bring a `torch.py` along.
_START = (
    "import sys; sys.path[:] = [path for path in sys.path if path] + sys.argv[1:];"
    "from edgeclip.reference.executorch_worker import main; main()"
)


class WorkerError(Exception):
    """The worker could not do what it was asked, or died of it; the text says how."""


class Worker:
    """The other side of `executorch_worker`. command: what starts it, by default this Python."""

    def __init__(self, command: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        command = command or [sys.executable, "-c", _START, str(Path(__file__).parents[2])]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._log, env=environment)
        self._owner = os.getpid()

    @property
    def alive(self) -> bool:
        """Whether requests can be sent, from this process."""
        return self._owner == os.getpid() and self._process.poll() is None

    def ask(self, code: int, program: int, content: bytes = b"") -> bytes:
        """Send a request and wait for its answer. Raises WorkerError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
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

    def _obituary(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it talks nonsense, but lives
            self._process.kill()
            code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
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


class _Shared:
    """The worker in use, if any."""

    worker: Worker | None = None
    numbers = itertools.count()


def shared_worker() -> Worker:
    """The running worker, or a new one."""
    if _Shared.worker is None or not _Shared.worker.alive:
        if _Shared.worker is not None:
            _Shared.worker.close()
        _Shared.worker = Worker()
        atexit.register(_Shared.worker.close)
    return _Shared.worker


def _delegates() -> list[str]:
    """The delegates that can run here."""
    try:
        return shared_worker().ask(DELEGATES, 0).decode().splitlines()
    except WorkerError as error:
        raise NotRunnableError(f"the ExecuTorch runtime does not start here: {error}") from error


class ExecuTorchRunner(Runner):
    """One method of a `.pte` in the worker."""

    def __init__(self, path: Path, method: str = "forward", worker: Worker | None = None) -> None:
        self._path = path
        self._worker = worker or shared_worker()
        self._program = next(_Shared.numbers)
        self._ask(LOAD, f"{method}\n{path.resolve()}".encode())

    def _ask(self, code: int, content: bytes) -> bytes:
        try:
            return self._worker.ask(code, self._program, content)
        except WorkerError as error:
            doing = "load" if code == LOAD else "run"
            raise BundleError(f"{self._path}: ExecuTorch cannot {doing} it: {error}") from error

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


class ExecuTorchRuntime:
    """Runs ExecuTorch artifacts, as far as the delegates that they need are in the installed runtime."""

    name = "executorch"

    def modes(self, scheme: str) -> tuple[str, ...]:
        return NATIVE

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        path = bundle.verified_path(artifact)
        lacking = [name for name in artifact.delegates if name not in _delegates()]
        if lacking:
            raise NotRunnableError(f"{path}: the ExecuTorch runtime that is installed here has no {', '.join(lacking)}")
        return ExecuTorchRunner(path, artifact.method)


RUNTIME = ExecuTorchRuntime()
