"""Takes QEMU's command line and runs the program natively: `-L FOLDER -cpu MODEL .../python3.11 ARGUMENTS...`.

The environment names what else to do: STAND_IN_LOG, a file to write the command line and the machine's /proc/cpuinfo to.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

option, folder, cpu_option, cpu, python, *arguments = sys.argv[1:]
assert (option, cpu_option) == ("-L", "-cpu"), sys.argv
if log := os.environ.get("STAND_IN_LOG"):
    machine = Path(folder)
    seen = {"cpu": cpu, "python": python, "cpuinfo": (machine / "proc/cpuinfo").read_text()}
    seen["links"] = sorted(path.name for path in machine.iterdir() if path.is_symlink())
    Path(log).write_text(json.dumps(seen))
os.execv(sys.executable, [sys.executable, *arguments])
