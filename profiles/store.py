"""Profiles as files: `BUNDLE/profile/DEVICE.json` holds the latest of each device, exactly as `profile --json` prints it.

The manifest does not list them, so a conversion that extends a bundle carries them over; each row has the hash of the artifact
it is of, and a row whose artifact is gone says nothing any more. They are untrusted, like all of a bundle.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from edgeclip.errors import InputError
from edgeclip.whole_file import write_whole
from profiles.results import EstimatedProfile, MeasuredProfile, Profile

FOLDER = "profile"
MAX_BYTES: Final = 4 * 1024 * 1024
_KINDS: dict[str, type[Profile]] = {"measured": MeasuredProfile, "estimated": EstimatedProfile}


class _Device(Struct, frozen=True):
    kind: str


class _Head(Struct, frozen=True):
    device: _Device


def store(bundle: Path, profile: Profile) -> Path:
    """Keep a profile in its bundle, in place of the device's last one. Raises InputError if that cannot be written."""
    file = bundle / FOLDER / f"{_file_stem(profile.device.id)}.json"
    if file.parent.resolve() != bundle.resolve() / FOLDER:
        raise InputError(f"{file.parent}: leads out of the bundle; delete it")
    try:
        file.parent.mkdir(exist_ok=True)
        write_whole(file, json.dumps(profile.as_json(), indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise InputError(f"{file}: cannot be written ({error.strerror})") from error
    return file


def read_profile(path: Path) -> Profile:
    """A stored profile; anything else is an InputError. Rows are all of the kind that its device says."""
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise InputError(f"{path}: cannot be read (not a file)")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than any profile")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        kind = msgspec.json.decode(content, type=_Head).device.kind
        if kind not in _KINDS:
            raise InputError(f"{path}: a device of unknown kind {kind!r:.40}")
        return msgspec.json.decode(content, type=_KINDS[kind])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not what `edgeclip profile --json` of this version prints: {error}") from error


def _file_stem(device: str) -> str:
    """A device's id as a file name: `android:R58M` has a character that some systems refuse."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", device).lstrip(".") or "device"
