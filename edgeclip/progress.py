"""How long work tells what it is doing. The library never prints: it is given one of these."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task:
    """One piece of work; `advance` tells how far it is, where that is known."""

    def advance(self, done: float, total: float, unit: str = "") -> None:
        """`done` of `total` units (bytes of a download, samples of a run).

        unit: what is counted, such as "pictures", where people want to see how fast it goes and how long it will take.
        """


class Progress(Protocol):
    """Called with what begins; the context ends with it."""

    def __call__(self, what: str) -> AbstractContextManager[Task]: ...


@contextmanager
def silent(what: str) -> Iterator[Task]:
    """Reports nothing."""
    yield Task()
