"""Writing a bundle so that no half of one can be mistaken for a whole one.

Everything is made in a hidden folder beside the destination, the manifest last; then the two folders change places in
one step. A process killed before that leaves the old bundle as it was and a folder `.NAME.partial-PID`, which the next
conversion removes.
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

from edgeclip.errors import EdgeclipError, InputError
from edgeclip.manifest import MANIFEST_FILE, Manifest, read_manifest

_STAGING = re.compile(r"\.(?P<name>.+)\.partial-(?P<pid>\d+)")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def is_staging(path: Path) -> bool:
    """Whether a folder is the hidden one of a conversion that has not finished."""
    return _STAGING.fullmatch(path.name) is not None


class BundleWriter:
    """A context in which `folder` is filled; `commit` makes it the bundle, leaving without commit removes it."""

    def __init__(self, destination: Path) -> None:
        self.destination = Path(os.path.abspath(destination))  # noqa: PTH100 (resolve() would follow links)
        self.folder = self.destination.with_name(f".{self.destination.name}.partial-{os.getpid()}")

    def __enter__(self) -> BundleWriter:
        with reporting_no_room(self.destination):
            self.destination.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(self.destination)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def commit(self, manifest: Manifest) -> None:
        """Write the manifest, check that it reads back, and put the folder in its place."""
        with reporting_no_room(self.destination):
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
            (self.folder / MANIFEST_FILE).unlink(missing_ok=True)  # the old bundle is no bundle from here on


class reporting_no_room:  # noqa: N801 (used as a statement)
    """Turns failures of the disk into one clear line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise EdgeclipError(f"{self.path}: no room left on the disk ({error.strerror}); nothing was changed") from error
        if isinstance(error, PermissionError | NotADirectoryError | FileExistsError):
            raise InputError(f"{error.filename or self.path}: cannot be written ({error.strerror})") from error


def _remove_abandoned(destination: Path) -> None:
    """Remove what killed conversions to the same destination left behind."""
    for entry in destination.parent.glob(f".{destination.name}.partial-*"):
        match = _STAGING.fullmatch(entry.name)
        if match and match["name"] == destination.name and not _alive(int(match["pid"])):
            shutil.rmtree(entry, ignore_errors=True)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
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
