"""Resolving an ML Program: every operation bound to its function, every constant decoded, before anything runs."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from edgeclip.errors import BundleError
from edgeclip.reference.mil.interface import interface, interface_of
from edgeclip.reference.mil.messages import printable
from edgeclip.reference.mil.narrow import narrow
from edgeclip.reference.mil.ops import operations
from edgeclip.reference.mil.ops.table import Form, Number, Sizes
from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.precision import Precision
from edgeclip.reference.mil.shapes import check_constant, check_program, check_result
from edgeclip.reference.mil.steps import Interface, Program, Step
from edgeclip.reference.mil.values import TensorType, decode, held_type, kind, tensor_type
from edgeclip.registry import unknown

Constant = Tensor | str | tuple[str, ...]
# What compressed constants may grow to, in values: all of a small file's, and of a large one's so many per byte.
_DECOMPRESSED, _DECOMPRESSED_PER_BYTE = 1 << 22, 128


@dataclass(frozen=True)
class _Runtime:
    """A value that is known only when the program runs."""

    name: str


@dataclass(frozen=True)
class _Operands:
    """An operation's operands by parameter: known values, names of computed ones, names of constants, computed sizes."""

    constants: dict[str, Any]
    inputs: dict[str, str | tuple[str, ...]]
    sources: dict[str, str]
    numbers: set[str]


def resolve(package: Package, precision: Precision, function: str) -> Program:
    """Bind a function by name, its constants as the mode leaves them.

    BundleError, with the operation's name, where the program uses what the interpreter does not know, or contradicts
    itself or its interface.
    """
    functions = package.model.mlProgram.functions
    if function not in functions:
        known = ", ".join(sorted(map(printable, functions))) or "none"
        raise BundleError(f"{package.path}: the program has no function {function!r}; known: {known}")
    chosen = functions[function]
    if chosen.opset not in chosen.block_specializations:
        raise BundleError(f"{package.path}: function {function!r} has nothing for its opset {printable(chosen.opset)!r}")
    description = interface_of(package, function)
    return _Resolver(package, precision).resolve(chosen, chosen.block_specializations[chosen.opset], description)


