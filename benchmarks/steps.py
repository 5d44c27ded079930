"""Steps of a benchmark that are the command line, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_LONGEST_S = 3600


class StepError(Exception):
    """A step that did not succeed, and why."""


def said(*arguments: str | Path) -> dict[str, Any]:
    """The JSON of an `edgeclip` command that succeeds. Raises StepError."""
    command = [sys.executable, "-m", "edgeclip", *map(str, arguments), "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_LONGEST_S, env=os.environ | {"TQDM_DISABLE": "1"}, check=False
    )
    if done.returncode:
        why = next((line for line in done.stderr.splitlines()[::-1] if line.strip()), done.stdout[-300:])
        raise StepError(f"{arguments[0]}: status {done.returncode}: {why}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
