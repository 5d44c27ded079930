"""`adb`: the devices it sees, and a session on one of them in which nothing that arrives altered is believed.

A command runs in the device's shell with its output in a file there; what comes back is that file, the exit status and the
command's number as its last line, and the SHA-256 of it all as the device computed it. Any byte that is lost or changed on the
way, of the output, the status or the hash, makes the hashes differ. Files are compared by hash in both directions. Needs
`sha256sum`, which toybox has since Android 8.

Texts of adb's errors: packages/modules/adb, `client/` and `transport.cpp`, and the `adb` page of Android's developer guide.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edgeclip.errors import DeviceError, UsageError
from edgeclip.manifest import file_sha256
from profiles.runners.commands import Completed, call, explained, printable

SCRATCH = "/data/local/tmp"  # the one folder where Android lets adb's user write programs and run them
_MISSING = "install Android's platform-tools (https://developer.android.com/tools/releases/platform-tools)"
_QUICK_S = 30.0
_ALLOW = "unlock it and accept the question 'Allow USB debugging?'"
_BYTES_PER_S = 1_000_000  # slower than any link that is fit for use: how long a transfer may take

# How `adb devices` calls what cannot be used yet, and what to do. A state is the text after the tab, or begins so.
STATES = (
    ("offline", "is offline: unlock it and reconnect the cable, or run `adb reconnect offline`"),
    ("unauthorized", f"does not trust this computer: {_ALLOW}"),
    ("authorizing", f"is asking whether it may trust this computer: {_ALLOW}"),
    ("connecting", "is still connecting: try again in a few seconds"),
    ("no permissions", "may not be opened by this user: set up udev rules (https://developer.android.com/studio/run/device)"),
    ("recovery", "is in recovery: boot Android"),
    ("sideload", "waits for a sideload: boot Android"),
    ("rescue", "is in rescue mode: boot Android"),
    ("bootloader", "is in its bootloader: boot Android"),
    ("host", "is not a phone"),
)

# What adb says when a command fails, and what that means.
FAILURES = (
    (r"device '?.*'? not found|no devices/emulators found|device not found", "is gone: adb does not see it (any more)"),
    (r"device offline", STATES[0][1]),
    (r"device unauthorized", STATES[1][1]),
    (r"device still authorizing", STATES[2][1]),
    (r"device still connecting", STATES[3][1]),
    (r"no permissions|insufficient permissions", STATES[4][1]),
    (r"no space left on device", f"has no space left in {SCRATCH}: free some"),
    (r"read-only file system|permission denied", f"does not let adb write to {SCRATCH}"),
    (r"cannot connect to daemon|failed to (start daemon|check server version)", "was not asked: adb's server does not start"),
    (r"disconnected|error: closed|protocol fault|connection reset|broken pipe|connection refused", "broke off the connection"),
)

_DEVICE = re.compile(r"(\S+)\t(\S.*)")
_ANSWER = re.compile(rb"(?s)((.*)\n(\d{1,3}) of (\d+)\n)([0-9a-f]{64})  -\n")
_SUM = re.compile(r"([0-9a-f]{64})  (\S+)")


@dataclass(frozen=True)
class Answer:
    """What a command printed on the device, stdout and stderr together as they came, and how it ended."""

    status: int
    output: bytes

    @property
    def text(self) -> str:
        """The output, which has to be UTF-8 to be believed."""
        try:
            return self.output.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DeviceError(f"the device answered bytes that are no text: {error}") from error


def devices() -> dict[str, str]:
    """Serial numbers and states of what adb sees."""
    done = call(["adb", "devices"], within_s=_QUICK_S, missing=_MISSING)
    if done.status != 0:
        raise DeviceError(f"adb devices failed: {done.complaint}")
    lines = [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line and not line.startswith("*")]
    found = [_DEVICE.fullmatch(line) for line in lines[1:]]
    if not lines or not lines[0].startswith("List of devices attached") or None in found:
        raise DeviceError("adb devices printed something that is not its list of devices; update platform-tools")
    return {match[1]: match[2].strip() for match in found if match}


def choose(serial: str) -> str:
    """The serial number to use: the one asked for, or of the only device, if it is ready."""
    seen = devices()
    if not serial:
        if not seen:
            raise DeviceError("adb sees no device: connect one, with USB debugging on (Settings, Developer options)")
        if len(seen) > 1:
            raise UsageError(f"several devices are connected, say which: {', '.join(f'android:{one}' for one in seen)}")
        serial = next(iter(seen))
    if serial not in seen:
        others = f"; it sees {', '.join(seen)}" if seen else ""
        raise DeviceError(f"android:{serial}: adb sees no such device{others}")
    state = seen[serial]
    if state != "device":
        does = next((text for begins, text in STATES if state.startswith(begins)), f"is in state {printable(state)!r}")
        raise DeviceError(f"android:{serial}: {does}")
    return serial


class Session:
    """A folder of our own on a device. Leaving it removes the folder and ends what still runs from it, whatever happened."""

    def __init__(self, serial: str) -> None:
        self.serial = serial
        self.folder = f"{SCRATCH}/edgeclip-{secrets.token_hex(6)}"
        self._asked = 0
        self.left: str | None = None  # why the folder could not be removed

    def __enter__(self) -> Session:
        try:
            self._begin()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _begin(self) -> None:
        empty = f"{hashlib.sha256(b'').hexdigest()}  -\n".encode()
        made = f"mkdir -m 700 {self.folder} && sha256sum </dev/null"
        done = self._adb(["exec-out", made], _QUICK_S)
        if done.status != 0 or done.stdout != empty:
            raise self._failed(done, "nothing can be checked there without sha256sum (Android 8 and later has it)")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.left = self._clean_up()
        if self.left and isinstance(error, DeviceError) and self.folder not in str(error):
            raise DeviceError(f"{error}; {self.folder} may be left on it") from error

    def _clean_up(self) -> str | None:
        """End our processes and remove the folder; what is wrong, if that could not be done."""
        name = self.folder.rpartition("/")[2]
        try:
            # In brackets, so that the pattern does not match the shell that it is part of.
            self._adb(["exec-out", f"pkill -9 -f '[{name[0]}]{name[1:]}'"], _QUICK_S)
            done = self._adb(["exec-out", f"rm -rf {self.folder}; [ -e {self.folder} ] || echo removed"], _QUICK_S)
        except DeviceError as error:
            return f"{error}; {self.folder} may be left on it"
        return None if done.stdout.strip() == b"removed" else f"android:{self.serial}: {self.folder} may be left on it"

    def run(self, script: str, *, within_s: float = _QUICK_S) -> Answer:
        """Run a shell script in the folder. What it prints, on stdout or stderr, and its status arrive whole or not at all."""
        self._asked += 1
        framed = (
            f"cd {self.folder} && {{ ( {script}\n) >.answer 2>&1 </dev/null; printf '\\n%d of {self._asked}\\n' $? >>.answer; "
            "cat .answer; sha256sum <.answer; }"
        )
        done = self._adb(["exec-out", framed], within_s)
        return self.unframed(done)

    def unframed(self, done: Completed) -> Answer:
        """The answer in what adb printed, if the hash that the device sent is that of what has arrived."""
        whole = _ANSWER.fullmatch(done.stdout)
        if done.status != 0 or whole is None:
            raise self._failed(done, "its answer broke off or arrived garbled; is it still connected?")
        if hashlib.sha256(whole[1]).hexdigest() != whole[5].decode() or int(whole[4]) != self._asked:
            raise DeviceError(f"android:{self.serial}: its answer was altered on the way; try another cable or port")
        return Answer(int(whole[3]), whole[2])

    def read(self, script: str) -> str:
        """What a script prints that has to succeed."""
        answer = self.run(script)
        if answer.status != 0:
            raise DeviceError(f"android:{self.serial}: status {answer.status} from {script!r}: {printable(answer.text[-200:])}")
        return answer.text

    def push(self, files: Sequence[Path], name: str = "") -> None:
        """Copy files into the folder, one under another name or several under their own, and compare what has arrived."""
        size = sum(file.stat().st_size for file in files)
        done = self._adb(["push", *(str(file.resolve()) for file in files), f"{self.folder}/{name}"], self._transfer_s(size))
        if done.status != 0:
            raise self._failed(done, f"{files[0].name} could not be copied to it")
        names = [name or file.name for file in files]
        arrived = self.sums(self.read(shlex.join(["sha256sum", *names])), names)
        for file, one in zip(files, names, strict=True):
            if arrived[one] != file_sha256(file):
                raise DeviceError(f"android:{self.serial}: {file.name} arrived altered; try another cable or port")

    def pull(self, expected: Mapping[str, str], to: Path) -> dict[str, Path]:
        """Fetch files of the folder into another. expected: their hashes, which the device has told before."""
        remote = [f"{self.folder}/{name}" for name in expected]
        done = self._adb(["pull", *remote, str(to)], self._transfer_s(1 << 30))
        if done.status != 0:
            raise self._failed(done, "its results could not be fetched")
        for name, digest in expected.items():
            if not (to / name).is_file() or file_sha256(to / name) != digest:
                raise DeviceError(f"android:{self.serial}: {name} was altered on the way; try another cable or port")
        return {name: to / name for name in expected}

    def sums(self, text: str, names: Sequence[str]) -> dict[str, str]:
        """SHA-256 by name, in what `sha256sum NAMES` printed."""
        found = [_SUM.fullmatch(line) for line in text.splitlines()]
        named = {match[2]: match[1] for match in found if match}
        if None in found or sorted(named) != sorted(names):
            raise DeviceError(f"android:{self.serial}: its sha256sum does not print a hash and a name for each file")
        return named

    def _adb(self, arguments: Sequence[str], within_s: float) -> Completed:
        try:
            return call(["adb", "-s", self.serial, *arguments], within_s=within_s, missing=_MISSING)
        except DeviceError as error:
            raise DeviceError(f"android:{self.serial}: {error}") from error

    def _failed(self, done: Completed, otherwise: str) -> DeviceError:
        """What to say of a call that failed: what adb said, if it is known, or its last words."""
        said = "\n".join((done.stderr, done.stdout[-2000:].decode("utf-8", "replace")))
        meaning = explained(said, FAILURES)
        return DeviceError(f"android:{self.serial}: {meaning or f'{otherwise} ({done.complaint})'}")

    @staticmethod
    def _transfer_s(size_bytes: int) -> float:
        return _QUICK_S + size_bytes / _BYTES_PER_S
