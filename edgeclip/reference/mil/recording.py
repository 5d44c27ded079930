"""One run kept in full, and what changes in it when constants or precisions do."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from edgeclip.errors import BundleError, UsageError
from edgeclip.reference.mil.precision import Precision, rounded
from edgeclip.reference.mil.shapes import check_result
from edgeclip.reference.mil.steps import Program, Step
from edgeclip.reference.mil.values import DTYPES
from edgeclip.registry import unknown

# Of all results of a program together, as float32: 4 GB.
MAX_RECORDED = 1 << 30


@dataclass(frozen=True)
class Recording:
    """Every value of one run by name: inputs, results, and the constants that steps read by name."""

    values: Mapping[str, Tensor]

    @property
    def size_bytes(self) -> int:
        """An upper bound: results that are views of others are counted as if they were not."""
        return sum(value.numel() * value.element_size() for value in self.values.values())


@dataclass(frozen=True)
class Change:
    """What differs from a recording.

    constants: values in place of the program's, by the constants' names. round_half: steps whose results are rounded to
    float16, by the steps' names.
    """

    constants: Mapping[str, Tensor]
    round_half: Collection[str]


def check_change(program: Program, change: Change) -> None:
    """Raises UsageError where a name is not in the program, or a constant is not of the shape and kind that it replaces."""
    operands = {source for step in program.steps for parameter, source in step.sources.items() if step.takes_tensor(parameter)}
    for name, value in change.constants.items():
        if name not in operands:
            raise unknown("constant operand", name, sorted(operands))
        try:
            check_result(value, program.constant_types[name], f"the replacement of {name!r}")
        except BundleError as error:
            raise UsageError(str(error)) from error
    steps = {step.name for step in program.steps}
    for name in change.round_half:
        if name not in steps:
            raise unknown("step", name, sorted(steps))


def rerun(program: Program, precision: Precision, recording: Recording, change: Change) -> Mapping[str, Tensor]:
    """All values with the change, of which only those downstream of it are computed.

    Beside the recording this holds what a run holds: new values are freed after their last use, outputs excepted.
    """
    constants = {}
    for name, value in change.constants.items():
        declared = program.constant_types[name]
        constants[name] = precision.operand(precision.kept(value.to(DTYPES[declared.dtype].held), declared))
    new: dict[str, Tensor] = {name: value for name, value in constants.items() if name in program.constants}
    values = ChainMap(new, dict(recording.values))
    stale = set(new)
    for step in program.steps:
        if not (stale & step.reads or constants.keys() & set(step.sources.values()) or step.name in change.round_half):
            continue
        results = precision.compute(_with(step, constants), values)
        if step.name in change.round_half:
            results = tuple(map(rounded, results))
        for (name, _), value in zip(step.outputs, results, strict=True):
            new[name] = value
            stale.add(name)
        for name in step.frees:
            new.pop(name, None)
    return values


def _with(step: Step, constants: Mapping[str, Tensor]) -> Step:
    """The step with its own constants replaced; those of a list it reads by name."""
    new = {parameter: constants[source] for parameter, source in step.sources.items() if source in constants}
    return replace(step, constants=step.constants | {name: value for name, value in new.items() if name in step.constants})
