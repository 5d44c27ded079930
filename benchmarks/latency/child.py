"""Work in child processes that may die: a contender that raises or crashes is one row that says so, and the others go on.

A child announces what it is about to do before it does it, so that its death can be laid at the right door. Messages are
JSON lines on a descriptor of their own, since native code prints where it likes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

SCRIPT = Path(__file__).parents[1] / "latency_vs_peers.py"
MOST_REASON = 200  # characters: what fits below a table


class Reporter:
    """The child's side."""

    def __init__(self) -> None:
        self._messages: IO[str] = os.fdopen(os.dup(1), "w", buffering=1)
        with Path(os.devnull).open("wb") as nowhere:  # errors go to stderr, where the parent looks for a reason
            os.dup2(nowhere.fileno(), 1)
        sys.excepthook = self._raised

    def doing(self, contender: str, step: str | None = None) -> None:
        """Whose fault it is if this process ends now; a named step is worth telling the user."""
        self._send({"doing": contender, "step": step})

    def refused(self, contender: str, why: str) -> None:
        """A contender that has no result."""
        self._send({"refused": contender, "why": why})

    def found(self, contender: str, facts: dict[str, Any]) -> None:
        """What was found out about a contender."""
        self._send({"found": contender, "facts": facts})

    def _send(self, message: dict[str, Any]) -> None:
        self._messages.write(json.dumps(message) + "\n")

    def _raised(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self._send({"raised": one_line(f"{kind.__name__}: {error}")})
        sys.__excepthook__(kind, error, trace)


def one_line(text: str) -> str:
    """The beginning of a text, without line breaks."""
    text = " ".join(text.split())
    return text if len(text) <= MOST_REASON else text[: MOST_REASON - 3] + "..."


@dataclass
class Gathered:
    """What children reported: facts by contender, and why others have none."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def run(task: dict[str, Any], contenders: Sequence[str], timeout_s: float, say: Callable[[str], None]) -> Gathered:
    """Give a task for all contenders to a child; after its death, the same for those it did not die of."""
    gathered = Gathered()
    left = list(contenders)
    while left:
        guilty, why = _attempt({**task, "contenders": left}, gathered, timeout_s, say)
        if why is None:
            break
        if guilty is None:
            raise SystemExit(f"the benchmark itself failed: {why}")
        gathered.failed[guilty] = why
        gathered.facts.pop(guilty, None)
        say(f"{guilty}: {why}")
        left = [name for name in left if name not in gathered.failed]
    return gathered


def _attempt(
    task: dict[str, Any], gathered: Gathered, timeout_s: float, say: Callable[[str], None]
) -> tuple[str | None, str | None]:
    """Run one child -> (what it was doing, why it died); no reason means that it finished."""
    doing = raised = None
    command = [sys.executable, str(SCRIPT), "--child", json.dumps(task)]
    # Runtimes on OpenMP read it once, before anyone can tell them otherwise.
    surroundings = {**os.environ, "OMP_NUM_THREADS": str(task.get("threads", 1))}
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=surroundings)
        assert child.stdout is not None
        for line in _lines(child, timeout_s):
            message = json.loads(line)
            doing, raised = message.get("doing", doing), message.get("raised", raised)
            if message.get("step"):
                say(f"{message['step']} {doing}")
            if "refused" in message:
                gathered.failed[message["refused"]] = one_line(message["why"])
                say(f"{message['refused']}: {one_line(message['why'])}")
            if "found" in message:
                gathered.facts[message["found"]] = message["facts"]
        status = child.wait()
        if not status:
            return doing, None
        log.seek(0)
        return doing, raised or _obituary(status, timeout_s, log.read().decode("utf-8", "replace"))


def _lines(child: subprocess.Popen[bytes], timeout_s: float) -> Any:
    """The lines of a child, which is killed if none comes for `timeout_s`."""
    assert child.stdout is not None
    while True:
        watch = threading.Timer(timeout_s, child.kill)
        watch.start()
        line = child.stdout.readline()
        watch.cancel()
        if not line:
            return
        yield line


def _obituary(status: int, timeout_s: float, log: str) -> str:
    if status == -signal.SIGKILL:
        return f"killed: no answer for {timeout_s:.0f} s, or no memory"
    how = f"crashed with {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    last = log.strip().splitlines()[-1:]
    return one_line(": ".join([how, *last]))
