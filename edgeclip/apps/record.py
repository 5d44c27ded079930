"""`.edgeclip-app.json`: what of an app's folder was put there by edgeclip, so that the user's edits are told from it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from edgeclip.errors import InputError
from edgeclip.manifest import Sha256, check_relative

RECORD_FILE = ".edgeclip-app.json"
SCHEMA: Final = "edgeclip.app/1"
_MAX_BYTES = 4 * 1024 * 1024


class Record(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of the file.

    edgeclip: the version that wrote last. files: by path, the hash of each file as it was put there. writing: the same of
    those that were being put there; it holds some only while an app is updated, and after an update that was cut short.
    bundles: folders of bundles, likewise.
    """

    schema: Literal["edgeclip.app/1"]
    platform: str
    edgeclip: str
    files: dict[str, Sha256] = {}
    writing: dict[str, Sha256] = {}
    bundles: tuple[str, ...] = ()

    def is_ours(self, path: str, sha256: str) -> bool:
        """Whether a file's content is what was put there."""
        return sha256 in (self.files.get(path), self.writing.get(path))


def read_record(app: Path) -> Record | None:
    """The record of an app's folder, None where there is none. Raises InputError where it is damaged."""
    path = app / RECORD_FILE
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path}: larger than any record of an app")
        record = msgspec.json.decode(path.read_bytes(), type=Record)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise InputError(f"{app}: is not a folder") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a record of an app ({error}); put it back, or choose another folder") from error
    for relative in (*record.files, *record.writing, *record.bundles):
        check_relative(relative, path)
    return record


def encoded(record: Record) -> bytes:
    """The file's content: indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"
