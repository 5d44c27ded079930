"""What a Core ML package computes: every value of a run, freely or with right values put in place of its own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from edgeclip.data.preprocess import to_pixels
from edgeclip.reference.mil.interpreter import MilModel
from edgeclip.reference.mil.steps import Program, Step

_QUANTIZING = ("quantize", "dequantize")
_RAW = "/computed"  # ends the name of a value that another takes the place of; no package has such names


@dataclass(frozen=True)
class PackageOp:
    """One result of one operation of a package.

    index: of the operation in the program. reads: the computed values that it takes, by name, in the order of its
    parameters. constants: its constant operands, by parameter. sources: the names of those in the file, where they have one.
    """

    index: int
    name: str
    op: str
    value: Tensor
    reads: tuple[str, ...]
    constants: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict)


def package_input(program: Program, sample: np.ndarray) -> dict[str, np.ndarray]:
    """A sample as the package takes it. sample: (3, H, W) float32 in [0, 1], or (L,) int32 ids."""
    given = program.inputs[0]
    return {given.name: to_pixels(sample) if given.color else sample[None]}


def trace_package(model: MilModel, inputs: Mapping[str, np.ndarray]) -> list[PackageOp]:
    """Run a package, keeping all its values, and list its operations in their order."""
    found: list[PackageOp] = []
    places = {step.name: index for index, step in enumerate(model.program.steps)}

    def observe(step: Step, results: tuple[Tensor, ...]) -> None:
        listed = _listed(step, model.program)
        constants, sources = {**step.constants, **listed}, {**step.sources, **{name: name for name in listed}}
        for (name, _), value in zip(step.outputs, results, strict=True):
            found.append(PackageOp(places[step.name], name, step.op, value, _reads(step, model.program), constants, sources))

    model.run(inputs, observe)
    return found


def without_quantization(model: MilModel) -> MilModel:
    """The same program with computed values left as they are where it rounds them to integers and back.

    What that costs depends on the data, and hides what else an operation may have wrong.
    """
    steps = tuple(replace(step, function=_as_it_is) if is_quantizing(step) else step for step in model.program.steps)
    copied = copy.copy(model)
    copied.program = replace(model.program, steps=steps)
    return copied


def _as_it_is(*, input: Tensor, **rest: Any) -> Tensor:  # noqa: A002
    return input


def is_quantizing(step: Step) -> bool:
    """Whether a step rounds computed values to integers, or turns those into floats."""
    return step.op in _QUANTIZING and "input" in step.inputs


def around_quantization(ops: Sequence[PackageOp]) -> list[PackageOp]:
    """The same operations, each reading what was quantized in place of the integers' floats; nothing reads those then."""
    behind = {op.name: op.reads[0] for op in ops if op.op in _QUANTIZING and op.reads}

    def source(name: str) -> str:
        while name in behind:
            name = behind[name]
        return name

    return [op if op.name in behind else replace(op, reads=tuple(dict.fromkeys(map(source, op.reads)))) for op in ops]


def trace_forced(
    model: MilModel,
    inputs: Mapping[str, np.ndarray],
    right: Mapping[str, Tensor],
    constants: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> dict[str, Tensor]:
    """What each operation makes of right operands.

    right: values that take the place of the package's own, by name, each in the form of the package's value. An operation's
    own result is noted before it is replaced, so that no error of one operation reaches the next one that has a right
    operand. In fp16 mode the right values are rounded as the program declares them. constants: by the operation's name, what
    takes the place of its constants.
    """
    found: dict[str, Tensor] = {}

    def observe(step: Step, results: tuple[Tensor, ...]) -> None:
        for (name, _), value in zip(step.outputs, results, strict=True):
            found.setdefault(name.removesuffix(_RAW), value)  # the raw value comes first

    constants, program = constants or {}, model.program
    listed = {name: value for given in constants.values() for name, value in given.items() if name in program.constants}
    forced = copy.copy(model)
    forced.program = replace(
        program,
        steps=tuple(_forced_steps(program.steps, right, constants)),
        constants={**program.constants, **listed},
    )
    forced.run(inputs, observe)
    return found


def _forced_steps(
    steps: tuple[Step, ...], right: Mapping[str, Tensor], constants: Mapping[str, Mapping[str, Tensor]]
) -> Iterator[Step]:
    """Each step, followed by steps that put right values in place of its results."""
    for given in steps:
        step = given
        if step.name in constants:
            own = {name: value for name, value in constants[step.name].items() if name in step.constants}
            step = replace(step, constants={**step.constants, **own})
        if not any(name in right for name, _ in step.outputs):
            yield step
            continue
        outputs = tuple((name + _RAW if name in right else name, declared) for name, declared in step.outputs)
        results = {name for name, _ in step.outputs}
        yield replace(step, outputs=outputs, frees=tuple(name for name in step.frees if name not in results))
        for name, declared in step.outputs:
            if name in right:
                freed = (name + _RAW, name) if name in step.frees else (name + _RAW,)
                yield replace(
                    step,
                    op="right value",
                    function=lambda x, value=right[name]: value,
                    constants={},
                    inputs={"x": name + _RAW},
                    outputs=((name, declared),),
                    frees=freed,
                )


_FIRST = ("x", "query", "key", "value")  # the order of parameters as other graphs have it; the rest follow by name


def _operands(step: Step) -> Iterator[str]:
    for name in sorted(step.inputs, key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)):
        source = step.inputs[name]
        yield from (source,) if isinstance(source, str) else source


def _reads(step: Step, program: Program) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in _operands(step) if name not in program.constants))


def _listed(step: Step, program: Program) -> dict[str, Tensor]:
    """Constants that stand in a list beside computed values."""
    return {name: program.constants[name] for name in _operands(step) if name in program.constants}
