"""Core AI's own runtime, each artifact in a worker of its own: starting one takes a fraction of a second.

Off macOS 27 it is the portable runtime that comes with the package: it checks numbers, and is no device's speed. Its float16
results are a device's only as far as rounding goes; `reference.mil.precision` says how it rounds.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from edgeclip.errors import BundleError
from edgeclip.manifest import Artifact, Bundle, file_sha256
from edgeclip.plugins import RUNTIMES
from edgeclip.reference.coreai_graph import Graph
from edgeclip.reference.coreai_worker import Wanted
from edgeclip.reference.runtime import Runner, Runtime
from edgeclip.reference.worker import TELL
from edgeclip.reference.worker_process import Worker, WorkerError, WorkerRunner, python_command

_PROGRAM, _DIGEST = "main.mlirb", "main.hash"
_WORKER = "edgeclip.reference.coreai_worker"


class CoreAIRunner(WorkerRunner):
    """One `.aimodel`, and the worker that lives for it."""

    maker = "Core AI"

    def __init__(self, path: Path, artifact: Artifact) -> None:
        check_program(path)
        wanted = Wanted(str(path.resolve()), artifact.inputs[0], artifact.outputs[0])
        worker = Worker(python_command(_WORKER))
        try:
            super().__init__(worker, 0, path, msgspec.json.encode(wanted))
        except BaseException:
            worker.close()
            raise

    def close(self) -> None:
        self._worker.close()


class CoreAIRuntime(Runtime):
    """Runs Core AI artifacts. A convolution of MobileCLIP-S0's image tower takes seconds here."""

    name = "coreai"
    patience_s = 60.0

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        return CoreAIRunner(bundle.verified_path(artifact), artifact)


RUNTIME = CoreAIRuntime()


def check_program(path: Path) -> None:
    """Raise BundleError if an `.aimodel` lacks its program, or holds another than it was saved with."""
    try:
        digest = (path / _DIGEST).read_bytes()
        right = bytes.fromhex(file_sha256(path / _PROGRAM)) == digest and len(digest) == hashlib.sha256().digest_size
    except OSError as error:
        name = Path(error.filename or path).name
        raise BundleError(f"{path}: no Core AI asset ({name}: {error.strerror}); convert the model again") from error
    if not right:
        raise BundleError(f"{path}: damaged: {_PROGRAM} is not what {_DIGEST} says; convert the model again")


def graph_of(path: Path) -> Graph:
    """What the program of an `.aimodel` consists of. Raises MissingPackageError without Core AI, BundleError if damaged."""
    RUNTIMES["coreai"].load()
    check_program(path)
    worker = Worker(python_command(_WORKER))
    try:
        return msgspec.json.decode(worker.ask(TELL, 0, str(path.resolve()).encode()), type=Graph)
    except (WorkerError, msgspec.DecodeError) as error:
        raise BundleError(f"{path}: Core AI cannot read it: {error}") from error
    finally:
        worker.close()
