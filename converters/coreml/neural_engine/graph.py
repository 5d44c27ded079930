"""An ML Program as the lint sees it: operations with their declared types, and which values are constants.

Nothing is computed. Types are those that the file declares; a flexible dimension is None. Constants are decoded one at a
time, when a rule asks for them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from converters.coreml.neural_engine.operations import SCALES_AND_SHIFTS
from edgeclip.errors import BundleError
from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.values import DTYPES, decode

INTEGERS = frozenset({"INT4", "INT8", "INT16", "INT32", "INT64", *(f"UINT{bits}" for bits in (1, 2, 3, 4, 6, 8, 16, 32, 64))})
FLOATS = frozenset({"FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16"})


@dataclass(frozen=True)
class Type:
    """Declared data type and shape; a dimension that is known only at run time is None.

    dtype is "" for what is no tensor: lists, dictionaries, states.
    """

    dtype: str
    shape: tuple[int | None, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def elements(self) -> int | None:
        """How many values, or None where that is known only at run time."""
        known = [size for size in self.shape if size is not None]
        return math.prod(known) if len(known) == len(self.shape) else None

    @property
    def size_bytes(self) -> int | None:
        dtype = DTYPES.get(self.dtype)
        return None if dtype is None or self.elements is None else dtype.size_bytes(self.elements)


@dataclass(frozen=True)
class Operation:
    """One operation that runs. operands: names of values by parameter; literals have a name of their own."""

    index: int
    type: str
    name: str
    results: tuple[tuple[str, Type], ...]
    operands: dict[str, tuple[str, ...]]
    nested: bool

    @property
    def result(self) -> Type:
        return self.results[0][1]


def main_block(package: Package) -> tuple[Any, Any]:
    """(function `main`, its block for the opset it declares)."""
    function = package.model.mlProgram.functions.get("main")
    if function is None or function.opset not in function.block_specializations:
        raise BundleError(f"{package.path}: the program has no function 'main'")
    return function, function.block_specializations[function.opset]


class Graph:
    """The `main` function of a package.

    pictures: pixel buffers, and what scales and shifts their pixels alone: the `scale` and `bias` of coremltools' `ImageType`
    are float32 operations in front of the program.
    """

    def __init__(self, package: Package) -> None:
        function, block = main_block(package)
        self.path = package.path
        self._package = package
        self._values: dict[str, Any] = {}  # protobuf values of plain constants
        self._compressed: dict[str, tuple[str, ...]] = {}  # what a compressed constant is made of
        self.types: dict[str, Type] = {value.name: _declared(value.type) for value in function.inputs}
        self.inputs: tuple[str, ...] = tuple(self.types)
        self.outputs: tuple[str, ...] = tuple(block.outputs)
        self.pictures = {
            feature.name
            for feature in package.model.description.input
            if feature.type.WhichOneof("Type") == "imageType" and feature.name in self.types
        }
        self.enumerated = any(map(_is_enumerated, package.model.description.input))
        operations: list[Operation] = []
        for proto in block.operations:
            if operation := self._read(proto, len(operations)):
                operations.append(operation)
                read = self.runtime(operation)
                if operation.type in SCALES_AND_SHIFTS and read and self.pictures.issuperset(read):
                    self.pictures.add(operation.name)
        self.operations: tuple[Operation, ...] = tuple(operations)

    def _read(self, proto: Any, index: int) -> Operation | None:
        """Note a constant, or give an operation that runs."""
        if not proto.outputs:
            raise BundleError(f"{self.path}: {proto.type}: an operation without outputs")
        name = proto.outputs[0].name
        results = tuple((out.name, _declared(out.type)) for out in proto.outputs)
        if proto.type == "const":
            self._constant(name, proto.attributes["val"])
            return None
        operands = {parameter: self._names(name, parameter, argument) for parameter, argument in proto.inputs.items()}
        self.types.update(results)
        if proto.type.startswith("constexpr_"):  # iOS16 forms keep their operands in attributes
            kept = {key: value for key, value in proto.attributes.items() if key != "name"}
            for key, value in kept.items():
                self._constant(f"{name}/{key}", value)
            parts = tuple(part for names in operands.values() for part in names) + tuple(f"{name}/{key}" for key in kept)
            self._compressed.update((out, parts) for out, _ in results)
            return None
        return Operation(index, proto.type, name, results, operands, bool(proto.blocks))

    def _constant(self, name: str, value: Any) -> None:
        self._values[name] = value
        self.types[name] = _declared(value.type)

    def _names(self, operation: str, parameter: str, argument: Any) -> tuple[str, ...]:
        names = []
        for place, binding in enumerate(argument.arguments):
            if binding.WhichOneof("binding") == "name":
                names.append(binding.name)
            else:
                names.append(f"{operation}/{parameter}/{place}")
                self._constant(names[-1], binding.value)
        return tuple(names)

    def is_constant(self, name: str) -> bool:
        return name in self._values or name in self._compressed

    def stored(self, name: str) -> tuple[int, int]:
        """(bytes as they are stored, values) of a constant; a compressed one is stored as what it is made of."""
        parts = self._compressed.get(name, (name,))
        stored = sum(self.stored(part)[0] if part in self._compressed else self.types[part].size_bytes or 0 for part in parts)
        return stored, self.types[name].elements or 0

    def runtime(self, operation: Operation) -> list[str]:
        """The operands that are computed or given when the program runs."""
        return [name for names in operation.operands.values() for name in names if not self.is_constant(name)]

    def operand(self, operation: Operation, parameter: str) -> str | None:
        """The name of a single operand, if it is there."""
        names = operation.operands.get(parameter, ())
        return names[0] if len(names) == 1 else None

    def type_of(self, operation: Operation, parameter: str) -> Type:
        """The declared type of an operand that the operation cannot do without."""
        name = self.operand(operation, parameter)
        if name is None or name not in self.types:
            raise BundleError(f"{self.path}: {operation.type} {operation.name!r}: input {parameter!r} is missing")
        return self.types[name]

    def numbers(self, operation: Operation, parameter: str) -> tuple[Any, ...] | None:
        """The values of a small constant operand, flat; None if it is missing or known only when the program runs."""
        name = self.operand(operation, parameter)
        if name is None or name not in self._values:
            return None
        value = self._decode(name)
        return value if isinstance(value, tuple) else (value,) if isinstance(value, str) else tuple(value.reshape(-1).tolist())

    def _decode(self, name: str) -> Any:
        value = self._values[name]
        file_name = value.blobFileValue.fileName if value.WhichOneof("value") == "blobFileValue" else None
        return decode(value, self._package.weights(file_name) if file_name else None, f"{self.path}: {name}")

    @cached_property
    def non_finite(self) -> frozenset[str]:
        """Constants with infinities or NaNs; a compressed one is judged by the floats that it is made of (scales, tables)."""
        found = {name for name in self._values if not self._finite(name)}
        for name, parts in self._compressed.items():  # in program order, so that parts come first
            if found.intersection(parts):
                found.add(name)
        return frozenset(found)

    def _finite(self, name: str) -> bool:
        if self.types[name].dtype not in FLOATS:
            return True
        return bool(np.isfinite(self._decode(name).numpy()).all())

    @cached_property
    def readers(self) -> dict[str, tuple[Operation, ...]]:
        """The operations that read each value."""
        found: dict[str, list[Operation]] = {}
        for operation in self.operations:
            for name in self.runtime(operation):
                found.setdefault(name, []).append(operation)
        return {name: tuple(operations) for name, operations in found.items()}

    @cached_property
    def makers(self) -> dict[str, Operation]:
        """The operation that computes each value."""
        return {name: operation for operation in self.operations for name, _ in operation.results}

    @cached_property
    def counts(self) -> Counter[str]:
        """How many operations there are of each type."""
        return Counter(operation.type for operation in self.operations)

    def read_only_by(self, operation: Operation, wanted: frozenset[int]) -> bool:
        """Whether all results go to operations whose index is in `wanted`, and none out of the program."""
        names = [name for name, _ in operation.results]
        reads = [reader.index for name in names for reader in self.readers.get(name, ())]
        return bool(reads) and wanted.issuperset(reads) and not set(names).intersection(self.outputs)

    def values(self, operation: Operation) -> Iterator[Type]:
        """The types of all results and of all operands that are not constants."""
        for _, kind in operation.results:
            yield kind
        for name in self.runtime(operation):
            if name in self.types:
                yield self.types[name]


def _declared(value_type: Any) -> Type:
    """A protobuf ValueType, without judging it."""
    if value_type.WhichOneof("type") != "tensorType":
        return Type("", ())
    proto = value_type.tensorType
    kind = proto.DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number.get(proto.dataType)
    shape = tuple(int(size.constant.size) if size.WhichOneof("dimension") == "constant" else None for size in proto.dimensions)
    return Type("" if kind is None else kind.name, shape)


def _is_enumerated(feature: Any) -> bool:
    """Whether an input takes one of several listed shapes."""
    return (
        feature.type.multiArrayType.WhichOneof("ShapeFlexibility") == "enumeratedShapes"
        or feature.type.imageType.WhichOneof("SizeFlexibility") == "enumeratedSizes"
    )
