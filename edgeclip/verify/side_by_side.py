"""A Core ML package beside the right conversion, value by value.

The package is run twice. Once freely, which shows how the error grows. And once with every value that has a counterpart
replaced by torch's, after it is noted: what an operation's result is off then, it is off by itself, whatever went wrong
before. So errors do not pile up, and a float16 or int8 program can be judged as closely as a float32 one. Constants that are
as near to torch's parameters as their storage comes (see `stored`) are replaced too, and values that are rounded to 8 bits
are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.verify.align import align, as_formed, exchanged
from edgeclip.verify.operands import Explanation, Operand, Tolerance, operands
from edgeclip.verify.package_trace import (
    PackageOp,
    around_quantization,
    package_input,
    trace_forced,
    trace_package,
    without_quantization,
)
from edgeclip.verify.stored import Storage
from edgeclip.verify.trace import TorchOp
from edgeclip.verify.traced import relative_error, rms

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


class Comparison:
    """One package beside one torch program, on one input.

    package: its operations in order, with their results in the free run; by_name: the same by name. torch_ops: torch's, by
    name. pairs: by the name of an operation of the package, torch's that computes the same; right: that one's value, in the
    form of the package's; own: what the operation makes of right operands; added: how far that is off; floors: how far it may
    be; free_error: how far the free run is off.
    """

    def __init__(self, torch_ops: Sequence[TorchOp], model: MilModel, scheme: str, sample: np.ndarray) -> None:
        self.model = without_quantization(model)
        self.scheme = scheme
        self.inputs = package_input(model.program, sample)
        self.torch_ops = {op.name: op for op in torch_ops}
        self.package = around_quantization(trace_package(model, self.inputs))
        self.by_name = {op.name: op for op in self.package}
        self.constants: dict[str, dict[str, Tensor]] = {}
        self.storage = Storage(model.program, self.base)
        self.explanation: Explanation = Tolerance(self.base) if scheme == _EXACT else self.storage
        self.restored: set[tuple[str, str]] = set()  # operations' constants that torch's took the place of, or should
        self.pairs, self.right, self.own = self._aligned()
        self._pair_again()
        if scheme != _EXACT:
            self._restore_weights()
        self.free_error = {name: relative_error(self.by_name[name].value, right) for name, right in self.right.items()}
        self.added = {name: relative_error(self.own[name], right) for name, right in self.right.items()}
        self.floors = self._floors()

    def forced(self, **right: Tensor) -> dict[str, Tensor]:
        """What the operations make of right operands; `right` are others than torch's."""
        return trace_forced(self.model, self.inputs, {**self.right, **right}, self.constants)

    def _aligned(self) -> tuple[dict[str, TorchOp], dict[str, Tensor], dict[str, Tensor]]:
        """The pairs, torch's values in the form of the package's, and what the operations make of those.

        The free run of a lossy package may be so far from torch's that it says little about what stands for what.
        """
        output, torch_ops = self.model.program.outputs[0].name, list(self.torch_ops.values())
        self.pairs, self.right = self._paired(align(self.package, torch_ops, output))
        own = self.forced()
        for _ in range(_ALIGNMENTS - 1 if self.scheme != _EXACT else 0):
            closer = [replace(op, value=own[op.name]) for op in self.package]
            pairs, right = self._paired(align(closer, torch_ops, output))
            if {name: op.name for name, op in pairs.items()} == {name: op.name for name, op in self.pairs.items()}:
                break
            self.pairs, self.right = pairs, right
            own = self.forced()
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
            if relative_error(own, right) <= self.base:
                continue
            for op in free.values():
                formed = as_formed(op.value, own) if op.value.numel() == own.numel() else None
                if formed is not None and relative_error(own, formed) <= self.base:
                    self.pairs[name], self.right[name] = op, formed.to(own.dtype)
                    break
            else:
                if any(relative_error(own, form) <= self.base for form in exchanged(right, own.shape)):
                    del self.pairs[name], self.right[name]
        if self.pairs != before:
            self.own = self.forced()

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
        self.own = self.forced()

    @property
    def base(self) -> float:
        if self.model.mode != "fp32":
            return _FLOAT16_FLOOR
        return _FLOAT32_FLOOR if self.scheme == _EXACT else _CONSTANTS_FLOOR

    def _floors(self) -> dict[str, float]:
        """What each compared operation may add."""
        unclear = [name for name in self.pairs if self._is_unclear(self.span(name))]
        typical = median(self.added[name] for name in unclear) if unclear else 0.0
        exact = self.model.mode == "fp32"
        floors = {name: self.base if not exact or self._has_own_numbers(name) else _FLOAT32_FLOOR for name in self.pairs}
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
        found = until(name, lambda one: self.by_name[one].reads if one in self.by_name else (), self.right)
        return sorted((self.by_name[one] for one in found if one in self.by_name), key=lambda op: op.index)

    def torch_span(self, name: str) -> list[TorchOp]:
        """The same for torch."""
        compared = {op.name for op in self.pairs.values()}
        found = until(self.pairs[name].name, lambda one: self.torch_ops[one].reads, compared)
        return [op for one, op in self.torch_ops.items() if one in found]

    def diverges(self, name: str) -> bool:
        return not self.added[name] <= self.floors[name]


def until(start: str, reads: Any, known: Iterable[str]) -> set[str]:
    """`start` and what it depends on, as far as values that are known."""
    known, found, stack = set(known), {start}, [start]
    while stack:
        for one in reads(stack.pop()):
            if one not in known and one not in found:
                found.add(one)
                stack.append(one)
    return found
