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
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgeclip.cache import cache_folder
from edgeclip.errors import NotRunnableError

_RUNS = 9
_PER_PROBE_S = 0.05
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
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(found), "utf-8")
    part.replace(path)
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
    links: list[list[Any]] = []
    missing: list[str] = []
    call_us = 0.0
    for number, probe in enumerate((idle(), *probes())):
        content = probe.program()  # the program refers to it as long as it lives
        program = _load_for_executorch_from_buffer(content)
        # about 1 and of either sign, so that long chains of products stay numbers
        inputs = [torch.empty(*dims).uniform_(0.9, 1.1) * torch.randn(*dims).sign() for dims in probe.inputs]
        try:
            taken = _typical_us(partial(program.forward, inputs))
        except RuntimeError as error:  # XNNPACK has no such kernel for this processor
            if number == 0:
                raise
            missing.append(f"{probe.kernel} {probe.sizes}: {error}")
            continue
        if number == 0:
            call_us = taken
        else:
            beside = [[kernel, list(sizes)] for kernel, sizes in probe.beside]
            links.append([probe.kernel, [list(sizes) for sizes in probe.sizes], (taken - call_us) / probe.count, beside])
    return {"call_us": call_us, "links": links, "missing": missing}


def _typical_us(run: Callable[[], object]) -> float:
    """The median of the faster half: others on the machine only ever make a run slower."""
    run()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < _RUNS or (time.perf_counter() - started < _PER_PROBE_S and len(times) < 10 * _RUNS):
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
        if len(times) >= 3 and time.perf_counter() - started > 10 * _PER_PROBE_S:
            break
    return 1e6 * statistics.median(sorted(times)[: -(-len(times) // 2)])


def main(arguments: Sequence[str]) -> None:
    sys.stdout.write(json.dumps(_measure(int(arguments[0]))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
