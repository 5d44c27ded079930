"""Where a Core ML package begins to compute something else than torch.

The right conversion is made afresh: the original, fused and rewritten as for the package, exported, and run node by node.
The package is run twice. Once freely, which shows how the error grows. And once with every value that has a counterpart
replaced by torch's, after it is noted: what an operation's result is off then, it is off by itself, whatever went wrong
before. So errors do not pile up, and a float16 or int8 program can be judged as closely as a float32 one. An operation
diverges where that exceeds what its scheme explains.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from edgeclip.reference.mil.interpreter import MilModel, Mode
from edgeclip.verify.align import align, as_formed, exchanged
from edgeclip.verify.operands import Operand, findings, has_weights, operands, parameters
from edgeclip.verify.package_trace import PackageOp, package_input, trace_forced, trace_package
from edgeclip.verify.trace import INPUT, TorchOp, trace_torch

# What one operation with right operands may be off, relative to its result. On right packages of the demo and full models:
# fp32 up to 4e-7; with float16 results or weights up to 1e-3 (softmax).
_FLOAT32_FLOOR = 5e-6
_FLOAT16_FLOOR = 4e-3
# Compression: a weight may differ from its parameter, or where that cannot be told an operation from torch's, by so many
# times what is typical of the program ...
_TIMES_TYPICAL = 4.0
_LEAST_EXPLAINED = 0.02
_MOST_EXPLAINED = 0.35  # ... but never more: 4 bits cost 0.1, a wrong weight about 1
_FLOATS = ("fp32", "fp16")
_QUANTIZING = ("quantize", "dequantize")  # of values, at run time
_SUMS = ("add", "sub")
_FLOAT16_MAX = 65504.0


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


def localize(program: ExportedProgram, package: Path, scheme: str, mode: Mode, sample: np.ndarray) -> Localization:
    """Compare a package with the right conversion, operation by operation, on one sample.

    program: the right conversion, decomposed. mode: of the interpreter. sample: (3, H, W) float32 RGB in [0, 1] or (L,)
    int32 ids. BundleError if the package cannot be loaded or run.
    """
    return _Comparison(trace_torch(program, _as_seen(sample)), MilModel.load(package, mode), scheme, sample).result()


def _as_seen(sample: np.ndarray) -> Tensor:
    """A batch of one, as torch takes it. Pictures have the 256 levels of the pixel buffer that the package takes."""
    if sample.dtype.kind == "f":
        sample = np.round(sample * 255).astype(np.float32) / 255
    return torch.from_numpy(np.ascontiguousarray(sample[None]))


class _Comparison:
    """One package beside one torch program."""

    def __init__(self, torch_ops: Sequence[TorchOp], model: MilModel, scheme: str, sample: np.ndarray) -> None:
        self.model = model
        self.scheme = scheme
        self.inputs = package_input(model.program, sample)
        self.torch_ops = {op.name: op for op in torch_ops}
        self.package = trace_package(model, self.inputs)
        self.by_name = {op.name: op for op in self.package}
        self.pairs, self.right = self._paired(align(self.package, torch_ops))
        self.constants: dict[str, dict[str, Tensor]] = {}
        self.explained = self._base  # of a weight
        self.own = self._forced()
        self._pair_again()
        if scheme not in _FLOATS:
            self._restore_weights()
        self.free_error = {name: relative_error(self.by_name[name].value, right) for name, right in self.right.items()}
        self.added = {name: relative_error(self.own[name], right) for name, right in self.right.items()}
        self.floors = self._floors()

    def _forced(self, **right: Tensor) -> dict[str, Tensor]:
        """What the operations make of right operands; `right` are others than torch's."""
        return trace_forced(self.model, self.inputs, {**self.right, **right}, self.constants)

    def _paired(self, aligned: Mapping[str, TorchOp]) -> tuple[dict[str, TorchOp], dict[str, Tensor]]:
        """The pairs that can be compared, and torch's values in the form of the package's."""
        right: dict[str, Tensor] = {}
        for name, op in aligned.items():
            own = self.by_name[name].value
            formed = as_formed(op.value, own)
            if formed is not None and own.dtype != torch.bool:
                right[name] = formed.to(own.dtype)
        return {name: aligned[name] for name in right}, right

    def _pair_again(self) -> None:
        """What is not torch's value, but another one of torch's, stands for that one.

        What is torch's value with axes of equal size exchanged is no divergence yet: what reads it decides.
        """
        free = {name: op for name, op in self.torch_ops.items() if op not in self.pairs.values()}
        before = dict(self.pairs)
        for name, right in list(self.right.items()):
            own = self.own[name]
            if relative_error(own, right) <= self._base:
                continue
            for op in free.values():
                formed = as_formed(op.value, own) if op.value.numel() == own.numel() else None
                if formed is not None and relative_error(own, formed) <= self._base:
                    self.pairs[name], self.right[name] = op, formed.to(own.dtype)
                    break
            else:
                if any(relative_error(own, form) <= self._base for form in exchanged(right, own.shape)):
                    del self.pairs[name], self.right[name]
        if self.pairs != before:
            self.own = self._forced()

    def _restore_weights(self) -> None:
        """Put torch's parameters in place of compressed weights that are as close to them as compression explains.

        What is off then is not the compression. A weight that differs by more stays as it is, and shows.
        """
        found = [
            operand
            for name in self.pairs
            for operand in operands(self.span(name), self.torch_span(name))
            if isinstance(operand, Operand)
        ]
        compressed = [operand.difference for operand in found if operand.own.dim() >= 2]
        typical = median(compressed) if compressed else 0.0
        self.explained = min(max(_TIMES_TYPICAL * typical, _LEAST_EXPLAINED), _MOST_EXPLAINED)
        for operand in found:
            if operand.difference <= self.explained:
                self.constants.setdefault(operand.step, {})[operand.parameter] = operand.right.to(operand.own.dtype)
        self.own = self._forced()

    @property
    def _base(self) -> float:
        return _FLOAT32_FLOOR if self.scheme == "fp32" else _FLOAT16_FLOOR

    def _floors(self) -> dict[str, float]:
        """What each compared operation may add."""
        unclear = [name for name in self.pairs if self._is_compressed(self.span(name))]
        typical = median(self.added[name] for name in unclear) if unclear else 0.0
        floors = dict.fromkeys(self.pairs, self._base)
        for name in floors:
            op = self.by_name[name]
            if op.op in _SUMS:  # of large values that cancel, the rounding stays
                sizes = [_rms(self.right[operand]) for operand in op.reads if operand in self.right]
                floors[name] *= max([1.0, *(size / max(_rms(self.right[name]), 1e-12) for size in sizes)])
        for name in unclear:
            floors[name] = max(floors[name], min(_TIMES_TYPICAL * typical, _MOST_EXPLAINED))
        return floors

    def _is_compressed(self, span: Sequence[PackageOp]) -> bool:
        """Whether operations work with compressed numbers that torch's cannot take the place of."""
        if self.scheme in _FLOATS:
            return False
        kept = [op for op in span if op.name not in self.constants]
        return has_weights(kept) or any(op.op in _QUANTIZING for op in span)

    def span(self, name: str) -> list[PackageOp]:
        """The operations from the last compared values up to this one, in the program's order."""
        found = _until(name, lambda one: self.by_name[one].reads if one in self.by_name else (), self.right)
        return sorted((self.by_name[one] for one in found if one in self.by_name), key=lambda op: op.index)

    def torch_span(self, name: str) -> list[TorchOp]:
        """The same for torch."""
        compared = {op.name for op in self.pairs.values()}
        found = _until(self.pairs[name].name, lambda one: self.torch_ops[one].reads, compared)
        return [op for one, op in self.torch_ops.items() if one in found]

    def diverges(self, name: str) -> bool:
        return not self.added[name] <= self.floors[name]

    def result(self) -> Localization:
        rows = tuple(self._row(op) for op in self.package)
        wrong = [op for op in self.package if op.name in self.pairs and self.diverges(op.name)]
        return Localization(rows, self._divergence(wrong) if wrong else None)

    def _row(self, op: PackageOp) -> TracedOp:
        common: dict[str, Any] = {"index": op.index, "op": op.name, "op_type": op.op, "converted": Statistics.of(op.value)}
        if op.name not in self.pairs:
            return TracedOp(**common, layer=None, torch_op=None)
        torch_op, right = self.pairs[op.name], self.right[op.name]
        return TracedOp(
            **common,
            layer=torch_op.layer,
            torch_op=torch_op.op,
            original=Statistics.of(right),
            relative_error=_number(self.free_error[op.name]),
            input_relative_error=_number(self._input_error(op.name)),
            cosine=_number(cosine(op.value, right)),
            added_error=_number(self.added[op.name]),
            floor=self.floors[op.name],
            diverges=self.diverges(op.name),
        )

    def _input_error(self, name: str) -> float:
        """The largest relative error, in the free run, among the compared values that the operation depends on."""
        operands = {one for op in self.span(name) for one in op.reads}
        return max((self.free_error[one] for one in operands if one in self.free_error), default=0.0)

    def _divergence(self, wrong: Sequence[PackageOp]) -> Divergence:
        last = wrong[0]
        span, torch_span = self.span(last.name), self.torch_span(last.name)
        missing = self._missing(last) if len(span) == 1 else None
        blamed = missing or next((op for op in torch_span if not op.inner), torch_span[-1])
        if len(span) == 1 and missing is None:
            blamed = _of_the_weights(torch_span)
        first, right = span[0], self.right[last.name]
        return Divergence(
            op=first.name,
            op_type=first.op,
            layer=blamed.layer,
            torch_op=blamed.op,
            original=asdict(Statistics.of(right)),
            converted=asdict(Statistics.of(last.value)),
            relative_error=_number(self.free_error[last.name]),
            input_relative_error=_number(self._input_error(last.name)),
            cosine=_number(cosine(last.value, right)),
            says=". ".join(self._says(last, span, torch_span, missing, len(wrong) - 1)),
        )

    def _says(
        self, last: PackageOp, span: Sequence[PackageOp], torch_span: Sequence[TorchOp], missing: TorchOp | None, others: int
    ) -> Iterable[str]:
        torch_op = self.pairs[last.name]
        if len(span) > 1:
            known = ", ".join(sorted({one for op in span for one in op.reads} & self.right.keys())) or "the input"
            yield f"it lies between {known} and {last.name}: {len(span)} operations in the place of torch's {torch_op.op}"
        lost = int((~torch.isfinite(self.own[last.name])).sum()) if self.own[last.name].is_floating_point() else 0
        if lost:
            largest = float(self.right[last.name].abs().max())
            beyond = f", which float16 cannot hold (up to {_FLOAT16_MAX:.0f})" if largest > _FLOAT16_MAX else ""
            yield f"{lost} of its values are not finite; torch's reach {largest:.3g}{beyond}"
        elif torch_op.op == INPUT:
            yield "the picture or text reaches the program otherwise than the original: channel order, scale, or a change in front"
        elif missing is not None:
            yield f"with torch's operand it is right: torch's {missing.op} in front of it is missing or was applied elsewhere"
        else:
            yield self._about_weights(last, span, torch_span)
        if others:
            yield f"{others} more {'operations differ' if others > 1 else 'operation differs'} by themselves"

    def _about_weights(self, last: PackageOp, span: Sequence[PackageOp], torch_span: Sequence[TorchOp]) -> str:
        if wrong := findings(span, torch_span, self.explained):
            return "; ".join(wrong)
        agree = "the weights agree, the operation" if parameters(torch_span) else "its operands are right, it"
        return f"{agree} computes something else (relative error {self.added[last.name]:.2g} with right operands)"

    def _missing(self, op: PackageOp) -> TorchOp | None:
        """The torch operation that an operation's operand should have gone through, if it is right with that operand."""
        wanted = self.pairs[op.name]
        known = {self.pairs[one].name: one for one in op.reads if one in self.pairs}
        unread = [name for name in wanted.reads if name not in known]
        misled = [one for name, one in known.items() if name not in wanted.reads]
        if len(unread) != 1 or len(misled) != 1:
            return None
        missing, operand = self.torch_ops[unread[0]], self.by_name[misled[0]].value
        formed = as_formed(missing.value, operand)
        if formed is None:
            return None
        own = self._forced(**{misled[0]: formed.to(operand.dtype)})[op.name]
        return missing if relative_error(own, self.right[op.name]) <= self.floors[op.name] else None


def _of_the_weights(torch_span: Sequence[TorchOp]) -> TorchOp:
    """Of operations that a package fused into one: the one that brings the largest parameter, or the last."""
    sizes = {op.name: sum(value.numel() for value in op.constants.values()) for op in torch_span}
    return max(reversed(torch_span), key=lambda op: sizes[op.name])


def _until(start: str, reads: Any, known: Iterable[str]) -> set[str]:
    """`start` and what it depends on, as far as values that are known."""
    known, found, stack = set(known), {start}, [start]
    while stack:
        for one in reads(stack.pop()):
            if one not in known and one not in found:
                found.add(one)
                stack.append(one)
    return found


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


def _rms(value: Tensor) -> float:
    return float(value.double().square().mean().sqrt())


def _number(value: float) -> float | None:
    """A number that JSON has."""
    return value if math.isfinite(value) else None
