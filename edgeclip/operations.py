"""What an artifact does when it runs, one entry for each operation, as far as its cost depends on it.

Each target lists its own (`plugins.OPERATIONS`), from the file alone: the estimator knows no format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Operation:
    """One operation that runs.

    name: its type, as the format names it. unit: where it runs: "ne" (Neural Engine), "cpu", "xnnpack" (in an XNNPACK
    delegate), "portable" (an ExecuTorch kernel outside of delegates) or "any" (the device decides). macs: multiply-adds.
    weight_bytes: of the constants that it reads, as they are stored; weight_values: how many numbers these are.
    activation_bytes: of what it reads and writes beside.

    kernel, sizes: what its speed depends on where a processor's kernels were timed, see `profiles.estimates.kernels`; empty
    for a format whose kernels nobody can time here.
    """

    name: str
    unit: str
    macs: int
    weight_bytes: int
    weight_values: int
    activation_bytes: int
    kernel: str = ""
    sizes: tuple[int, ...] = ()


class Operations(Protocol):
    """Lists what a method of an artifact does, in the order of the file.

    Raises BundleError where the file cannot be read, NotRunnableError where it holds what cannot be looked into.
    """

    def __call__(self, path: Path, method: str) -> Sequence[Operation]: ...
