"""Constants of an ML Program: immediate values and records of `weight.bin`, decoded with every size checked.

Format of a record: at the value's offset 64 bytes, `<IIQQQ` = sentinel 0xDEADBEEF, data type, size in bytes, offset of
the data, padding bits (coremltools `MILBlob/Blob/StorageFormat.hpp`). Files are untrusted: a size that disagrees with
the declared shape, or an offset outside the file, is an error before anything is allocated.

The interpreter holds floats as float32, bytes and booleans as they are, integers of fewer bits as bytes, and all others as
int32.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeclip.errors import BundleError
from edgeclip.reference.mil.packing import packed_bytes, unpack
from edgeclip.reference.mil.proto import mil_pb2

_RECORD = struct.Struct("<IIQQQ")
_RECORD_BYTES = 64
_ALIGNMENT = 64
_SENTINEL = 0xDEADBEEF
MAX_RANK = 8
MAX_SIZE = (1 << 31) - 1
FLEXIBLE = -1
MAX_ELEMENTS = 1 << 31  # of a constant, which the file must hold in full
MAX_COMPUTED = 1 << 27  # of a result, which a few bytes can ask for: 512 MB of float32
_HELD_NUMPY: dict[torch.dtype, type] = {
    torch.bool: np.bool_,
    torch.float32: np.float32,
    torch.int8: np.int8,
    torch.int32: np.int32,
    torch.uint8: np.uint8,
}


@dataclass(frozen=True)
class TensorType:
    """Data type and shape of a value; a size that is known only when the program runs is FLEXIBLE."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many there are; flexible sizes count as 1."""
        return math.prod(1 if size == FLEXIBLE else size for size in self.shape)

    @property
    def is_flexible(self) -> bool:
        return FLEXIBLE in self.shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a value may have this shape."""
        return len(shape) == len(self.shape) and all(
            declared in (size, FLEXIBLE) for size, declared in zip(shape, self.shape, strict=True)
        )


@dataclass(frozen=True)
class DType:
    """An ML Program data type: its NumPy form, how the interpreter holds it, and where constants of it are kept.

    field: the field of an immediate TensorValue; `bytes` is packed little-endian (coremltools
    `types.IMMEDIATE_VALUE_TYPES_IN_BYTES`). blob: its number in `weight.bin`, if it can be there. packed_bits: how many
    bits a value takes where several share a byte; they are unpacked to the NumPy form.
    """

    name: str
    numpy: np.dtype[Any]
    held: torch.dtype
    field: str
    blob: int | None = None
    packed_bits: int | None = None

    @property
    def held_numpy(self) -> type:
        return _HELD_NUMPY[self.held]

    @property
    def bits(self) -> int:
        """What a value takes in a file."""
        return self.packed_bits or 8 * self.numpy.itemsize

    def size_bytes(self, elements: int) -> int:
        """What an array takes in a file."""
        return packed_bytes(elements, self.bits)

    def array(self, content: Any, tensor: TensorType) -> np.ndarray:
        """The array in `size_bytes` bytes; a view of them, unless they are packed."""
        if self.packed_bits is None:
            return np.frombuffer(content, self.numpy).reshape(tensor.shape)
        packed = np.frombuffer(content, np.uint8)
        signed = self.numpy.kind == "i"
        return unpack(packed, self.packed_bits, tensor.elements, signed).reshape(tensor.shape)


_DTYPES = (
    DType("BOOL", np.dtype(np.bool_), torch.bool, "bools"),
    DType("FLOAT16", np.dtype("<f2"), torch.float32, "bytes", 1),
    DType("FLOAT32", np.dtype("<f4"), torch.float32, "floats", 2),
    DType("INT8", np.dtype("<i1"), torch.int8, "bytes", 4),
    DType("INT16", np.dtype("<i2"), torch.int32, "ints", 6),
    DType("INT32", np.dtype("<i4"), torch.int32, "ints", 14),
    DType("UINT8", np.dtype("<u1"), torch.uint8, "bytes", 3),
    DType("UINT16", np.dtype("<u2"), torch.int32, "ints", 7),
    DType("UINT32", np.dtype("<u4"), torch.int32, "bytes", 15),
    DType("INT4", np.dtype("<i1"), torch.int8, "bytes", 8, 4),
    DType("UINT1", np.dtype("<u1"), torch.uint8, "bytes", 9, 1),
    DType("UINT2", np.dtype("<u1"), torch.uint8, "bytes", 10, 2),
    DType("UINT3", np.dtype("<u1"), torch.uint8, "bytes", 12, 3),
    DType("UINT4", np.dtype("<u1"), torch.uint8, "bytes", 11, 4),
    DType("UINT6", np.dtype("<u1"), torch.uint8, "bytes", 13, 6),
)
DTYPES = {dtype.name: dtype for dtype in _DTYPES}


def kind(dtype: torch.dtype) -> str:
    """What a held type is, whatever its width: "float", "integer" or "bool"."""
    return "bool" if dtype == torch.bool else "float" if dtype.is_floating_point else "integer"


class WeightFile:
    """`weight.bin`, memory-mapped copy-on-write; arrays are views into it.

    Raises OSError where the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._view = memoryview(b"")
        with path.open("rb") as file:
            if path.stat().st_size:
                self._view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

    @property
    def size_bytes(self) -> int:
        return len(self._view)

    def read(self, offset: int, tensor: TensorType, where: str) -> np.ndarray:
        """The array of a record, checked against the type that the program declares for it."""
        if offset % _ALIGNMENT or offset + _RECORD_BYTES > len(self._view):
            raise BundleError(f"{self._path}: {where}: no weight record at offset {offset}")
        sentinel, blob_type, size, data, padding = _RECORD.unpack_from(self._view, offset)
        dtype = DTYPES.get(tensor.dtype)
        if sentinel != _SENTINEL:
            raise BundleError(f"{self._path}: {where}: damaged weight record at offset {offset}")
        if dtype is None or dtype.blob is None or dtype.blob != blob_type:
            raise BundleError(f"{self._path}: {where}: record of type {blob_type} where {tensor.dtype} is declared")
        is_packed = dtype.packed_bits is not None
        if size != dtype.size_bytes(tensor.elements) or (is_packed and padding != 8 * size - tensor.elements * dtype.bits):
            raise BundleError(f"{self._path}: {where}: {size} bytes cannot fill {tensor.dtype} {list(tensor.shape)}")
        if data + size > len(self._view):
            raise BundleError(f"{self._path}: {where}: weights end at byte {data + size}, beyond the file")
        if data % _ALIGNMENT:
            raise BundleError(f"{self._path}: {where}: weights at byte {data}, which is no multiple of {_ALIGNMENT}")
        return dtype.array(self._view[data : data + size], tensor)


