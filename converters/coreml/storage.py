"""How the weights of an ML Program are stored: values and bytes in `weight.bin` by data type, and bits for each weight.

A weight is a value that the program computes with. Compressed ones are stored as something smaller (`constexpr_*`), with
tables and scales beside it; all of that counts as storage, and only the result as weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from edgeclip.errors import BundleError
from edgeclip.reference.mil.values import DTYPES, DType, TensorType, tensor_type


@dataclass(frozen=True)
class StoredWeights:
    """values, size_bytes: by stored data type, e.g. "uint4" -> 25,296,896 and 12,648,448. weights: values when in use."""

    values: dict[str, int]
    size_bytes: dict[str, int]
    weights: int

    @property
    def bits_per_weight(self) -> float | None:
        """Storage over weights, tables and scales included; None for a program without weights."""
        return 8 * sum(self.size_bytes.values()) / self.weights if self.weights else None

    def as_json(self) -> dict[str, Any]:
        bits = self.bits_per_weight
        return {
            "weights": {name: {"values": self.values[name], "bytes": self.size_bytes[name]} for name in sorted(self.values)},
            "weight_count": self.weights,
            "bits_per_weight": None if bits is None else round(bits, 3),
        }


def stored_weights(operations: Iterable[Any]) -> StoredWeights:
    """Count the constants in weight files; the few that a program holds itself are settings, not weights.

    operations: protobuf operations of one block. A record that two constants share is stored once.
    """
    program = list(operations)
    compressed = [operation for operation in program if operation.type.startswith("constexpr_")]
    parts = {
        binding.name for operation in compressed for argument in operation.inputs.values() for binding in argument.arguments
    }
    values: Counter[str] = Counter()
    size: Counter[str] = Counter()
    weights = 0
    seen: set[tuple[str, int]] = set()
    for operation in program:
        for name, value in _stored(operation):
            kind = tensor_type(value.type, operation.type)
            record = (value.blobFileValue.fileName, value.blobFileValue.offset)
            if operation.type == "const" and operation.outputs[0].name not in parts:
                weights += kind.elements
            if record in seen:
                continue
            seen.add(record)
            stored, count = _packed(operation, name, kind)
            values[stored] += count
            size[stored] += _dtype(kind, operation).size_bytes(kind.elements)
    weights += sum(_result(operation).elements for operation in compressed if not _is_part(operation, parts))
    return StoredWeights(dict(values), dict(size), weights)


def _stored(operation: Any) -> Iterator[tuple[str, Any]]:
    """The values that an operation keeps in a weight file: iOS16 forms as attributes, iOS18 forms as inputs."""
    for name, value in operation.attributes.items():
        if value.WhichOneof("value") == "blobFileValue":
            yield name, value
    for name, argument in operation.inputs.items():
        for binding in argument.arguments:
            if binding.WhichOneof("binding") == "value" and binding.value.WhichOneof("value") == "blobFileValue":
                yield name, binding.value


def _is_part(operation: Any, parts: set[str]) -> bool:
    """Whether a compressed constant is only a part of another, as a table of a palette that is quantized itself."""
    return not parts.isdisjoint(output.name for output in operation.outputs)


def _result(operation: Any) -> TensorType:
    """The type of what a compressed constant becomes: of two results (mask, values) the last."""
    return tensor_type(operation.outputs[-1].type, operation.type)


def _dtype(kind: TensorType, operation: Any) -> DType:
    if kind.dtype not in DTYPES:
        raise BundleError(f"{operation.type} {operation.outputs[0].name!r}: constants of type {kind.dtype} are not supported")
    return DTYPES[kind.dtype]


def _packed(operation: Any, attribute: str, kind: TensorType) -> tuple[str, int]:
    """Data type and number of the values in a record. The iOS16 forms declare packed bits as plain bytes."""
    meant = _PACKED.get((operation.type, attribute))
    if meant is None or attribute not in operation.attributes:
        return kind.dtype.lower(), kind.elements
    return f"uint{meant(operation)}", _result(operation).elements


def _palette_bits(operation: Any) -> int:
    """A table of 2^n entries is indexed by n bits."""
    return max(1, (tensor_type(operation.attributes["lut"].type, operation.type).elements - 1).bit_length())


_PACKED: dict[tuple[str, str], Callable[[Any], int]] = {
    ("constexpr_lut_to_dense", "indices"): _palette_bits,
    ("constexpr_sparse_to_dense", "mask"): lambda _: 1,
}
