"""Where a Core ML package begins to compute something else than torch.

The right conversion is made afresh: the original, fused and rewritten as for the package, exported, and run node by node
beside the package (see `side_by_side`). An operation diverges where what it adds by itself exceeds what float16 and the order
of sums explain; the ranges of values that are rounded to 8 bits are judged apart (see `ranges`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from edgeclip.errors import ResourceError
from edgeclip.machine import available_memory
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.precision import Mode
from edgeclip.verify.align import as_formed
from edgeclip.verify.operands import findings, parameters
from edgeclip.verify.package_trace import PackageOp, is_quantizing
from edgeclip.verify.ranges import range_findings
from edgeclip.verify.side_by_side import Comparison, until
from edgeclip.verify.trace import INPUT, TorchOp, trace_torch
from edgeclip.verify.traced import Divergence, Localization, Statistics, TracedOp, cosine, finite, relative_error

_FLOAT16_MAX = 65504.0
_TIMES_HELD = 5  # more than 4.3 on SigLIP's SO400M, whose image tower has 3.9 GB of values


def localize(program: ExportedProgram, package: Path, scheme: str, mode: Mode, sample: np.ndarray) -> Localization:
    """Compare a package with the right conversion, operation by operation, on one sample.

    program: the right conversion, decomposed. mode: of the interpreter. sample: (3, H, W) float32 RGB in [0, 1] or (L,)
    int32 ids. BundleError if the package cannot be loaded or run, ResourceError if memory cannot hold all values of one
    inference some five times.
    """
    model = MilModel.load(package, mode)
    _check_room(model)
    run = Comparison(trace_torch(program, _as_seen(sample)), model, scheme, sample)
    return _Report(run).result()


def _check_room(model: MilModel) -> None:
    """Stop before the values of both programs, computed freely and of right operands, fill the memory."""
    values = sum(math.prod(result.shape) for step in model.program.steps for _, result in step.outputs)
    needed, free = _TIMES_HELD * 4 * values, available_memory()
    if free is not None and needed > free:
        raise ResourceError(f"comparing every value takes about {needed / 1e9:.0f} GB of memory, {free / 1e9:.0f} GB are free")


def _as_seen(sample: np.ndarray) -> Tensor:
    """A batch of one, as torch takes it. Pictures have the 256 levels of the pixel buffer that the package takes."""
    if sample.dtype.kind == "f":
        sample = np.round(sample * 255).astype(np.float32) / 255
    return torch.from_numpy(np.ascontiguousarray(sample[None]))


class _Report:
    """What there is to say of a comparison."""

    def __init__(self, run: Comparison) -> None:
        self.run = run

    def result(self) -> Localization:
        rows = tuple(self._row(op) for op in self.run.package)
        wrong = [op for op in self.run.package if op.name in self.run.pairs and self.run.diverges(op.name)]
        first = self._divergence(wrong) if wrong else self._unfinished()
        return Localization(rows, first if wrong else self._wrong_range() or first)

    def _wrong_range(self) -> Divergence | None:
        """The first quantization of values that does not fit them."""
        name, says = next(range_findings(self.run.model.program, {**self.run.own, **self.run.right}), ("", ""))
        if not name:
            return None
        op, reader = self.run.by_name[name], self._reader(name)
        torch_span = self.run.torch_span(reader.name) if reader is not None and reader.name in self.run.pairs else []
        blamed = _of_the_weights(torch_span) if torch_span else None
        right = next((self.run.right[one] for one in op.reads if one in self.run.right), None)
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
        while (step := next((step for step in self.run.model.program.steps if name in step.reads), None)) is not None:
            if not is_quantizing(step):
                return self.run.by_name[step.name]
            name = step.name
        return None

    def _row(self, op: PackageOp) -> TracedOp:
        common: dict[str, Any] = {"index": op.index, "op": op.name, "op_type": op.op, "converted": Statistics.of(op.value)}
        if op.name not in self.run.pairs:
            return TracedOp(**common, layer=None, torch_op=None)
        torch_op, right = self.run.pairs[op.name], self.run.right[op.name]
        return TracedOp(
            **common,
            layer=torch_op.layer,
            torch_op=torch_op.op,
            original=Statistics.of(right),
            relative_error=finite(self.run.free_error[op.name]),
            input_relative_error=finite(self._input_error(op.name)),
            cosine=finite(cosine(op.value, right)),
            added_error=finite(self.run.added[op.name]),
            floor=self.run.floors[op.name],
            diverges=self.run.diverges(op.name),
        )

    def _input_error(self, name: str) -> float:
        """The largest relative error, in the free run, among the compared values that the operation depends on."""
        operands = {one for op in self.run.span(name) for one in op.reads}
        return max((self.run.free_error[one] for one in operands if one in self.run.free_error), default=0.0)

    def _unfinished(self) -> Divergence | None:
        """The divergence of a package whose output is right for some operation of torch, but not for the last."""
        output, last = self.run.by_name.get(self.run.model.program.outputs[0].name), list(self.run.torch_ops.values())[-1]
        if output is None or self.run.pairs.get(output.name) is last or not self.run.pairs:
            return None
        right = as_formed(last.value, output.value)
        if right is not None and relative_error(self.run.own[output.name], right) <= self.run.floors.get(
            output.name, self.run.base
        ):
            return None
        compared = {op.name for op in self.run.pairs.values()}
        left_out = until(last.name, lambda one: self.run.torch_ops[one].reads, compared)
        missing = [op for name, op in self.run.torch_ops.items() if name in left_out and not op.inner]
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
        span, torch_span = self.run.span(last.name), self.run.torch_span(last.name)
        missing = self._missing(last) if len(span) == 1 else None
        blamed = missing or next((op for op in torch_span if not op.inner), torch_span[-1])
        if len(span) == 1 and missing is None:
            blamed = _of_the_weights(torch_span)
        first, right = span[0], self.run.right[last.name]
        return Divergence(
            op=first.name,
            op_type=first.op,
            layer=blamed.layer,
            torch_op=blamed.op,
            original=asdict(Statistics.of(right)),
            converted=asdict(Statistics.of(last.value)),
            relative_error=finite(self.run.free_error[last.name]),
            input_relative_error=finite(self._input_error(last.name)),
            cosine=finite(cosine(last.value, right)),
            says=". ".join(self._says(last, span, torch_span, missing, len(wrong) - 1)),
        )

    def _says(
        self, last: PackageOp, span: Sequence[PackageOp], torch_span: Sequence[TorchOp], missing: TorchOp | None, others: int
    ) -> Iterable[str]:
        torch_op = self.run.pairs[last.name]
        if len(span) > 1:
            known = ", ".join(sorted({one for op in span for one in op.reads} & self.run.right.keys())) or "the input"
            yield f"it lies between {known} and {last.name}: {len(span)} operations in the place of torch's {torch_op.op}"
        lost = int((~torch.isfinite(self.run.own[last.name])).sum()) if self.run.own[last.name].is_floating_point() else 0
        if lost:
            largest = float(self.run.right[last.name].abs().max())
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
        if wrong := findings(span, torch_span, self.run.explanation):
            return "; ".join(wrong)
        agree = (
            "the weights agree, but what is computed" if parameters(torch_span) else "the operands are right, but the result"
        )
        return f"{agree} is something else (relative error {self.run.added[last.name]:.2g} with right operands)"

    def _missing(self, op: PackageOp) -> TorchOp | None:
        """The torch operation that an operation's operand should have gone through, if it is right with that operand."""
        wanted = self.run.pairs[op.name]
        known = {self.run.pairs[one].name: one for one in op.reads if one in self.run.pairs}
        unread = [name for name in wanted.reads if name not in known]
        misled = [one for name, one in known.items() if name not in wanted.reads]
        if len(unread) != 1 or len(misled) != 1:
            return None
        missing, operand = self.run.torch_ops[unread[0]], self.run.by_name[misled[0]].value
        formed = as_formed(missing.value, operand)
        if formed is None:
            return None
        own = self.run.forced(**{misled[0]: formed.to(operand.dtype)})[op.name]
        return missing if relative_error(own, self.run.right[op.name]) <= self.run.floors[op.name] else None


def _of_the_weights(torch_span: Sequence[TorchOp]) -> TorchOp:
    """Of operations that a package fused into one: the one that brings the largest parameter, or the last."""
    sizes = {op.name: sum(value.numel() for value in op.constants.values()) for op in torch_span}
    return max(reversed(torch_span), key=lambda op: sizes[op.name])
