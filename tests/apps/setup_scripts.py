"""The scripts that set up compilers, run as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def run_setup(script: Path, *arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run it with a cache folder of its own."""
    environment = os.environ | {"EDGECLIP_CACHE": str(cache), "PYTHONPATH": str(script.parents[1])}
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, env=environment)
