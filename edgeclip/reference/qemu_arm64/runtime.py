"""ExecuTorch's ARM64 runtime in an emulated process. It checks numbers; how long it takes says nothing about a phone."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from edgeclip.errors import MissingPackageError, NotRunnableError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.reference import worker as worker_file
from edgeclip.reference.executorch_runtime import ExecuTorchRunner
from edgeclip.reference.qemu_arm64 import guest, machine, place
from edgeclip.reference.qemu_arm64.machine import CPUS
from edgeclip.reference.qemu_arm64.parts import GUEST_PYTHON
from edgeclip.reference.runtime import Runner, Runtime
from edgeclip.reference.worker import TELL, processors
from edgeclip.reference.worker_process import Worker, WorkerError


class EmulatedWorker(Worker):
    """`guest` on an emulated processor, from a folder that is set up. Its start takes about a minute.

    marked: one processor only, on which every inference is marked, so that its instructions can be counted.
    """

    def __init__(self, root: Path, mode: str, program: Sequence[str] | None = None, marked: bool = False) -> None:
        self._machine = tempfile.TemporaryDirectory(prefix="edgeclip-arm64-")
        cpu, shown = CPUS[mode], Path(self._machine.name)
        machine.describe(shown, root / "guest", cpu, 1 if marked else processors())
        command = [
            *machine.command(program or machine.emulator(root / "host"), shown, cpu),
            str(root / f"guest/usr/bin/python{GUEST_PYTHON}"),
            *("-I", str(Path(guest.__file__)), str(root / "site"), str(Path(worker_file.__file__))),
            *(["marked"] if marked else []),
        ]
        try:
            super().__init__(command, machine.environment())
        except OSError as error:
            self._machine.cleanup()
            raise NotRunnableError(
                f"{command[0]}: cannot be started ({error.strerror}): delete {root} and run `python {place.SCRIPT}` again"
            ) from error

    def close(self) -> None:
        super().close()
        if self._owner == os.getpid():
            self._machine.cleanup()


class _Running:
    """The workers in use, by mode."""

    workers: ClassVar[dict[str, Worker]] = {}


def worker_of(mode: str) -> Worker:
    """The running worker of a mode, or a new one."""
    worker = _Running.workers.get(mode)
    if worker is None or not worker.alive:
        if missing := place.missing():
            raise MissingPackageError(f"qemu-arm64: {missing}")
        if worker is not None:
            worker.close()
        worker = _Running.workers[mode] = EmulatedWorker(place.folder(), mode)
        atexit.register(worker.close)
    return worker


def delegates(worker: Worker) -> list[str]:
    """The delegates that a worker can run. Raises NotRunnableError if it does not start."""
    try:
        return worker.ask(TELL, 0).decode().splitlines()
    except WorkerError as error:
        raise NotRunnableError(f"the emulated ExecuTorch runtime does not start here: {error}") from error


def check_delegates(worker: Worker, artifact: Artifact, path: Path) -> None:
    """Raise NotRunnableError if an artifact needs a delegate that the worker does not have."""
    there = delegates(worker)
    lacking = [name for name in artifact.delegates if name not in there]
    if lacking:
        raise NotRunnableError(f"{path}: the emulated ExecuTorch runtime has no {', '.join(lacking)}")


class QemuArm64Runtime(Runtime):
    """Runs ExecuTorch artifacts on the kernels that they have on ARM64."""

    name = "qemu-arm64"

    def modes(self, scheme: str) -> tuple[str, ...]:
        return tuple(CPUS)

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        path = bundle.verified_path(artifact)
        worker = worker_of(mode)
        check_delegates(worker, artifact, path)
        return ExecuTorchRunner(path, artifact.method, worker)


RUNTIME = QemuArm64Runtime()
