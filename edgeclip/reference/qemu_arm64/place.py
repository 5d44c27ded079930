"""Where the emulation is kept, and whether it is there."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path

from edgeclip.cache import cache_folder
from edgeclip.reference.qemu_arm64 import parts

VERSION = 1  # of the form of the folder; another one is set up anew
SCRIPT = "scripts/setup_qemu_arm64.py"
READY = "ready.json"


def folder() -> Path:
    """What is unpacked: `host`, `guest` and `site`; `READY` is written last."""
    return cache_folder() / "qemu-arm64"


def stamp() -> dict[str, object]:
    """What a set-up of this version holds."""
    made_of = (parts.HOST_PACKAGES, parts.GUEST_PACKAGES, parts.WHEELS, parts.EMPTY, parts.CALLED)
    wheels = {wheel.name: wheel.version for wheel in parts.WHEELS}
    return {"version": VERSION, "wheels": wheels, "parts": hashlib.sha256(repr(made_of).encode()).hexdigest()}


def is_ready() -> bool:
    """Whether the set-up is whole, and of this version."""
    try:
        found = json.loads((folder() / READY).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(found == stamp())


def unsuitable() -> str | None:
    """Why this machine cannot emulate, or need not, or None."""
    if sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64"):
        return None
    if platform.machine() in ("aarch64", "arm64"):
        return "this machine is ARM64 itself: runtime executorch runs the same kernels"
    return f"the emulation needs Linux on x86-64, not {sys.platform} on {platform.machine()}"


def missing() -> str | None:
    """What is missing here, in words, or None."""
    return unsuitable() or (
        None if is_ready() else f"it is not set up in {folder()}: run `python {SCRIPT}` (490 MB of downloads)"
    )