class _Resolver:
    def __init__(self, package: Package, precision: Precision) -> None:
        self.package = package
        self.precision = precision
        self.table = operations()
        self.types: dict[str, TensorType] = {}  # of inputs and computed values
        self.given: dict[str, TensorType] = {}  # of inputs
        self.constants: dict[str, Constant] = {}
        self.constant_types: dict[str, TensorType] = {}
        self.listed: dict[str, Tensor] = {}  # constants that a step reads by name, among computed values
        self.decompressed: dict[str, Step] = {}
        self.decompressed_values = 0
        self.steps: list[Step] = []

    def resolve(self, function: Any, block: Any, description: Any) -> Program:
        for value in function.inputs:
            where = f"{self.package.path}: {printable(value.name)}"
            self._new(value.name, where)
            self.types[value.name] = held_type(value.type, where)
        given = self.given = dict(self.types)
        for operation in block.operations:
            self._operation(operation)
        outputs = tuple(block.outputs)
        constants = self.listed | self._constant_outputs(outputs)
        steps = _with_frees(self.steps, keep={*outputs, *constants})
        program = Program(
            steps=steps,
            inputs=tuple(self._interface(feature, given) for feature in description.input),
            outputs=tuple(self._interface(feature, outputs) for feature in description.output),
            constants=constants,
            constant_types=self.constant_types,
            decompressed=self.decompressed,
        )
        if missing := given.keys() - {interface.name for interface in program.inputs}:
            raise BundleError(f"{self.package.path}: the interface lacks the program's input {min(missing)!r}")
        check_program(program, {interface.name: interface.smallest for interface in program.inputs})
        return program

    def _constant_outputs(self, names: Iterable[str]) -> dict[str, Tensor]:
        found = {}
        for name in names:
            value = self.constants.get(name)
            if isinstance(value, Tensor):
                found[name] = self.precision.operand(value)
            elif name not in self.types:
                raise BundleError(f"{self.package.path}: output {printable(name)!r} is computed by no operation")
        return found

    def _interface(self, feature: Any, names: Iterable[str]) -> Interface:
        """An input or output, which must be among `names`."""
        where = f"{self.package.path}: interface {printable(feature.name)!r}"
        if feature.name not in names:
            raise BundleError(f"{where} is not in the program")
        value = self.constants.get(feature.name)
        tensor = TensorType("ANY", tuple(value.shape)) if isinstance(value, Tensor) else self.types[feature.name]
        return interface(feature, tensor, feature.name in self.given, where)

    def _new(self, name: str, where: str) -> None:
        if name in self.types or name in self.constants or name in self.listed:
            raise BundleError(f"{where}: there are two values {printable(name)!r}")

    def _operation(self, operation: Any) -> None:
        first = operation.outputs[0].name if operation.outputs else ""
        where = f"{self.package.path}: {printable(operation.type)} {printable(first)!r}"
        if not operation.outputs:
            raise BundleError(f"{where}: an operation without outputs")
        if operation.blocks:
            raise BundleError(f"{where}: control flow is not supported")
        if operation.type == "const":
            self._new(first, where)
            value = operation.attributes["val"]
            self.constants[first] = self._constant(value, where)
            self.constant_types[first] = tensor_type(value.type, where)
            return
        if operation.type not in self.table:
            raise BundleError(f"{where}: {unknown('operation', operation.type, self.table)}")
        step = self._step(operation, where)
        if operation.type.startswith("constexpr_"):
            self._decompress(step)
        else:
            self.types |= dict(step.outputs)
            self.steps.append(step)

    def _step(self, operation: Any, where: str) -> Step:
        """An operation bound to its function, its operands and its results."""
        is_constant = operation.type.startswith("constexpr_")
        given: dict[str, list[Any]] = {}
        for name, argument in operation.inputs.items():
            given[name] = [b.name if b.WhichOneof("binding") == "name" else b.value for b in argument.arguments]
        if is_constant:  # the iOS16 forms keep their operands in attributes
            given |= {name: [value] for name, value in operation.attributes.items() if name != "name"}
        try:
            form = self.table[operation.type].form(given)
        except BundleError as error:
            raise BundleError(f"{where}: {error}") from error
        operands = self._operands(form, given, where)
        declared = tensor_type if is_constant else held_type
        outputs: list[tuple[str, TensorType]] = []
        for out in operation.outputs:
            self._new(out.name, where)
            if any(out.name == name for name, _ in outputs):
                raise BundleError(f"{where}: there are two values {printable(out.name)!r}")
            outputs.append((out.name, declared(out.type, where)))
        function = narrow(form.run) if self.precision.rounds_all and not is_constant else form.run
        return Step(
            op=operation.type,
            where=where,
            function=function,
            constants=operands.constants,
            inputs=operands.inputs,
            outputs=tuple(outputs),
            sources=operands.sources,
            numbers=frozenset(operands.numbers),
        )

    def _operands(self, form: Form, given: Mapping[str, list[Any]], where: str) -> _Operands:
        found = _Operands({}, {}, {}, set())
        for name, bindings in given.items():
            place, hint = f"{where}: {name}", _strip_optional(form.parameters[name])
            values = [self._binding(binding, place) for binding in bindings]
            named = [isinstance(binding, str) and binding in self.constants for binding in bindings]
            if hint == tuple[Tensor, ...]:
                parts = [f"{name}/{k}" for k in range(len(values))]
                found.sources.update({part: b for part, b, is_named in zip(parts, bindings, named, strict=True) if is_named})
                names = [found.sources.get(part, f"constant/{len(self.steps)}/{part}") for part in parts]
                found.inputs[name] = tuple(self._listed(value, part, place) for value, part in zip(values, names, strict=True))
                continue
            if len(values) != 1:
                raise BundleError(f"{where}: input {name!r} takes one value, not {len(values)}")
            value = values[0]
            if isinstance(value, _Runtime):
                if hint in (Sizes, Number):
                    found.numbers.add(name)
                elif hint is not Tensor:
                    raise BundleError(f"{where}: input {name!r} must be a constant")
                found.inputs[name] = value.name
                continue
            constant = _as_parameter(value, hint, place)
            found.constants[name] = self.precision.operand(constant) if isinstance(constant, Tensor) else constant
            if named[0]:
                found.sources[name] = bindings[0]
        return found

    def _binding(self, binding: Any, where: str) -> Constant | _Runtime:
        if not isinstance(binding, str):
            return self._constant(binding, where)
        if binding in self.constants:
            return self.constants[binding]
        if binding in self.types:
            return _Runtime(binding)
        raise BundleError(f"{where}: value {printable(binding)!r} is used before it is computed")

    def _listed(self, value: Constant | _Runtime, name: str, where: str) -> str:
        """A name for a value in a list, which may mix computed values and constants, as `concat` of a class token does."""
        if isinstance(value, _Runtime):
            return value.name
        if not isinstance(value, Tensor):
            raise BundleError(f"{where}: text among the tensors")
        if name not in self.constants:
            self._new(name, where)
        self.listed[name] = self.precision.operand(value)
        return name

    def _constant(self, value: Any, where: str) -> Constant:
        file_name = value.blobFileValue.fileName if value.WhichOneof("value") == "blobFileValue" else None
        return decode(value, self.package.weights(file_name) if file_name else None, where)

    def _decompress(self, step: Step) -> None:
        """Evaluate a compressed constant, which may have two results."""
        if step.inputs:
            raise BundleError(f"{step.where}: operands of a compressed constant must be constants")
        self.decompressed_values += sum(declared.elements for _, declared in step.outputs)
        limit = max(_DECOMPRESSED, _DECOMPRESSED_PER_BYTE * self.package.size_bytes)
        if self.decompressed_values > limit:
            raise BundleError(f"{step.where}: constants decompress to more than {limit} values, too many for such a file")
        check_constant(step)
        for (name, declared), value in zip(step.outputs, step.run({}), strict=True):
            check_result(value, declared, step.where)
            self.constants[name] = self.precision.kept(value, declared)
            self.constant_types[name] = declared
            self.decompressed[name] = step


