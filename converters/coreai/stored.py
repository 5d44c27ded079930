"""What constants of an `AIProgram` hold, and what compressed ones are decompressed to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Element types that fill bytes; four bits come in pairs, the first in the lower half.
_DTYPES = {"f16": np.float16, "f32": np.float32, "si8": np.int8, "ui8": np.uint8}


def content(operation: Any) -> np.ndarray:
    """The bytes of a constant: (n,) uint8."""
    from coreai._compiler._mlir_libs._coreaiIR import _bindings

    bindings: Any = _bindings
    kind = operation.results[0].type
    found = np.zeros(math.ceil(math.prod(kind.shape) * kind.element_type.width / 8), np.uint8)
    bindings.compiler.copy_constant_value_to_array(constant_op=operation, destination=found)
    return found


def decompressed(value: Any) -> np.ndarray:
    """A constant, or the result of an operation that makes a weight of compressed ones, as the program computes with it.

    Shapes: data (C_out, C_in, ...), with scales of the same rank, one for each block; or indices of that shape, with tables
    (G_out, 1, ..., K, 1), one for each group of output channels.
    """
    operation = value.owner
    if operation.name == "coreai.constant":
        return _numbers(operation)
    first, second = (decompressed(operand) for operand in list(operation.operands)[:2])
    return DECOMPRESSIONS[operation.name](first, second)


def _numbers(operation: Any) -> np.ndarray:
    kind, held = operation.results[0].type, content(operation)
    name, count = str(kind.element_type), math.prod(kind.shape)
    if name in _DTYPES:
        return held.view(_DTYPES[name]).reshape(kind.shape)
    if name not in ("si4", "ui4"):
        raise ValueError(f"a weight of type {name}")
    pairs = np.stack((held & 15, held >> 4), -1).reshape(-1)[:count].astype(np.int8).reshape(kind.shape)
    return (pairs ^ 8) - 8 if name == "si4" else pairs


def _scaled(data: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Symmetric integers: their offsets are zero."""
    for axis, size in enumerate(data.shape):
        scales = scales.repeat(size // scales.shape[axis], axis)
    return (data.astype(np.float32) * scales).astype(scales.dtype)


def _looked_up(indices: np.ndarray, tables: np.ndarray) -> np.ndarray:
    number: Any = 0  # of the table, for each value
    for axis, size in enumerate(indices.shape):
        groups = tables.shape[axis]
        along = [size if at == axis else 1 for at in range(indices.ndim)]
        number = number * groups + (np.arange(size) * groups // size).reshape(along)
    return tables.reshape(-1, tables.shape[-2])[number, indices]


DECOMPRESSIONS = {"coreai.blockwise_shift_scale": _scaled, "coreai.lut_to_dense": _looked_up}
