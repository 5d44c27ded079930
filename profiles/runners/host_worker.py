"""The processes that load and time artifacts; `host_process` starts them.

A template imports a runtime's libraries once, and for each job becomes two: the copy has loaded nothing yet but those, which
takes milliseconds where importing takes seconds. Where copies of a process with frameworks in it are not safe (macOS), the
template itself does its one job.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edgeclip.errors import EdgeclipError, NotRunnableError
from edgeclip.reference.worker import MAX_ADDRESS_SPACE
from profiles import machine
from profiles.runners.host_engines import Infer, engine
from profiles.runners.host_messages import (
    Failed,
    Job,
    Load,
    Loaded,
    Reload,
    Reloaded,
    Request,
    Time,
    Timed,
    Turn,
    receive,
    send,
)
from profiles.stats import StopRule

WARM_UP_S, WARM_UP_RUNS = 0.3, 2  # before timing: so long, and at least so often
RELOADS, RELOADS_S = 5, 1.0  # at most
PACE_LOOPS, PACE_EVERY_S = 4000, 0.02  # about 0.1 ms of counting, between inferences
READY = b"ready"


def main(control: int, runtime: str, copies: bool) -> None:
    """Prepare, say so, then start a worker for each socket that comes, and answer with its process id."""
    os.dup2(2, 1)  # native code prints where it likes
    _limit_memory()
    with socket.socket(fileno=control) as channel:
        try:
            engine(runtime).preload()
        except ImportError as error:
            channel.sendall(str(error).encode()[:1000])
            return
        gc.freeze()  # collections in the copies would else walk, and so copy, all that was imported
        channel.sendall(READY)
        while True:
            word, descriptors, _, _ = socket.recv_fds(channel, 64, 1)
            if not word:
                return
            if not descriptors:  # a worker has ended, they say: tell how
                channel.sendall(str(os.waitpid(int(word), 0)[1]).encode())
                continue
            worker = os.fork() if copies else 0
            if worker == 0:
                channel.close()
                _serve(socket.socket(fileno=descriptors[0]))
                os._exit(0)
            os.close(descriptors[0])
            channel.sendall(str(worker).encode())


class _Worker:
    """State of one worker: what it has loaded."""

    def __init__(self) -> None:
        self._job: Job | None = None
        self._infer: Infer | None = None

    def load(self, request: Load) -> Loaded:
        job = self._job = request.job
        its = engine(job.runtime)
        its.prepare(job)
        uncached = its.has_file and _drop_from_cache(Path(job.path))
        before_mb = _memory_mb("VmRSS")
        started = time.perf_counter()
        self._infer = its.load(job)
        loaded = time.perf_counter()
        output = self._infer()
        ran = time.perf_counter()
        _check(output)
        return Loaded(
            load_ms=1e3 * (loaded - started) if its.has_file else None,
            uncached=uncached,
            first_ms=1e3 * (ran - loaded),
            memory_before_mb=before_mb,
            weight_bytes=getattr(self._infer, "weight_bytes", None),
        )

    def time(self, request: Time) -> Timed:
        """Until the rule is content; a look at the values is not timed."""
        assert self._infer is not None
        rule = StopRule(request.most_s)
        began, runs = time.perf_counter(), 0
        while runs < WARM_UP_RUNS or time.perf_counter() - began < min(WARM_UP_S, request.most_s):
            self._infer()
            runs += 1
        times: list[float] = []
        look = rule.least
        with _Watch() as watch:
            began = time.perf_counter()
            while not rule.over(len(times), spent := time.perf_counter() - began):
                if len(times) >= look:
                    if rule.enough(times, spent):
                        break
                    look = rule.next_look(len(times))
                times.append(watch.timed(self._infer))
        _check(self._infer())
        return watch.found(times)

    def turn(self, request: Turn) -> Timed:
        """Once to wake threads and fill caches, then what counts."""
        assert self._infer is not None
        self._infer()
        with _Watch() as watch:
            times = [watch.timed(self._infer) for _ in range(request.runs)]
        return watch.found(times)

    def reload(self, request: Reload) -> Reloaded:
        """Each load after the last one was given up."""
        assert self._job is not None
        its, times = engine(self._job.runtime), list[float]()
        began = time.perf_counter()
        while its.has_file and len(times) < RELOADS and (not times or time.perf_counter() - began < RELOADS_S):
            self._infer = None
            gc.collect()
            started = time.perf_counter()
            self._infer = its.load(self._job)
            times.append(1e3 * (time.perf_counter() - started))
        return Reloaded(times_ms=times)


class _Watch:
    """What the system did while times were taken: cores taken away, others at work, a slower processor.

    Work on the other half of a core (simultaneous multithreading), another tenant's too, and a clock that falls are in none of
    the system's counts. A loop that only counts shows them: it takes no memory, and so always as long, but for them.
    """

    def __enter__(self) -> _Watch:
        gc.collect()
        gc.disable()
        self._preempted, self._paces, self._paced_at = 0, [_pace()], time.perf_counter()
        self._ticks, self._cpu, self._wall = machine.ticks(), time.process_time(), time.perf_counter()
        return self

    def timed(self, infer: Infer) -> float:
        """One inference -> ms."""
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        started = time.perf_counter()
        infer()
        ended = time.perf_counter()
        self._preempted += resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw > switches
        if ended - self._paced_at > PACE_EVERY_S:
            self._paces.append(_pace())
            self._paced_at = time.perf_counter()
        return 1e3 * (ended - started)

    def __exit__(self, *error: object) -> None:
        self._cpu = time.process_time() - self._cpu
        self._wall = time.perf_counter() - self._wall
        self._others = machine.others(self._ticks, machine.ticks(), self._cpu)
        gc.enable()

    def found(self, times: list[float]) -> Timed:
        return Timed(
            times_ms=times,
            paces_ms=self._paces,
            preempted=self._preempted,
            busy_threads=self._cpu / self._wall,
            elsewhere=self._others,
            peak_memory_mb=_memory_mb("VmHWM"),
        )


def _pace() -> float:
    """How long a little counting takes, in ms."""
    started = time.perf_counter()
    for _ in range(PACE_LOOPS):
        pass
    return 1e3 * (time.perf_counter() - started)


def _check(output: Any) -> None:
    """What computes nonsense is not timed."""
    import numpy as np

    if not np.isfinite(np.asarray(output)).all():
        raise RuntimeError("it gives values that are not finite")


def _serve(channel: socket.socket) -> None:
    """Answer requests until the other side is gone."""
    worker = _Worker()
    answers: dict[type[Request], Callable[[Any], msgspec.Struct]] = {
        Load: worker.load,
        Time: worker.time,
        Turn: worker.turn,
        Reload: worker.reload,
    }
    while (content := receive(channel)) is not None:
        request = msgspec.json.decode(content, type=Request)
        try:
            answer = answers[type(request)](request)
        except (RuntimeError, ValueError, TypeError, KeyError, MemoryError, OSError, ImportError, EdgeclipError) as error:
            why = " ".join(str(error).split())[:1000] or type(error).__name__
            answer = Failed(why=why, lacking=isinstance(error, NotRunnableError))
        send(channel, answer)


def _drop_from_cache(path: Path) -> bool:
    """Ask the system to forget a file's content, so that loading reads it anew -> whether it did, as far as can be seen.

    posix_fadvise(2) does so for pages that are written and not in use by another process; tmpfs has no other place for them.
    """
    if not hasattr(os, "posix_fadvise"):
        return False
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    gone = bool(files)
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            gone &= not _cached(descriptor)
        finally:
            os.close(descriptor)
    return gone


def _cached(descriptor: int) -> bool:
    """Whether the first page of a file is in memory: preadv2(2) with RWF_NOWAIT reads nothing else. True where unknown."""
    if not hasattr(os, "RWF_NOWAIT"):
        return True
    try:
        return os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
    except OSError:
        return True


def _memory_mb(field: str) -> float | None:
    """VmRSS or VmHWM of proc(5): resident memory of this process now, or at most so far, in 1e6 bytes.

    `ru_maxrss` would on Linux include what the process that started this one had (getrusage(2)); elsewhere it is all there is.
    """
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        if field == "VmRSS":
            return None
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{field}:")), None)


def _limit_memory() -> None:
    """Bound what a hostile file can make the process allocate; end with the parent, not at its Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_ADDRESS_SPACE if hard == resource.RLIM_INFINITY else min(hard, MAX_ADDRESS_SPACE)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
