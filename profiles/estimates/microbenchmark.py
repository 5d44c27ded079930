"""Times the primitives on this machine, in a process of its own: the number of threads can only be set before the first run.

`python -m profiles.estimates.microbenchmark THREADS` prints JSON: {"call_us": what calling a program takes, "links": [[kernel,
[sizes, ...], microseconds of one link, what is beside it], ...]}. It takes some seconds, so the result is kept in the cache by
machine, see `measured`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeclip.cache import cache_folder
from edgeclip.errors import NotRunnableError
from edgeclip.whole_file import write_whole

if TYPE_CHECKING:
    from profiles.estimates.probes import Probe

_PASSES = 5
_MOST_RUNS = 15  # of a probe in a pass
_PER_TURN_S = 0.005
_TIMEOUT_S = 300
_SOURCES = ("delegate.py", "microbenchmark.py", "probes.py")


def measured(threads: int, fresh: bool = False) -> dict[str, Any]:
    """The times of the primitives here, from the cache unless `fresh`. Raises NotRunnableError where nothing can be timed."""
    path = cache_folder() / "host-model" / f"{fingerprint(threads)}.json"
    if not fresh:
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return found
        except (OSError, ValueError):  # not there, or written by half
            pass
    found = _run(threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(found))
    return found


def fingerprint(threads: int) -> str:
    """Changes with the processor, the runtime, the number of threads, and with what is timed."""
    here = Path(__file__).parent
    digest = hashlib.sha256("\n".join((processor(), version("executorch"), str(threads))).encode())
    for name in _SOURCES:
        digest.update((here / name).read_bytes())
    return digest.hexdigest()[:24]


def processor() -> str:
    """Its name, stepping and cache as the system tells them, and how many cores there are."""
    told = [platform.machine(), platform.processor(), str(os.cpu_count())]
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n")[0].splitlines()
        told += [
            line for line in lines if line.partition("\t")[0] in ("model name", "model", "stepping", "cache size", "flags")
        ]
    except OSError:  # no Linux
        pass
    return "; ".join(told)


def _run(threads: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "profiles.estimates.microbenchmark", str(threads)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    }
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment)
    except subprocess.TimeoutExpired as error:
        raise NotRunnableError(f"the micro-benchmark of this machine did not end within {_TIMEOUT_S} s") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        why = done.stderr.strip().splitlines()
        raise NotRunnableError(f"the micro-benchmark of this machine failed: {why[-1] if why else done.returncode}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _measure(threads: int) -> dict[str, Any]:
    import torch
    from executorch.extension.pybindings.portable_lib import (
        _load_for_executorch_from_buffer,
        _threadpool_get_thread_count,
        _unsafe_reset_threadpool,
    )

    from profiles.estimates.probes import idle, probes

    if _threadpool_get_thread_count() != threads:
        _unsafe_reset_threadpool(threads)
    torch.manual_seed(0)
    missing: list[str] = []
    timed: list[tuple[Probe, _Turns]] = []
    for number, probe in enumerate((idle(), *probes())):
        content = probe.program()  # the program refers to it as long as it lives
        program = _load_for_executorch_from_buffer(content)
        # about 1 and of either sign, so that long chains of products stay numbers
        inputs = [torch.empty(*dims).uniform_(0.9, 1.1) * torch.randn(*dims).sign() for dims in probe.inputs]
        turns = _Turns(content, partial(program.forward, inputs))
        try:
            turns.run()
        except RuntimeError as error:  # XNNPACK has no such kernel for this processor
            if number == 0:
                raise
            missing.append(f"{probe.kernel} {probe.sizes}: {error}")
            continue
        timed.append((probe, turns))
    for _ in range(_PASSES):
        for _, turns in timed:
            turns.take()
    (_, nothing), *others = timed
    call_us = nothing.typical_us()
    links = []
    for probe, turns in others:
        beside = [[kernel, list(sizes)] for kernel, sizes in probe.beside]
        us = (turns.typical_us() - call_us) / probe.count
        links.append([probe.kernel, [list(sizes) for sizes in probe.sizes], us, beside])
    return {"call_us": call_us, "links": links, "missing": missing}


@dataclass
class _Turns:
    """A probe's times. Its turns are spread over the whole run, as a core can be taken away for a second or more."""

    content: bytes
    run: Callable[[], object]
    times_s: list[float] = field(default_factory=list)

    def take(self) -> None:
        """A run that does not count, for the caches, where that matters, and then one or more."""
        if not self.times_s or self.times_s[-1] < _PER_TURN_S:
            self.run()
        started = time.perf_counter()
        for _ in range(_MOST_RUNS):
            before = time.perf_counter()
            self.run()
            after = time.perf_counter()
            self.times_s.append(after - before)
            if after - started > _PER_TURN_S:
                break

    def typical_us(self) -> float:
        """The median of the faster half: others on the machine only ever make a run slower."""
        return 1e6 * statistics.median(sorted(self.times_s)[: -(-len(self.times_s) // 2)])


def main(arguments: Sequence[str]) -> None:
    sys.stdout.write(json.dumps(_measure(int(arguments[0]))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
