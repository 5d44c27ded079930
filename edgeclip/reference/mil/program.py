"""Resolving an ML Program: every operation bound to its function, every constant decoded, before anything runs."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops import operations
from edgeclip.reference.mil.ops.table import Op
from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.values import TensorType, decode, tensor_type
from edgeclip.registry import unknown

Constant = Tensor | str | tuple[str, ...]
_FLOATS = ("FLOAT16", "FLOAT32")
_BYTES = ("INT8", "UINT8")


@dataclass(frozen=True)
class Step:
    """One operation of the program: what it computes, from which values, into which."""

    op: str
    run: Callable[..., Any]
    constants: dict[str, Any]
    inputs: dict[str, str | tuple[str, ...]]
    outputs: tuple[tuple[str, TensorType], ...]
    frees: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.outputs[0][0]


@dataclass(frozen=True)
class Interface:
    """An input or output of the model; `color` is set where Core ML takes a pixel buffer."""

    name: str
    type: TensorType
    color: str | None = None


@dataclass
class Program:
    """A resolved program."""

    steps: tuple[Step, ...]
    inputs: tuple[Interface, ...]
    outputs: tuple[Interface, ...]
    constants: dict[str, Tensor] = field(default_factory=dict)


def resolve(package: Package, round_half: bool) -> Program:
    """Bind the `main` function. With `round_half`, decompressed constants are rounded to their declared float16."""
    model = package.model
    function = model.mlProgram.functions.get("main")
    if function is None or function.opset not in function.block_specializations:
        raise BundleError(f"{package.path}: the program has no function 'main'")
    block = function.block_specializations[function.opset]
    return _Resolver(package, round_half).resolve(function, block)


class _Resolver:
    def __init__(self, package: Package, round_half: bool) -> None:
        self.package = package
        self.round_half = round_half
        self.table = operations()
        self.constants: dict[str, Constant] = {}
        self.values: dict[str, TensorType] = {}
        self.steps: list[Step] = []

    def resolve(self, function: Any, block: Any) -> Program:
        for value in function.inputs:
            self.values[value.name] = tensor_type(value.type, value.name)
        for operation in block.operations:
            self._operation(operation)
        outputs = tuple(block.outputs)
        for name in outputs:
            if name not in self.values and name not in self.constants:
                raise BundleError(f"{self.package.path}: output {name!r} is computed by no operation")
        constant_outputs = {name: self.constants[name] for name in outputs if name in self.constants}
        return Program(
            steps=_with_frees(self.steps, keep=outputs),
            inputs=tuple(self._interface(f, self.values) for f in self.package.model.description.input),
            outputs=tuple(self._interface(f, self.values) for f in self.package.model.description.output),
            constants={name: value for name, value in constant_outputs.items() if isinstance(value, Tensor)},
        )

    def _interface(self, feature: Any, values: dict[str, TensorType]) -> Interface:
        if feature.name not in values:
            raise BundleError(f"{self.package.path}: interface {feature.name!r} is not in the program")
        color = None
        if feature.type.WhichOneof("Type") == "imageType":
            image = feature.type.imageType
            color = type(image).ColorSpace.Name(image.colorSpace)
        return Interface(feature.name, values[feature.name], color)

    def _operation(self, operation: Any) -> None:
        where = f"{self.package.path.name}: {operation.type} {operation.outputs[0].name if operation.outputs else ''!r}"
        if not operation.outputs:
            raise BundleError(f"{where}: an operation without outputs")
        if operation.blocks:
            raise BundleError(f"{where}: control flow is not supported")
        outputs = tuple((out.name, tensor_type(out.type, where)) for out in operation.outputs)
        if operation.type == "const":
            self.constants[outputs[0][0]] = self._constant(operation.attributes["val"], where)
            return
        if operation.type not in self.table:
            raise BundleError(f"{where}: {unknown('operation', operation.type, self.table)}")
        op = self.table[operation.type]
        constants, inputs = self._arguments(op, operation, where)
        step = Step(op.name, op.run, constants, inputs, outputs)
        if op.name.startswith("constexpr_"):
            self.constants[step.name] = self._evaluate(step, where)
            return
        self.values.update(outputs)
        self.steps.append(step)

    def _arguments(self, op: Op, operation: Any, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        constants: dict[str, Any] = {}
        inputs: dict[str, str | tuple[str, ...]] = {}
        given: dict[str, list[Any]] = {}
        for name, argument in operation.inputs.items():
            given[name] = [b.name if b.WhichOneof("binding") == "name" else b.value for b in argument.arguments]
        if op.name.startswith("constexpr_"):  # the iOS16 forms keep their operands in attributes
            given |= {name: [value] for name, value in operation.attributes.items() if name != "name"}
        if excess := given.keys() - op.parameters.keys():
            raise BundleError(f"{where}: unknown input {sorted(excess)[0]!r}")
        if missing := op.required - given.keys():
            raise BundleError(f"{where}: input {sorted(missing)[0]!r} is missing")
        for name, bindings in given.items():
            hint = _strip_optional(op.parameters[name])
            many = typing.get_origin(hint) is tuple and typing.get_args(hint)[0] is Tensor
            if not many and len(bindings) != 1:
                raise BundleError(f"{where}: input {name!r} takes one value, not {len(bindings)}")
            resolved = [self._binding(binding, f"{where}: {name}") for binding in bindings]
            known = tuple(value for value in resolved if not isinstance(value, _Runtime))
            if len(known) < len(resolved):
                if hint is not Tensor and not many:
                    raise BundleError(f"{where}: input {name!r} must be a constant")
                names = tuple(self._runtime_name(value) for value in resolved)
                inputs[name] = names if many else names[0]
            elif many:
                constants[name] = known
            else:
                constants[name] = _as_parameter(known[0], hint, f"{where}: {name}")
        return constants, inputs

    def _binding(self, binding: Any, where: str) -> Constant | _Runtime:
        if not isinstance(binding, str):
            return self._constant(binding, where)
        if binding in self.constants:
            return self.constants[binding]
        if binding in self.values:
            return _Runtime(binding)
        raise BundleError(f"{where}: value {binding!r} is used before it is computed")

    def _runtime_name(self, value: Constant | _Runtime) -> str:
        """A name for a value in a list that mixes computed values and constants, as `concat` of a class token does."""
        if isinstance(value, _Runtime):
            return value.name
        if not isinstance(value, Tensor):
            raise BundleError(f"text among the tensors of operation {len(self.steps)}")
        name = f"constant/{len(self.steps)}/{id(value)}"
        self.steps.append(
            Step("const", lambda value: value, {"value": value}, {}, ((name, TensorType("ANY", tuple(value.shape))),))
        )
        return name

    def _constant(self, value: Any, where: str) -> Constant:
        file_name = value.blobFileValue.fileName if value.WhichOneof("value") == "blobFileValue" else None
        weights = self.package.weights(file_name) if file_name else None
        decoded = decode(value, weights, where)
        return _to_torch(decoded, tensor_type(value.type, where).dtype) if isinstance(decoded, np.ndarray) else decoded

    def _evaluate(self, step: Step, where: str) -> Tensor:
        if step.inputs:
            raise BundleError(f"{where}: operands of a compressed constant must be constants")
        try:
            result: Tensor = step.run(**step.constants)
        except (RuntimeError, ValueError, IndexError) as error:
            raise BundleError(f"{where}: cannot be decompressed ({error})") from error
        declared = step.outputs[0][1]
        if tuple(result.shape) != declared.shape:
            raise BundleError(f"{where}: decompresses to {list(result.shape)}, declared {list(declared.shape)}")
        return result.half().float() if self.round_half and declared.dtype == "FLOAT16" else result


@dataclass(frozen=True)
class _Runtime:
    """A value that is known only when the program runs."""

    name: str


def _strip_optional(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _to_torch(array: np.ndarray, dtype: str) -> Tensor:
    """Floats as float32, wide integers as int32, bytes and booleans as they are."""
    if dtype in _FLOATS:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if dtype in _BYTES or dtype == "BOOL":
        return torch.from_numpy(np.array(array))
    return torch.from_numpy(array.astype(np.int32))


_SCALARS: dict[Any, Callable[[Any], Any]] = {int: int, float: float, bool: bool}


def _as_parameter(value: Constant, hint: Any, where: str) -> Any:
    """A constant as what the parameter's annotation asks for."""
    if hint is str:
        if isinstance(value, str):
            return value
    elif isinstance(value, Tensor):
        if hint is Tensor:
            return value
        if hint in _SCALARS and value.numel() == 1:
            return _SCALARS[hint](value.reshape(()).item())
        if typing.get_origin(hint) is tuple and value.dim() <= 1:
            return tuple(_SCALARS[typing.get_args(hint)[0]](item) for item in value.reshape(-1).tolist())
    raise BundleError(f"{where}: a value that does not fit this input")


def _with_frees(steps: list[Step], keep: Iterable[str]) -> tuple[Step, ...]:
    """Mark, at each step, the values that no later step reads, so that memory does not grow with depth."""
    seen = set(keep)
    out = []
    for step in reversed(steps):
        used = {n for names in step.inputs.values() for n in ((names,) if isinstance(names, str) else names)}
        mentioned = used | {name for name, _ in step.outputs}
        out.append(replace(step, frees=tuple(sorted(mentioned - seen))))
        seen |= mentioned
    return tuple(reversed(out))
