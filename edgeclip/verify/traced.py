"""What is known of each value of a package beside torch's, and the measures for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Statistics:
    """Of one tensor. Over its finite values, None where there are none; `not_finite` counts the others."""

    shape: tuple[int, ...]
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    rms: float | None
    not_finite: int

    @classmethod
    def of(cls, value: Tensor) -> Statistics:
        flat = value.reshape(-1).double()
        finite = flat[torch.isfinite(flat)]
        numbers: dict[str, float | None] = dict.fromkeys(("min", "max", "mean", "std", "rms"))
        if finite.numel():
            numbers = {
                "min": float(finite.min()),
                "max": float(finite.max()),
                "mean": float(finite.mean()),
                "std": float(finite.std(correction=0)),
                "rms": float(finite.square().mean().sqrt()),
            }
        return cls(tuple(value.shape), **numbers, not_finite=flat.numel() - finite.numel())


@dataclass(frozen=True)
class TracedOp:
    """One value of a package beside torch's. What needs a counterpart is None without one.

    relative_error, cosine: of the free run. input_relative_error: the largest of its operands'. added_error: with right
    operands. floor: what the scheme explains of that.
    """

    index: int
    op: str
    op_type: str
    layer: str | None
    torch_op: str | None
    converted: Statistics
    original: Statistics | None = None
    relative_error: float | None = None
    input_relative_error: float | None = None
    cosine: float | None = None
    added_error: float | None = None
    floor: float | None = None
    diverges: bool = False


@dataclass(frozen=True)
class Divergence:
    """The first operation of a package that computes something else than torch, or, without `op`, why there is none.

    layer: the path of the torch module, "" for what the tower does itself. original, converted: torch's tensor and the
    package's, of the free run. says: what is known about the cause, in a sentence or two.
    """

    op: str | None
    op_type: str | None
    layer: str | None
    torch_op: str | None
    original: dict[str, Any] | None
    converted: dict[str, Any] | None
    relative_error: float | None
    input_relative_error: float | None
    cosine: float | None
    says: str


@dataclass(frozen=True)
class Localization:
    """All values of one package for one sample, and its first divergence, if any."""

    ops: tuple[TracedOp, ...]
    first: Divergence | None

    @property
    def largest(self) -> TracedOp | None:
        """The operation that adds most error by itself."""
        return max((op for op in self.ops if op.added_error is not None), key=lambda op: op.added_error or 0.0, default=None)


def relative_error(own: Tensor, right: Tensor) -> float:
    """|own - right| / |right| in the Euclidean norm; infinite where `own` is not finite."""
    difference = float(torch.linalg.vector_norm(own.double() - right.double()))
    size = float(torch.linalg.vector_norm(right.double()))
    if not math.isfinite(difference):
        return math.inf
    return difference / size if size else (math.inf if difference else 0.0)


def cosine(own: Tensor, right: Tensor) -> float:
    """Between two tensors as vectors; 0 where one of them has no direction."""
    a, b = own.reshape(-1).double(), right.reshape(-1).double()
    lengths = float(a.norm() * b.norm())
    return float(a @ b) / lengths if lengths > 0 and math.isfinite(lengths) else 0.0


def rms(value: Tensor) -> float:
    return float(value.double().square().mean().sqrt())


def finite(value: float) -> float | None:
    """A number that JSON has."""
    return value if math.isfinite(value) else None
