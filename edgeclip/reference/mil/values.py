"""Constants of an ML Program: immediate values and records of `weight.bin`, decoded with every size checked.

Format of a record: at the value's offset 64 bytes, `<IIQQQ` = sentinel 0xDEADBEEF, data type, size in bytes, offset of
the data, padding bits (coremltools `MILBlob/Blob/StorageFormat.hpp`). Files are untrusted: a size that disagrees with
the declared shape, or an offset outside the file, is an error before anything is allocated.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeclip.errors import BundleError
from edgeclip.reference.mil.proto import mil_pb2

_RECORD = struct.Struct("<IIQQQ")
_RECORD_BYTES = 64
_SENTINEL = 0xDEADBEEF
MAX_RANK = 8
MAX_ELEMENTS = 1 << 31


@dataclass(frozen=True)
class DType:
    """An ML Program data type: its NumPy form and, where `weight.bin` can hold it, its number there."""

    name: str
    numpy: np.dtype[Any]
    blob: int | None = None


_DTYPES = (
    DType("BOOL", np.dtype(np.bool_)),
    DType("FLOAT16", np.dtype("<f2"), 1),
    DType("FLOAT32", np.dtype("<f4"), 2),
    DType("INT8", np.dtype("<i1"), 4),
    DType("INT16", np.dtype("<i2"), 6),
    DType("INT32", np.dtype("<i4"), 14),
    DType("UINT8", np.dtype("<u1"), 3),
    DType("UINT16", np.dtype("<u2"), 7),
    DType("UINT32", np.dtype("<u4"), 15),
)
DTYPES = {dtype.name: dtype for dtype in _DTYPES}
# Which field of an immediate TensorValue holds a data type; all others are packed little-endian in `bytes`.
_IMMEDIATE_FIELD = {"BOOL": "bools", "FLOAT32": "floats", "INT32": "ints"}


@dataclass(frozen=True)
class TensorType:
    """Data type and static shape of a value."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


class WeightFile:
    """`weight.bin`, memory-mapped copy-on-write; arrays are views into it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._view = memoryview(b"")
        if path.exists():
            with path.open("rb") as file:
                if path.stat().st_size:
                    self._view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

    def read(self, offset: int, tensor: TensorType, where: str) -> np.ndarray:
        """The array of a record, checked against the type that the program declares for it."""
        if offset % _RECORD_BYTES or offset + _RECORD_BYTES > len(self._view):
            raise BundleError(f"{self._path}: {where}: no weight record at offset {offset}")
        sentinel, blob_type, size, data, _ = _RECORD.unpack_from(self._view, offset)
        dtype = DTYPES.get(tensor.dtype)
        if sentinel != _SENTINEL:
            raise BundleError(f"{self._path}: {where}: damaged weight record at offset {offset}")
        if dtype is None or dtype.blob is None or dtype.blob != blob_type:
            raise BundleError(f"{self._path}: {where}: record of type {blob_type} where {tensor.dtype} is declared")
        if size != tensor.elements * dtype.numpy.itemsize:
            raise BundleError(f"{self._path}: {where}: {size} bytes cannot fill {tensor.dtype} {list(tensor.shape)}")
        if data + size > len(self._view):
            raise BundleError(f"{self._path}: {where}: weights end at byte {data + size}, beyond the file")
        return np.frombuffer(self._view[data : data + size], dtype.numpy).reshape(tensor.shape)


def tensor_type(value_type: Any, where: str) -> TensorType:
    """The static tensor type of a protobuf ValueType."""
    if value_type.WhichOneof("type") != "tensorType":
        raise BundleError(f"{where}: {value_type.WhichOneof('type')} values are not supported")
    proto = value_type.tensorType
    names = mil_pb2().DataType
    if proto.dataType not in names.values():
        raise BundleError(f"{where}: unknown data type {proto.dataType}")
    shape = []
    for dimension in proto.dimensions:
        if dimension.WhichOneof("dimension") != "constant":
            raise BundleError(f"{where}: flexible dimensions are not supported")
        shape.append(int(dimension.constant.size))
    if proto.rank not in (len(shape), 0) or len(shape) > MAX_RANK or math.prod(shape) > MAX_ELEMENTS:
        raise BundleError(f"{where}: impossible shape {shape}")
    return TensorType(names.Name(proto.dataType), tuple(shape))


def decode(value: Any, weights: WeightFile | None, where: str) -> np.ndarray | str | tuple[str, ...]:
    """A constant as an array (rank 0 for scalars), or as text."""
    tensor = tensor_type(value.type, where)
    if value.WhichOneof("value") == "blobFileValue":
        if weights is None:
            raise BundleError(f"{where}: a constant from a file without a name")
        return weights.read(value.blobFileValue.offset, tensor, where)
    immediate = value.immediateValue.tensor
    if tensor.dtype == "STRING":
        strings = tuple(immediate.strings.values)
        if len(strings) != max(tensor.elements, 1):
            raise BundleError(f"{where}: {len(strings)} strings where {tensor.elements} are declared")
        return strings if tensor.shape else strings[0]
    dtype = DTYPES.get(tensor.dtype)
    if dtype is None:
        raise BundleError(f"{where}: constants of type {tensor.dtype} are not supported")
    field = _IMMEDIATE_FIELD.get(tensor.dtype)
    if field is None:
        raw = immediate.bytes.values
        if len(raw) != tensor.elements * dtype.numpy.itemsize:
            raise BundleError(f"{where}: {len(raw)} bytes cannot fill {tensor.dtype} {list(tensor.shape)}")
        return np.frombuffer(raw, dtype.numpy).reshape(tensor.shape)
    values = getattr(immediate, field).values
    if len(values) != tensor.elements:
        raise BundleError(f"{where}: {len(values)} values cannot fill {tensor.dtype} {list(tensor.shape)}")
    return np.array(values, dtype.numpy).reshape(tensor.shape)
