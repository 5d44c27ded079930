"""Counting the instructions that an emulated processor executes, by a plugin of QEMU that is compiled here (`count.c`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgeclip.errors import BundleError, MissingPackageError
from edgeclip.manifest import Artifact, Bundle
from edgeclip.reference.executorch_runtime import ExecuTorchRunner
from edgeclip.reference.qemu_arm64 import machine, place
from edgeclip.reference.qemu_arm64.runtime import EmulatedWorker, check_delegates

SOURCE = Path(__file__).with_name("count.c")
_BEFORE, _AFTER = 0, 1  # what `guest` marks each inference with


def compiler() -> str:
    """The C compiler for this machine: $CC, or `cc`. Raises MissingPackageError."""
    wanted = os.environ.get("CC") or "cc"
    found = shutil.which(wanted)
    if found is None:
        raise MissingPackageError(
            f"counting instructions needs a C compiler, and {wanted} is not installed: apt-get install gcc"
        )
    return found


def build(folder: Path) -> Path:
    """Compile the plugin into a folder."""
    library = folder / "libcount.so"
    command = [compiler(), "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-o", str(library), str(SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise MissingPackageError(
            f"{SOURCE.name}: {command[0]} cannot compile it: {(done.stderr.strip() or '?').splitlines()[-1]}"
        )
    return library


class CountingWorker(EmulatedWorker):
    """An emulated runtime with one processor, that counts what every inference executes."""

    def __init__(self, root: Path, mode: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="edgeclip-count-")
        self._counts = Path(self._folder.name, "counts")
        try:
            library = build(Path(self._folder.name))
            program = [*machine.emulator(root / "host"), "-plugin", f"{library},out={self._counts}"]
            super().__init__(root, mode, program, marked=True)
        except BaseException:
            self._folder.cleanup()
            raise

    def counts(self) -> list[int]:
        """Instructions of each inference so far. Raises BundleError if the plugin wrote something else."""
        text = self._counts.read_text("ascii", "replace")
        try:
            marks = [(int(kind), int(count)) for kind, count in (line.split() for line in text.splitlines())]
        except ValueError as error:
            raise BundleError(f"the counting plugin wrote what is no count: {text[-80:]!r}") from error
        before, after = marks[::2], marks[1::2]
        ordered = [kind for kind, _ in marks] == [_BEFORE, _AFTER] * len(after)
        if not ordered or any(last[1] <= first[1] for first, last in zip(before, after, strict=True)):
            raise BundleError(f"the counting plugin wrote counts that do not rise: {text[-80:]!r}")
        return [last[1] - first[1] for first, last in zip(before, after, strict=True)]

    def close(self) -> None:
        super().close()
        if self._owner == os.getpid():
            self._folder.cleanup()


def open_worker(mode: str) -> CountingWorker:
    """A new worker. Raises MissingPackageError where there is no set-up, or no compiler."""
    if missing := place.missing():
        raise MissingPackageError(f"qemu-arm64: {missing}")
    return CountingWorker(place.folder(), mode)


def open_runner(worker: CountingWorker, bundle: Bundle, artifact: Artifact) -> ExecuTorchRunner:
    """An artifact in a counting worker, its hash checked."""
    path = bundle.verified_path(artifact)
    check_delegates(worker, artifact, path)
    return ExecuTorchRunner(path, artifact.method, worker)
