"""What a runtime is: something that runs one tower of a bundle in Python."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

import numpy as np
from typing_extensions import Self

from edgeclip.errors import NotRunnableError
from edgeclip.manifest import Artifact, Bundle

NATIVE: tuple[str, ...] = ("native",)


class Runner(ABC):
    """One loaded tower; a context manager."""

    @abstractmethod
    def encode(self, batch: np.ndarray) -> np.ndarray:
        """Run every row on its own, as artifacts have batch 1.

        images: (N, 3, H, W) float32 RGB in [0, 1]; texts: (N, L) int32 ids -> (N, D) float32 embeddings.
        Raises BundleError if the artifact cannot be run.
        """

    def close(self) -> None:
        """Free what the runner holds."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Runtime(ABC):
    """Loads towers. patience_s: how long `verify` lets it run one artifact, which decides on how many samples; None: on all."""

    name: str
    patience_s: float | None = None

    def modes(self, scheme: str) -> tuple[str, ...]:
        """The ways to run artifacts of a scheme, the one that is verified by default first."""
        return NATIVE

    @abstractmethod
    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        """Load an artifact, after checking its hash. Raises BundleError if it is damaged."""


class Absent(Runtime):
    """Stands for a runtime that is not here: nothing runs in it, and it says why."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def open(self, bundle: Bundle, artifact: Artifact, mode: str) -> Runner:
        raise NotRunnableError(f"{bundle.path / artifact.path}: {self.name}: {self._why}")
