"""Workers as the host runner sees them: each may die of what it loads, and is then an error that says how."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, TypeVar

from msgspec import Struct

from edgeclip.errors import BundleError, EdgeclipError, MissingPackageError, NotRunnableError
from profiles.runners.host_messages import Failed, GarbledError, Load, Request, decoded, receive, send
from profiles.runners.host_worker import READY

SILENCE_S = 900.0  # without an answer, beyond what was asked for, a worker counts as hung
_STARTS_S = 300.0
_LOG_BYTES = 4000
COPIES = sys.platform == "linux"  # macOS: a copied process may not use frameworks, see its fork(2)

# Python puts the current folder first on the path, where a bundle could bring a `torch.py` along.
_START = (
    "import sys; sys.path[:] = [path for path in sys.path if path] + sys.argv[4:];"
    "from profiles.runners.host_worker import main; main(int(sys.argv[1]), sys.argv[2], sys.argv[3] == 'copies')"
)

T = TypeVar("T", bound=Struct)


class WorkerError(EdgeclipError):
    """A worker died, hung or talked nonsense; the text says how, not what it was doing."""


class Template:
    """A process that has imported a runtime's libraries. `ready` waits until it has.

    copies: workers are made from it; else it is the one worker itself. Temporary files that they leave behind go with it.
    """

    def __init__(self, runtime: str, copies: bool = COPIES) -> None:
        self.runtime = runtime
        self._copies = copies
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self._scratch = tempfile.TemporaryDirectory(prefix="edgeclip-", ignore_cleanup_errors=True)
        self._channel, other = socket.socketpair()
        with other:
            how = "copies" if copies else "one"
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(other.fileno()), runtime, how, str(Path(__file__).parents[2])],
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
                pass_fds=(other.fileno(),),
                env={**os.environ, "TMPDIR": self._scratch.name},
            )
        self._ready = False

    def ready(self) -> None:
        """Raises MissingPackageError if the libraries cannot be imported."""
        if self._ready:
            return
        word = self._answer(_STARTS_S)
        if word != READY:
            raise MissingPackageError(f"the runtime {self.runtime} does not start here: {word.decode('utf-8', 'replace')}")
        self._ready = True

    def worker(self) -> tuple[socket.socket, int]:
        """A channel to a new worker, and its process id."""
        self.ready()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._channel, [b"work"], [theirs.fileno()])
        if not self._copies:
            return ours, self._process.pid
        return ours, int(self._answer(_STARTS_S))

    def status(self, worker: int) -> int:
        """How a worker ended, as `Popen.returncode`."""
        if not self._copies:
            return self._process.wait()
        self._channel.sendall(str(worker).encode())
        return os.waitstatus_to_exitcode(int(self._answer(_STARTS_S)))

    def _answer(self, timeout_s: float) -> bytes:
        self._channel.settimeout(timeout_s)
        try:
            word = self._channel.recv(1024)
        except TimeoutError:
            word = b""
        if not word:
            self._process.kill()
            raise WorkerError(f"the runtime {self.runtime} does not start here{last_line(self.log, 0)}")
        return word

    def close(self) -> None:
        """End it; workers end by themselves when their channels close."""
        self._process.kill()
        self._process.wait()
        self._channel.close()
        self.log.close()
        self._scratch.cleanup()


class Worker:
    """One process for one job; a context manager, at whose end the process is gone."""

    def __init__(self, template: Template, name: str) -> None:
        self.name = name
        self._template = template
        template.ready()
        self._log_from = os.fstat(template.log.fileno()).st_size
        self._channel, self._pid = template.worker()
        self._status: int | None = None

    def ask(self, request: Request, kind: type[T], most_s: float = 0.0) -> T:
        """Raises BundleError if it refused, crashed, hung or answered nonsense; NotRunnableError if nothing here runs it."""
        failed = f"{self.name}: cannot {'load' if isinstance(request, Load) else 'run'} it"
        self._channel.settimeout(SILENCE_S + most_s)
        try:
            send(self._channel, request)
            content = receive(self._channel)
            answer: T | Failed | None = None if content is None else decoded(content, kind | Failed)  # type: ignore[arg-type]
        except TimeoutError as error:
            self._end()
            raise BundleError(f"{failed}: no answer for {SILENCE_S + most_s:.0f} s") from error
        except GarbledError as error:
            self._end()
            raise BundleError(f"{failed}: its worker answers nonsense: {error}") from error
        except (BrokenPipeError, ConnectionResetError):
            answer = None
        if answer is None:
            raise BundleError(f"{failed}: {self._obituary()}")
        if isinstance(answer, Failed):
            raise NotRunnableError(answer.why) if answer.lacking else BundleError(f"{failed}: {answer.why}")
        return answer

    def _obituary(self) -> str:
        status, line = self._end(), last_line(self._template.log, self._log_from)
        how = f"crashed with {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"the runtime {how}{line}"

    def _end(self) -> int:
        """Kill it -> how it ended, which is by itself if it has closed the channel: then it is past being killed.

        Until the template has told, nobody else can have its process id.
        """
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._status = self._template.status(self._pid)
        return self._status

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._channel.close()
        try:
            self._end()
        except WorkerError:
            if error is None:
                raise


def last_line(log: IO[bytes], start: int) -> str:
    """What was printed last since `start`, with a colon in front; nothing if nothing was."""
    end = os.fstat(log.fileno()).st_size
    start = max(start, end - _LOG_BYTES)
    lines = os.pread(log.fileno(), end - start, start).decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
