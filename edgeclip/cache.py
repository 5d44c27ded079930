"""Where edgeclip keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$EDGECLIP_CACHE`, or `edgeclip` in the user's cache folder. It may not exist."""
    folder = os.environ.get("EDGECLIP_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "edgeclip")
    return Path(folder).expanduser()
