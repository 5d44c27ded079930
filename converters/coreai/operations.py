"""What an `.aimodel` does, by operation. Where it runs, Core AI decides when it loads it; no file says so."""

from __future__ import annotations

import math
from pathlib import Path

from converters.coreai.program import Program, Step, Tensor
from edgeclip.errors import BundleError
from edgeclip.operations import Operation
from edgeclip.reference.coreai_runtime import graph_of

# A lookup reads the rows that are asked for, not the table.
_LOOKUPS = frozenset({"gather", "gather_nd", "gather_along_axis"})
_WIDTHS = {"f64": 8, "f32": 4, "si32": 4, "ui32": 4, "i32": 4, "f16": 2, "bf16": 2, "si16": 2, "ui16": 2, "si64": 8, "ui64": 8}


def operations(path: Path, method: str = "main") -> list[Operation]:
    """Of `main`, with what it calls."""
    found = [_operation(step) for step in Program(graph_of(path)).steps()]
    if not found:
        raise BundleError(f"{path}: nothing in it runs; convert the model again")
    return found


def _operation(step: Step) -> Operation:
    weights = [] if step.name in _LOOKUPS else [tensor for tensor in step.reads if tensor.is_weight]
    computed = [tensor for tensor in (*step.reads, *step.results) if tensor.stored_bytes is None]
    return Operation(
        name=step.name,
        unit="any",
        macs=_macs(step),
        weight_bytes=sum(tensor.stored_bytes or 0 for tensor in weights),
        weight_values=sum(tensor.elements for tensor in weights),
        activation_bytes=sum(map(_size_bytes, computed)),
    )


def _macs(step: Step) -> int:
    """conv2d: a kernel (O, I / groups, h, w) for each result; batch_matmul: (..., m, k) by (..., k, n)."""
    if step.name == "conv2d":
        return step.results[0].elements * math.prod(step.reads[1].shape[1:])
    if step.name in ("batch_matmul", "broadcasting_batch_matmul"):
        return step.results[0].elements * step.reads[0].shape[-1]
    return 0


def _size_bytes(tensor: Tensor) -> int:
    return tensor.elements * _WIDTHS.get(tensor.dtype, 1)
