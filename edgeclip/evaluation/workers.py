"""Encoding in this process or in several, a few pictures at a time, so that memory is bounded however many there are."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Lock
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
from typing_extensions import Self

from edgeclip.errors import EdgeclipError
from edgeclip.evaluation.datasets import Picture
from edgeclip.evaluation.encoder import Contender, Encoded, Encoder, unreadable
from edgeclip.progress import Progress

T = TypeVar("T")
Kind = Literal["open", "texts", "pictures", "unreadable"]
# Of 384 x 384 pixels in float32: 28 MB. Texts are small, and open_clip's tokenizer is loaded anew for each chunk.
_CHUNK: dict[Kind, int] = {"pictures": 16, "texts": 128}
_AHEAD = 2  # chunks for each worker that are handed out before their results are taken


@dataclass(frozen=True)
class Encoding:
    """Embeddings of all texts or pictures, (N, D) float32; which could not be read, and why; how many were encoded a second."""

    embeddings: np.ndarray
    bad: tuple[tuple[str, str], ...]
    per_second: float


class Workers:
    """A contender in `jobs` processes, for 1 in this one; a context manager. Raises what opening the contender raises."""

    def __init__(self, contender: Contender, jobs: int = 1) -> None:
        self.contender = contender
        self.jobs = jobs
        self._pool = _pool(contender, jobs) if jobs > 1 else None
        self._encoder: Encoder | None = None
        try:
            if self._pool is not None:
                deque(self._results("open", [()]), maxlen=0)
            else:
                self._encoder = Encoder(contender)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        if self._encoder is not None:
            self._encoder.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def texts(self, texts: Sequence[str], progress: Progress) -> Encoding:
        """Encode all texts."""
        with progress(f"encoding {len(texts)} texts in {self._where}") as task:
            return self._encode("texts", texts, lambda done: task.advance(done, len(texts), "texts"))

    def pictures(self, pictures: Sequence[Picture], progress: Progress, skip_bad: bool = False) -> Encoding:
        """Encode all pictures that can be read. Unless `skip_bad`, once one cannot the others are only looked at."""
        with progress(f"encoding {len(pictures)} pictures in {self._where}") as task:
            return self._encode("pictures", pictures, lambda done: task.advance(done, len(pictures), "pictures"), skip_bad)

    @property
    def _where(self) -> str:
        contender = self.contender
        return f"{contender.runtime} ({contender.label})" if contender.artifacts else contender.runtime

    def _encode(self, kind: Kind, items: Sequence[Any], advance: Any, skip_bad: bool = True) -> Encoding:
        parts: list[np.ndarray] = []
        bad: list[tuple[str, str]] = []
        done = 0
        size = _CHUNK[kind]
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        started = time.perf_counter()
        for chunk, result in zip(chunks, self._results(kind, chunks), strict=False):
            done += len(chunk)
            bad += result.bad
            if result.embeddings is not None:
                parts.append(result.embeddings)
            advance(done)
            if bad and not skip_bad:
                for rest in self._results("unreadable", chunks[-(-done // size) :]):
                    bad += rest.bad
                break
        spent = time.perf_counter() - started
        rows = np.concatenate(parts) if parts else np.zeros((0, self.contender.bundle.manifest.embedding.dim), np.float32)
        return Encoding(rows, tuple(bad), len(rows) / spent if spent else 0.0)

    def _results(self, kind: Kind, chunks: Sequence[Any]) -> Iterator[Encoded]:
        """What becomes of each chunk, in order."""
        if self._pool is None:
            yield from (_do(self._encoder, kind, chunk) for chunk in chunks)
            return
        waiting: deque[Future[Encoded]] = deque()
        rest = iter(chunks)
        try:
            while True:
                while len(waiting) < self.jobs * _AHEAD and (chunk := next(rest, None)) is not None:
                    waiting.append(self._pool.submit(_in_worker, kind, chunk))
                if not waiting:
                    return
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise EdgeclipError(
                f"--jobs {self.jobs}: a worker process ended unexpectedly (out of memory?); give a smaller number"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _do(encoder: Encoder | None, kind: Kind, chunk: Any) -> Encoded:
    """encoder: not needed to look which pictures cannot be read."""
    if kind == "unreadable":
        return unreadable(chunk)
    assert encoder is not None
    return encoder.texts(chunk) if kind == "texts" else encoder.pictures(chunk)


# Worker processes


class _Worker:
    """What a worker process holds."""

    contender: Contender
    encoder: Encoder | None = None


def _pool(contender: Contender, jobs: int) -> ProcessPoolExecutor:
    """Processes that are started anew: a copy of one that has run torch can hang in its locks."""
    context = multiprocessing.get_context("spawn")
    number = context.Value("i", 0)
    return ProcessPoolExecutor(jobs, context, _begin, (contender, jobs, number))


def _begin(contender: Contender, jobs: int, number: Any) -> None:
    lock: Lock = number.get_lock()
    with lock:
        index = int(number.value)
        number.value += 1
    _share_processors(index, jobs)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.contender = contender


def _end_with_parent() -> None:
    """A process whose parent was killed would wait for ever for its next chunk."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _share_processors(index: int, jobs: int) -> None:
    """Give each worker processors of its own, since libraries start a thread for each that they may use."""
    if not hasattr(os, "sched_setaffinity"):
        return
    every = sorted(os.sched_getaffinity(0))
    share = max(1, len(every) // jobs)
    start = index * share % len(every)
    os.sched_setaffinity(0, every[start : start + share])


def _in_worker(kind: Kind, chunk: Any) -> Encoded:
    if _Worker.encoder is None and kind != "unreadable":
        _Worker.encoder = Encoder(_Worker.contender)
    return Encoded(None) if kind == "open" else _do(_Worker.encoder, kind, chunk)
