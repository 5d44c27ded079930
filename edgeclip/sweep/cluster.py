"""The workers of a dask cluster as a place to do jobs. They need edgeclip, the weights and the folder of the bundles."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from functools import partial
from typing import Any

from edgeclip.errors import EdgeclipError, MissingPackageError
from edgeclip.sweep.job import CONVERT, Job, Made, run_apart
from edgeclip.sweep.run import Place


class ClusterError(EdgeclipError):
    """A cluster that does not answer, or has nobody to work."""


@contextmanager
def cluster(address: str, work: str = CONVERT, timeout_s: float = 15.0) -> Iterator[Place]:
    """The cluster whose scheduler is at `address`, as tcp://host:8786.

    Each worker does as many jobs at a time as it has threads, each in a process of its own.
    """
    if importlib.util.find_spec("distributed") is None:
        raise MissingPackageError('--scheduler: package distributed is not installed: pip install "edgeclip[cluster]"')
    try:
        client = _connecting(address, timeout_s).result(timeout_s)
    except (OSError, ValueError, FutureTimeoutError) as error:
        wrong = f"no answer within {timeout_s:g} s; does `dask scheduler` run there?"
        raise ClusterError(f"--scheduler {address}: {wrong}") from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise ClusterError(f"--scheduler {address}: has no workers; start some with `dask worker {address}`")
        # pure=False: a job that failed is tried again when it is asked for again. retries=0: what is killed once is reported.
        executor = client.get_executor(pure=False, retries=0)
        yield Place(executor, partial(_call, work=work), None, lambda: None)


def _connecting(address: str, timeout_s: float) -> Future[Any]:
    """A client, connected in a thread of its own: what accepts a connection and then says nothing keeps it waiting for ever."""
    import distributed

    answer: Future[Any] = Future()
    connect: Any = distributed.Client  # has no types

    def ask() -> None:
        try:
            answer.set_result(connect(address, timeout=timeout_s, set_as_default=False))
        except BaseException as error:  # noqa: BLE001 (raised where it is waited for)
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer


def _call(job: Job, work: str) -> Made:
    """Runs in a thread of a worker."""
    return run_apart(job, work, _still_wanted())


def _still_wanted() -> Callable[[], bool]:
    """Whether the client still waits for the task that this thread runs; asked from time to time.

    A worker cannot interrupt a thread, it only notes that the result of its task is no longer wanted.
    """
    from distributed import get_worker

    worker: Any = get_worker()
    key = worker.get_current_task()

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    return wanted