def _strip_optional(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


_KINDS: dict[Any, str] = {int: "integer", float: "float", bool: "bool"}


def _as_parameter(value: Constant, hint: Any, where: str) -> Any:
    """A constant as what the parameter's annotation asks for; kinds of numbers are not mixed, as the format has it."""
    if hint is str and isinstance(value, str):
        return value
    if isinstance(value, Tensor):
        if hint is Tensor:
            return value
        if hint is Number and value.numel() == 1:
            return value.item()
        if hint in _KINDS and _KINDS[hint] == kind(value.dtype) and value.numel() == 1:
            return value.item()
        if hint is Sizes and kind(value.dtype) == "integer" and value.dim() <= 1:
            return tuple(value.reshape(-1).tolist())
        if typing.get_origin(hint) is tuple and _KINDS[typing.get_args(hint)[0]] == kind(value.dtype) and value.dim() <= 1:
            return tuple(value.reshape(-1).tolist())
    raise BundleError(f"{where}: a value that does not fit this input")


def _with_frees(steps: list[Step], keep: set[str]) -> tuple[Step, ...]:
    """Mark, at each step, the values that no later step reads, so that memory does not grow with depth."""
    seen = set(keep)
    out = []
    for step in reversed(steps):
        mentioned = step.reads | {name for name, _ in step.outputs}
        out.append(replace(step, frees=tuple(sorted(mentioned - seen))))
        seen |= mentioned
    return tuple(reversed(out))
