#!/usr/bin/env python
"""How long a conversion takes, and what takes it: `python benchmarks/conversion.py [MODEL]`.

Seeded weights are saved as a checkpoint file first; then `edgeclip convert` runs in a fresh process, both towers, by default
for Core ML and ExecuTorch. Prints the stages (from the command's own progress lines), wall time, and the peak memory of the
process and its children.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="mobileclip-s0")
    parser.add_argument("--target", action="append", help="repeatable; default coreml and executorch")
    parser.add_argument("--scheme", help="for all targets; default is that of each")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = folder / "weights.pt"
        _save(args.model, checkpoint)
        command = [sys.executable, "-m", "edgeclip", "convert", args.model, "--weights", str(checkpoint), "--json"]
        command += [part for target in args.target or ("coreml", "executorch") for part in ("--target", target)]
        command += ["--out", str(folder / "bundle")]
        command += ["--scheme", args.scheme] if args.scheme else []
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        sampler = _PeakMemory(process.pid)
        out, err = process.communicate()
        wall = time.perf_counter() - started
        if process.returncode:
            sys.exit(err)
        sizes = {a["path"]: a["size_bytes"] for a in json.loads(out)["artifacts"]}
    stages = [line.rsplit(": ", 1) for line in err.splitlines() if line.endswith(" s")]
    print(f"{args.model}, {os.cpu_count()} cores\n")
    for what, seconds in sorted(stages, key=lambda stage: -float(stage[1].split()[0])):
        print(f"{seconds:>9}  {what}")
    counted = sum(float(seconds.split()[0]) for _, seconds in stages)
    print(f"{wall - counted:7.1f} s  start-up and writing")
    print(f"{wall:7.1f} s  in all; peak memory {sampler.peak_mb / 1024:.2f} GB")
    for path, size in sizes.items():
        print(f"{size / 1e6:7.1f} MB  {path}")


def _save(model: str, path: Path) -> None:
    """In a process of its own, so that its memory does not count."""
    code = (
        "import torch; from edgeclip.models import MODELS; from edgeclip.models.seeded import seeded_pair;"
        f"torch.save(seeded_pair(MODELS[{model!r}], 0).state_dict(), {str(path)!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class _PeakMemory(threading.Thread):
    """Samples the resident memory of a process and all its descendants (Linux)."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.peak_mb = 0.0
        self.start()

    def run(self) -> None:
        while (total := sum(_resident_mb(pid) for pid in _family(self.pid))) > 0:
            self.peak_mb = max(self.peak_mb, total)
            time.sleep(0.1)


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    main()
