"""Where a Core ML package begins to compute something else than torch.

The right conversion is made afresh: the original, fused and rewritten as for the package, exported, and run node by node.
The package is run twice. Once freely, which shows how the error grows. And once with every value that has a counterpart
replaced by torch's, after it is noted: what an operation's result is off then, it is off by itself, whatever went wrong
before. So errors do not pile up, and a float16 or int8 program can be judged as closely as a float32 one. Constants that are
as near to torch's parameters as their storage comes (see `stored`) are replaced too, and values that are rounded to 8 bits
are left as they are, with their ranges judged apart (see `ranges`). An operation diverges where what remains exceeds what
float16 and the order of sums explain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.precision import Mode
from edgeclip.verify.align import align, as_formed, exchanged
from edgeclip.verify.operands import Explanation, Operand, Tolerance, findings, operands, parameters
from edgeclip.verify.package_trace import (
    PackageOp,
    around_quantization,
    is_quantizing,
    package_input,
    trace_forced,
    trace_package,
    without_quantization,
)
from edgeclip.verify.ranges import range_findings
from edgeclip.verify.stored import Storage
from edgeclip.verify.trace import INPUT, TorchOp, trace_torch
from edgeclip.verify.traced import Divergence, Localization, Statistics, TracedOp, cosine, finite, relative_error, rms

# What one operation with right operands may be off, relative to its result; in brackets the most on right packages.
_FLOAT32_FLOOR = 2e-5  # float32 throughout (5e-6)
_CONSTANTS_FLOOR = 5e-4  # constants in float16 that torch's cannot take the place of, computed in float32 (2.5e-4)
_FLOAT16_FLOOR = 4e-3  # results rounded to float16 (9e-4)
# With a compressed constant of which it cannot be told what it stands for: so many times what is typical of the program, ...
_TIMES_TYPICAL = 4.0
_MOST_EXPLAINED = 0.4  # ... but never more: 4 bits cost 0.1, half of the weights 0.3, a wrong weight about 1
_EXACT = "fp32"  # the scheme that leaves constants as they are
_ALIGNMENTS = 3  # at most: each gives operands that are closer to torch's, and so makes the next one surer
_SUMS = ("add", "sub")
_FLOAT16_MAX = 65504.0


def localize(program: ExportedProgram, package: Path, scheme: str, mode: Mode, sample: np.ndarray) -> Localization:
    """Compare a package with the right conversion, operation by operation, on one sample.

    program: the right conversion, decomposed. mode: of the interpreter. sample: (3, H, W) float32 RGB in [0, 1] or (L,)
    int32 ids. BundleError if the package cannot be loaded or run. Memory: three times all values of one inference.
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
        self.model = without_quantization(model)
        self.scheme = scheme
        self.inputs = package_input(model.program, sample)
        self.torch_ops = {op.name: op for op in torch_ops}
        self.package = around_quantization(trace_package(model, self.inputs))
        self.by_name = {op.name: op for op in self.package}
        self.constants: dict[str, dict[str, Tensor]] = {}
        self.storage = Storage(model.program, self._base)
        self.explanation: Explanation = Tolerance(self._base) if scheme == _EXACT else self.storage
        self.restored: set[tuple[str, str]] = set()  # operations' constants that torch's took the place of, or should
        self.pairs, self.right, self.own = self._aligned()
        self._pair_again()
        if scheme != _EXACT:
            self._restore_weights()
        self.free_error = {name: relative_error(self.by_name[name].value, right) for name, right in self.right.items()}
        self.added = {name: relative_error(self.own[name], right) for name, right in self.right.items()}
        self.floors = self._floors()

    def _forced(self, **right: Tensor) -> dict[str, Tensor]:
        """What the operations make of right operands; `right` are others than torch's."""
        return trace_forced(self.model, self.inputs, {**self.right, **right}, self.constants)

    def _aligned(self) -> tuple[dict[str, TorchOp], dict[str, Tensor], dict[str, Tensor]]:
        """The pairs, torch's values in the form of the package's, and what the operations make of those.

        The free run of a lossy package may be so far from torch's that it says little about what stands for what.
        """
        output, torch_ops = self.model.program.outputs[0].name, list(self.torch_ops.values())
        self.pairs, self.right = self._paired(align(self.package, torch_ops, output))
        own = self._forced()
        for _ in range(_ALIGNMENTS - 1 if self.scheme != _EXACT else 0):
            closer = [replace(op, value=own[op.name]) for op in self.package]
            pairs, right = self._paired(align(closer, torch_ops, output))
            if {name: op.name for name, op in pairs.items()} == {name: op.name for name, op in self.pairs.items()}:
                break
            self.pairs, self.right = pairs, right
            own = self._forced()
        return self.pairs, self.right, own

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
        """Put torch's parameters in place of constants that are as close to them as their storage explains.

        What is off then is not the storage. A weight that differs by more stays as it is, and shows.
        """
        found = [
            operand
            for name in self.pairs
            for operand in operands(self.span(name), self.torch_span(name))
            if isinstance(operand, Operand)
        ]
        for operand in found:
            self.restored.add((operand.step, operand.parameter))
            if self.explanation.explains(operand):
                self.constants.setdefault(operand.step, {})[operand.parameter] = operand.right.to(operand.own.dtype)
        self.own = self._forced()

    @property
    def _base(self) -> float:
        if self.model.mode != "fp32":
            return _FLOAT16_FLOOR
        return _FLOAT32_FLOOR if self.scheme == _EXACT else _CONSTANTS_FLOOR

    def _floors(self) -> dict[str, float]:
        """What each compared operation may add."""
        unclear = [name for name in self.pairs if self._is_unclear(self.span(name))]
        typical = median(self.added[name] for name in unclear) if unclear else 0.0
        exact = self.model.mode == "fp32"
        floors = {name: self._base if not exact or self._has_own_numbers(name) else _FLOAT32_FLOOR for name in self.pairs}
        for name in floors:
            op = self.by_name[name]
            if op.op in _SUMS:  # of large values that cancel, the rounding stays
                sizes = [rms(self.right[operand]) for operand in op.reads if operand in self.right]
                floors[name] *= max([1.0, *(size / max(rms(self.right[name]), 1e-12) for size in sizes)])
        for name in unclear:
            floors[name] = max(floors[name], min(_TIMES_TYPICAL * typical, _MOST_EXPLAINED))
        return floors

    def _has_own_numbers(self, name: str) -> bool:
        """Whether operations work with the package's constants, rounded as they are, and not with torch's in their place."""
        return any(
            isinstance(value, float) or (isinstance(value, Tensor) and value.is_floating_point())
            for op in self.span(name)
            for parameter, value in op.constants.items()
            if parameter not in self.constants.get(op.name, ())
        )

    def _is_unclear(self, span: Sequence[PackageOp]) -> bool:
        """Whether operations work with compressed constants of which it is not known what they stand for."""
        return any(
            self.storage.is_compressed(source) and (op.name, parameter) not in self.restored
            for op in span
            for parameter, source in op.sources.items()
        )

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
        first = self._divergence(wrong) if wrong else self._unfinished()
        return Localization(rows, first if wrong else self._wrong_range() or first)

    def _wrong_range(self) -> Divergence | None:
        """The first quantization of values that does not fit them."""
        name, says = next(range_findings(self.model.program, {**self.own, **self.right}), ("", ""))
        if not name:
            return None
        op, reader = self.by_name[name], self._reader(name)
        torch_span = self.torch_span(reader.name) if reader is not None and reader.name in self.pairs else []
        blamed = _of_the_weights(torch_span) if torch_span else None
        right = next((self.right[one] for one in op.reads if one in self.right), None)
        return Divergence(
            op=op.name,
            op_type=op.op,
            layer=None if blamed is None else blamed.layer,
            torch_op=None if blamed is None else blamed.op,
            original=None if right is None else asdict(Statistics.of(right)),
            converted=asdict(Statistics.of(op.value)),
            relative_error=None,
            input_relative_error=finite(self._input_error(op.name)),
            cosine=None,
            says=says,
        )

    def _reader(self, name: str) -> PackageOp | None:
        """The operation that works with what a quantization of values gives."""
        while (step := next((step for step in self.model.program.steps if name in step.reads), None)) is not None:
            if not is_quantizing(step):
                return self.by_name[step.name]
            name = step.name
        return None

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
            relative_error=finite(self.free_error[op.name]),
            input_relative_error=finite(self._input_error(op.name)),
            cosine=finite(cosine(op.value, right)),
            added_error=finite(self.added[op.name]),
            floor=self.floors[op.name],
            diverges=self.diverges(op.name),
        )

    def _input_error(self, name: str) -> float:
        """The largest relative error, in the free run, among the compared values that the operation depends on."""
        operands = {one for op in self.span(name) for one in op.reads}
        return max((self.free_error[one] for one in operands if one in self.free_error), default=0.0)

    def _unfinished(self) -> Divergence | None:
        """The divergence of a package whose output is right for some operation of torch, but not for the last."""
        output, last = self.by_name.get(self.model.program.outputs[0].name), list(self.torch_ops.values())[-1]
        if output is None or self.pairs.get(output.name) is last or not self.pairs:
            return None
        right = as_formed(last.value, output.value)
        if right is not None and relative_error(self.own[output.name], right) <= self.floors.get(output.name, self._base):
            return None
        compared = {op.name for op in self.pairs.values()}
        left_out = _until(last.name, lambda one: self.torch_ops[one].reads, compared)
        missing = [op for name, op in self.torch_ops.items() if name in left_out and not op.inner]
        return Divergence(
            op=output.name,
            op_type=output.op,
            layer=missing[0].layer,
            torch_op=missing[0].op,
            original=asdict(Statistics.of(last.value)),
            converted=asdict(Statistics.of(output.value)),
            relative_error=None if right is None else finite(relative_error(output.value, right)),
            input_relative_error=finite(self._input_error(output.name)),
            cosine=None if right is None else finite(cosine(output.value, right)),
            says=f"the package ends here; torch goes on with {', '.join(op.op for op in missing)}",
        )

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
            relative_error=finite(self.free_error[last.name]),
            input_relative_error=finite(self._input_error(last.name)),
            cosine=finite(cosine(last.value, right)),
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
            yield "the input reaches the program otherwise than the original: channel order, scale, or a change in front"
        elif missing is not None:
            yield f"with torch's operand it is right: torch's {missing.op} in front of it is missing or was applied elsewhere"
        else:
            yield self._about_weights(last, span, torch_span)
        if others:
            yield f"{others} more {'operations differ' if others > 1 else 'operation differs'} by themselves"

    def _about_weights(self, last: PackageOp, span: Sequence[PackageOp], torch_span: Sequence[TorchOp]) -> str:
        if wrong := findings(span, torch_span, self.explanation):
            return "; ".join(wrong)
        agree = (
            "the weights agree, but what is computed" if parameters(torch_span) else "the operands are right, but the result"
        )
        return f"{agree} is something else (relative error {self.added[last.name]:.2g} with right operands)"

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
