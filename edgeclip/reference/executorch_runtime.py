"""The official ExecuTorch runtime, in a worker. One serves all programs, since starting it takes seconds; after a crash the
next program gets a new one.
"""

from __future__ import annotations

import atexit
import itertools
from pathlib import Path

from edgeclip.errors import NotRunnableError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.reference.runtime import Runner, Runtime
from edgeclip.reference.worker import TELL
from edgeclip.reference.worker_process import Worker, WorkerError, WorkerRunner, python_command


class _Shared:
    """The worker in use, if any."""

    worker: Worker | None = None
    numbers = itertools.count()


def shared_worker() -> Worker:
    """The running worker, or a new one."""
    if _Shared.worker is None or not _Shared.worker.alive:
        if _Shared.worker is not None:
            _Shared.worker.close()
        _Shared.worker = Worker(python_command("edgeclip.reference.executorch_worker"))
        atexit.register(_Shared.worker.close)
    return _Shared.worker


def _delegates() -> list[str]:
    """The delegates that can run here."""
    try:
        return shared_worker().ask(TELL, 0).decode().splitlines()
    except WorkerError as error:
        raise NotRunnableError(f"the ExecuTorch runtime does not start here: {error}") from error


class ExecuTorchRunner(WorkerRunner):
    """One method of a `.pte` in the worker."""

    maker = "ExecuTorch"

    def __init__(self, path: Path, method: str = "forward", worker: Worker | None = None) -> None:
        super().__init__(worker or shared_worker(), next(_Shared.numbers), path, f"{method}\n{path.resolve()}".encode())


class ExecuTorchRuntime(Runtime):
    """Runs ExecuTorch artifacts, as far as the delegates that they need are in the installed runtime."""

    name = "executorch"

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        path = bundle.verified_path(artifact)
        lacking = [name for name in artifact.delegates if name not in _delegates()]
        if lacking:
            raise NotRunnableError(f"{path}: the ExecuTorch runtime that is installed here has no {', '.join(lacking)}")
        return ExecuTorchRunner(path, artifact.method)


RUNTIME = ExecuTorchRuntime()
