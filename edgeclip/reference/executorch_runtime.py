"""The official ExecuTorch runtime, in a process of its own.

Its loader is native code that trusts its input: a damaged or hostile `.pte` can crash the process that loads it. So the hash is checked
first, and even then loading and running happen in a worker (`executorch_worker`), which may die without harm.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from edgeclip.errors import BundleError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.reference.executorch_worker import FAILED, receive, send
from edgeclip.reference.runtime import NATIVE, Runner


class ExecuTorchRunner(Runner):
    """One `.pte` in a worker process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self._worker = subprocess.Popen(
            [sys.executable, "-m", "edgeclip.reference.executorch_worker", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._answer("load")

    def encode(self, batch: np.ndarray) -> np.ndarray:
        rows = []
        for row in batch:
            self._ask(row[None])
            rows.append(np.load(io.BytesIO(self._answer("run")), allow_pickle=False))
        return np.concatenate(rows)

    def _ask(self, row: np.ndarray) -> None:
        content = io.BytesIO()
        np.save(content, np.ascontiguousarray(row), allow_pickle=False)
        assert self._worker.stdin is not None
        try:
            send(self._worker.stdin, 0, content.getvalue())
        except BrokenPipeError:
            self._fail("run")

    def _answer(self, doing: str) -> bytes:
        assert self._worker.stdout is not None
        message = receive(self._worker.stdout)
        if message is None:
            self._fail(doing)
        status, content = message
        if status == FAILED:
            self.close()
            raise BundleError(f"{self._path}: ExecuTorch cannot {doing} it ({content.decode('utf-8', 'replace')})")
        return content

    def _fail(self, doing: str) -> None:
        code = self._worker.wait()
        self._log.seek(0)
        last = self._log.read()[-2000:].decode("utf-8", "replace").strip().splitlines()[-1:]
        self.close()
        how = f"crashed with {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        raise BundleError(f"{self._path}: the ExecuTorch runtime {how} while it tried to {doing} it {last}")

    def close(self) -> None:
        if self._worker.stdin and not self._worker.stdin.closed:
            try:
                self._worker.stdin.close()
            except BrokenPipeError:
                self._worker.kill()
        try:
            self._worker.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()
        if self._worker.stdout:
            self._worker.stdout.close()
        self._log.close()


class ExecuTorchRuntime:
    """Runs ExecuTorch artifacts for XNNPACK and the portable kernels."""

    name = "executorch"

    def modes(self, scheme: str) -> tuple[str, ...]:
        return NATIVE

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        return ExecuTorchRunner(bundle.verified_path(artifact))


RUNTIME = ExecuTorchRuntime()
