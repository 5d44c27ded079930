"""How long a kernel takes on sizes that were not timed, from those that were.

Times per unit of work (multiply-adds, or elements) vary slowly with the sizes. So the nearest timed sizes, by the logarithms
of their ratios, are weighed by the inverse square of their distance. Nothing is faster than the shortest link of its kernel
was, as what is not work, such as starting an operation, does not shrink with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeclip.errors import NotRunnableError
from edgeclip.operations import Operation

_NEIGHBOURS = 3
# What is timed with another kernel: rounding inputs as they come is part of the product that reads them.
_WITHIN = frozenset({"convert fp32-qdint8", "convert fp16-qdint8"})
# Kernels that were not timed, and others that do as much.
_LIKE = {
    "convert qint8-fp32": "broadcast fp32",  # a float read or written for each value
    "convert fp32-qint8": "broadcast fp32",
    "gelu qint8": "binary qint8",  # a table of 256 entries
    "sigmoid qint8": "binary qint8",
    "tanh qint8": "binary qint8",
    "convert fp32-fp16": "copy fp32",
    "convert fp16-fp32": "copy fp32",
    "conv qint8-qcint8": "gemm qint8-qcint8",
    "conv qdint8-qcint8": "gemm qdint8-qcint8",
    "gemm qdint8-qcint4": "gemm qdint8-qbint4",
    "mean qint8-qcint8": "mean fp32",
    "mean qdint8-qcint8": "mean fp32",
    "broadcast qint8": "broadcast fp32",
    "softmax qint8": "softmax fp32",
    "reduce qint8": "reduce fp32",
    "lookup": "copy fp32",
}


@dataclass(frozen=True)
class _Timed:
    """logs: of the sizes; us_per_work: microseconds for each multiply-add or element."""

    logs: tuple[float, ...]
    us_per_work: float
    us: float


class Kernels:
    """What was timed on one machine with one number of threads."""

    def __init__(self, measured: Mapping[str, Any]) -> None:
        self.call_us: float = measured["call_us"]
        self._timed: dict[str, list[_Timed]] = {}
        for with_others in (False, True):  # what is taken off has to be known first
            for kernel, sizes, us, beside in measured["links"]:
                if us > 0 and bool(beside) == with_others:  # else lost in the noise of what calling a program takes
                    taken_off = sum(self._us(other, other_sizes) for other, other_sizes in beside)
                    self._note(kernel, sizes, max(us - taken_off, us / 10))

    def _note(self, kernel: str, sizes: Sequence[Sequence[int]], us: float) -> None:
        """Links that alternate share their time by work."""
        work = sum(map(math.prod, sizes)) / len(sizes)
        for one in sizes:
            timed = _Timed(_logs(one), us / work, us * math.prod(one) / work)
            self._timed.setdefault(kernel, []).append(timed)

    def us(self, operation: Operation) -> float:
        """Microseconds of one operation. Raises NotRunnableError for a kernel that nothing is known of."""
        if operation.kernel in _WITHIN:
            return 0.0
        if operation.unit == "portable":
            return self._us("copy fp32", operation.sizes) * (1 if operation.kernel == "lookup" else PORTABLE_SLOWER)
        return self._us(operation.kernel, operation.sizes)

    def _us(self, kernel: str, sizes: Sequence[int]) -> float:
        timed = self._timed.get(kernel) or self._timed.get(_LIKE.get(kernel, "")) or self._similar(kernel)
        if not timed:
            raise NotRunnableError(f"nothing was timed that tells what `{kernel}` takes")
        logs = _logs(sizes)
        near = sorted(((math.dist(logs, one.logs), one) for one in timed), key=lambda pair: pair[0])[:_NEIGHBOURS]
        weights = [1 / (0.05 + distance) ** 2 for distance, _ in near]
        rate = sum(weight * one.us_per_work for weight, (_, one) in zip(weights, near, strict=True)) / sum(weights)
        return max(rate * math.prod(sizes), min(one.us for one in timed))

    def _similar(self, kernel: str) -> list[_Timed]:
        """Elementwise kernels that were not timed go by one of the same type: most are bound by memory."""
        kind, _, dtype = kernel.partition(" ")
        same = "copy" if kind in ("copy", "rows", "transpose") else "sigmoid"
        return self._timed.get(f"{same} {dtype}") or self._timed.get(f"{same} fp32", [])


# ExecuTorch's portable kernels go element by element through calculated offsets; XNNPACK's copies go by vectors.
PORTABLE_SLOWER = 20


def _logs(sizes: Sequence[int]) -> tuple[float, ...]:
    return tuple(math.log2(max(1, size)) for size in sizes)
