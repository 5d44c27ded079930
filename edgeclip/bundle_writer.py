"""Writing a bundle so that no half of one can be mistaken for a whole one.

Everything is made in a hidden folder beside the destination, the manifest last; then the two folders change places in
one step. A process killed before that leaves the old bundle as it was and a folder `.NAME.partial-PID`, which the next
conversion removes. Where the system cannot exchange folders, the old one is moved aside first; if the process is killed
just then, the next conversion puts it back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import sys
from pathlib import Path
from types import TracebackType

from edgeclip.errors import BundleError, EdgeclipError, InputError, UsageError
from edgeclip.manifest import MANIFEST_FILE, Manifest, read_manifest

_STAGING = re.compile(r"\.(?P<name>.+)\.(?P<kind>partial|replaced)-(?P<pid>\d+)")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_staging(path: Path) -> bool:
    """Whether a folder is the hidden one of a conversion that has not finished."""
    return _STAGING.fullmatch(path.name) is not None


class BundleWriter:
    """A context in which `folder` is filled; `commit` makes it the bundle, leaving without commit removes it.

    `replaces` is the manifest of the bundle that the new one was made from: if another is there by then, `commit` puts it
    back and refuses. None: nothing may be there; `force`: whatever is there goes.
    """

    def __init__(self, destination: Path, replaces: Manifest | None = None, force: bool = False) -> None:
        self.destination = destination.resolve()
        self.folder = self.destination.with_name(f".{self.destination.name}.partial-{os.getpid()}")
        self.replaces = replaces
        self.force = force

    def __enter__(self) -> BundleWriter:
        with reporting_disk(self.destination):
            self.destination.parent.mkdir(parents=True, exist_ok=True)
            clean_up(self.destination)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def commit(self, manifest: Manifest) -> None:
        """Write the manifest, check that it reads back, and put the folder in its place."""
        with reporting_disk(self.destination):
            path = self.folder / MANIFEST_FILE
            with path.open("wb") as file:
                file.write(manifest.to_json())
                file.flush()
                os.fsync(file.fileno())
            if read_manifest(path) != manifest:
                raise AssertionError("the manifest does not read back as it was written")
            if not self.destination.exists():
                self.folder.rename(self.destination)
                return
            _exchange(self.folder, self.destination)
            if not self.force and not self._displaced_as_expected():
                _exchange(self.folder, self.destination)
                raise UsageError(f"{self.destination}: changed while this conversion ran; nothing was written, run again")
            path.unlink(missing_ok=True)  # the old bundle is no bundle from here on

    def _displaced_as_expected(self) -> bool:
        """Whether `folder`, which after the exchange holds what was at the destination, holds what was there before."""
        if not any(self.folder.iterdir()):
            return self.replaces is None
        try:
            return read_manifest(self.folder / MANIFEST_FILE) == self.replaces
        except BundleError:
            return False


class reporting_no_room:  # noqa: N801 (used as a statement)
    """Turns a full disk into one clear line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise EdgeclipError(f"{self.path}: no room left on the disk ({error.strerror}); nothing was changed") from error


class reporting_disk(reporting_no_room):  # noqa: N801 (used as a statement)
    """Turns any failure to write into one clear line: for statements that do nothing else."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        if isinstance(error, OSError):
            raise InputError(f"{error.filename or self.path}: cannot be written ({error.strerror})") from error


def clean_up(destination: Path) -> None:
    """Remove what killed conversions to the same destination left behind; put back what one had moved aside."""
    for entry in destination.parent.glob(f".{destination.name}.*"):
        match = _STAGING.fullmatch(entry.name)
        if match is None or match["name"] != destination.name or _alive(int(match["pid"])):
            continue
        if match["kind"] == "replaced" and not destination.exists():
            entry.rename(destination)
        else:
            shutil.rmtree(entry, ignore_errors=True)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # Linux: renameat2(2)
_RENAME_SWAP = 2  # macOS: renamex_np(2)


def _exchange(first: Path, second: Path) -> None:
    """Let two folders change places, in one step where the system can (Linux, macOS), else in three."""
    if sys.platform != "win32" and _exchanged_at_once(os.fsencode(first), os.fsencode(second)):
        return
    aside = second.with_name(f".{second.name}.replaced-{os.getpid()}")
    second.rename(aside)
    try:
        first.rename(second)
    except OSError:
        aside.rename(second)
        raise
    aside.rename(first)


def _exchanged_at_once(first: bytes, second: bytes) -> bool:
    """Ask the system to exchange two names in one step; False where it cannot."""
    library = ctypes.CDLL(None)
    if hasattr(library, "renameat2"):
        return bool(library.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE) == 0)
    if hasattr(library, "renamex_np"):
        return bool(library.renamex_np(first, second, _RENAME_SWAP) == 0)
    return False