def tensor_type(value_type: Any, where: str, limit: int = MAX_ELEMENTS, flexible: bool = False) -> TensorType:
    """The tensor type of a protobuf ValueType; BundleError for any other, or for more than `limit` elements.

    Sizes that are not static are an error, unless `flexible`; a rank that is not, always.
    """
    if value_type.WhichOneof("type") != "tensorType":
        raise BundleError(f"{where}: {value_type.WhichOneof('type')} values are not supported")
    proto = value_type.tensorType
    names = mil_pb2().DataType
    if proto.dataType not in names.values():
        raise BundleError(f"{where}: unknown data type {proto.dataType}")
    if len(proto.dimensions) > MAX_RANK or proto.rank not in (len(proto.dimensions), 0):
        raise BundleError(f"{where}: impossible shape of rank {proto.rank} and {len(proto.dimensions)} dimensions")
    shape = []
    for dimension in proto.dimensions:
        if dimension.WhichOneof("dimension") == "constant":
            shape.append(int(dimension.constant.size))
        elif flexible and not dimension.unknown.variadic:
            shape.append(FLEXIBLE)
        else:
            raise BundleError(f"{where}: flexible dimensions are not supported here")
    # Sizes of 0 do not make the others harmless: NumPy multiplies them as well.
    if max(shape, default=0) > MAX_SIZE or math.prod(max(size, 1) for size in shape) > limit:
        raise BundleError(f"{where}: impossible shape {shape}")
    return TensorType(names.Name(proto.dataType), tuple(shape))


def held_type(value_type: Any, where: str) -> TensorType:
    """The type of a value that is given or computed: one that the interpreter can hold, of at most MAX_COMPUTED elements."""
    tensor = tensor_type(value_type, where, MAX_COMPUTED, flexible=True)
    if tensor.dtype not in DTYPES or DTYPES[tensor.dtype].packed_bits is not None:
        raise BundleError(f"{where}: values of type {tensor.dtype} are not supported")
    return tensor


def decode(value: Any, weights: WeightFile | None, where: str) -> torch.Tensor | str | tuple[str, ...]:
    """A constant as a tensor as it is held (rank 0 for scalars), or as text."""
    tensor = tensor_type(value.type, where)
    if tensor.dtype == "STRING":
        return _text(value, tensor, where)
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        raise BundleError(f"{where}: constants of type {tensor.dtype} are not supported")
    if value.WhichOneof("value") != "blobFileValue":
        array = _immediate(value.immediateValue.tensor, dtype, tensor, where)
    elif weights is not None:
        array = weights.read(value.blobFileValue.offset, tensor, where)
    else:
        raise BundleError(f"{where}: a constant from a file without a name")
    if dtype.name == "UINT32" and array.size and array.max() > MAX_SIZE:
        raise BundleError(f"{where}: {array.max()} is beyond the interpreter's int32")
    return torch.from_numpy(array.astype(dtype.held_numpy, copy=False))


def _immediate(proto: Any, dtype: DType, tensor: TensorType, where: str) -> np.ndarray:
    """A constant inside the program, writable and of its own memory."""
    values = getattr(proto, dtype.field).values
    if dtype.field == "bytes":
        if len(values) != dtype.size_bytes(tensor.elements):
            raise BundleError(f"{where}: {len(values)} bytes cannot fill {tensor.dtype} {list(tensor.shape)}")
        return np.array(dtype.array(values, tensor))
    if len(values) != tensor.elements:
        raise BundleError(f"{where}: {len(values)} values cannot fill {tensor.dtype} {list(tensor.shape)}")
    if dtype.field == "ints" and values:
        limits = np.iinfo(dtype.numpy)
        if min(values) < limits.min or max(values) > limits.max:
            raise BundleError(f"{where}: a value beyond {tensor.dtype}")
    return np.array(values, dtype.numpy).reshape(tensor.shape)


def _text(value: Any, tensor: TensorType, where: str) -> str | tuple[str, ...]:
    strings = tuple(value.immediateValue.tensor.strings.values)
    if len(strings) != tensor.elements:
        raise BundleError(f"{where}: {len(strings)} strings where {tensor.elements} are declared")
    return strings if tensor.shape else strings[0]
