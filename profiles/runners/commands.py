"""Programs of other makers (`adb`, `xcrun`): how they are called, and what is said when that fails."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeclip.errors import DeviceError, MissingPackageError

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Completed:
    """What a program left. stdout is bytes, since it may be anything; complaint: the last line that it said on stderr."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def complaint(self) -> str:
        """One line for people: the last of stderr, or of stdout."""
        lines = [*self.stdout.decode("utf-8", "replace").splitlines(), *self.stderr.splitlines()]
        return next((printable(line) for line in reversed(lines) if line.strip()), f"exit status {self.status}")


def call(arguments: Sequence[str], *, within_s: float, missing: str) -> Completed:
    """Run a program to its end. Never a shell: arguments reach it as they are.

    missing: what to do where the program is not on PATH. Past `within_s` it is killed and a DeviceError says so.
    """
    program = shutil.which(arguments[0])
    if program is None:
        raise MissingPackageError(f"{arguments[0]} is not on PATH: {missing}")
    try:
        done = subprocess.run([program, *arguments[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=within_s)
    except subprocess.TimeoutExpired:
        shown = printable(" ".join(arguments))[:80]
        raise DeviceError(f"no answer within {within_s:g} s from: {shown}; is the device awake and connected?") from None
    except OSError as error:
        raise DeviceError(f"{program} cannot be started: {error.strerror}") from error
    return Completed(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


def printable(text: str) -> str:
    """One line without control characters, as an error message takes it; what a device says may hold anything."""
    return _CONTROL.sub(" ", text).strip()[:300]


def explained(said: str, table: Iterable[tuple[str, str]]) -> str | None:
    """The first meaning whose pattern is in what a program said."""
    return next((meaning for pattern, meaning in table if re.search(pattern, said, re.IGNORECASE)), None)
