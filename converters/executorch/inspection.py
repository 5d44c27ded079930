"""What is inside a `.pte`, parsed in Python; no native loader sees the file.

ExecuTorch's own reader (`deserialize_pte_binary`) gives the program; the payload of an XNNPACK delegate is a flatbuffer
behind a small header, decoded by the schema that the package brings.
"""

from __future__ import annotations

import json
import math
import re
import struct
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from edgeclip.errors import BundleError

_XNN_MAGIC = b"XH00"
_XNN_HEADER = struct.Struct("<4x4sHII")  # zeros, magic, header size, flatbuffer offset and size
XNN_TYPES = {
    "xnn_datatype_fp32": ("float32", 4.0),
    "xnn_datatype_fp16": ("float16", 2.0),
    "xnn_datatype_qint8": ("int8", 1.0),
    "xnn_datatype_qdint8": ("int8", 1.0),  # rounded as they come; never constant
    "xnn_datatype_qcint8": ("int8", 1.0),
    "xnn_datatype_qint32": ("int32", 4.0),
    "xnn_datatype_qcint32": ("int32", 4.0),
    "xnn_datatype_qcint4": ("int4", 0.5),
    "xnn_datatype_qbint4": ("int4", 0.5),
}


def inspect_program(path: Path, method: str = "forward") -> dict[str, Any]:
    """One method: ops by type (in delegates and outside), delegates, their share of the ops, weights by data type.

    What is inside delegates other than XNNPACK's is not known; then there is no share, and the sizes of their graphs (and of
    weights that they keep in them) are in `opaque_bytes`.
    """
    from executorch.exir.scalar_type import ScalarType
    from executorch.exir.schema import DelegateCall, KernelCall, Tensor

    program, plan = read_method(path, method)
    outside: Counter[str] = Counter()
    delegates: Counter[str] = Counter()
    inside: Counter[str] = Counter()
    values: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for chain in plan.chains:
        for instruction in chain.instructions:
            call = instruction.instr_args
            if isinstance(call, KernelCall):
                outside[plan.operators[call.op_index].name.split("::")[-1]] += 1
            elif isinstance(call, DelegateCall):
                delegates[plan.delegates[call.delegate_index].id] += 1
    opaque: Counter[str] = Counter()
    for delegate in plan.delegates:
        payload = bytes(program.backend_delegate_data[delegate.processed.index].data)
        if delegate.id != "XnnpackBackend":
            opaque[delegate.id] += len(payload)
        else:
            _count_xnnpack(xnnpack_graph(payload, path), inside, values, size)
    for value in plan.values:
        tensor = value.val
        if isinstance(tensor, Tensor) and tensor.data_buffer_idx > 0:
            kind = ScalarType(tensor.scalar_type).name.lower()
            kind = {"float": "float32", "int": "int32", "long": "int64", "char": "int8"}.get(kind, kind)
            count = math.prod(tensor.sizes)
            values[kind] += count
            size[kind] += count * (int("".join(c for c in kind if c.isdigit()) or 8) // 8)
    total = sum(inside.values()) + sum(outside.values())
    ops = Counter({f"{name} (delegated)": count for name, count in inside.items()}) + outside
    return {
        "method": plan.name,
        "ops": dict(ops.most_common()),
        "weights": {name: {"values": values[name], "bytes": size[name]} for name in sorted(values)},
        "delegates": dict(delegates.most_common()),
        "delegated_percent": None if opaque else round(100 * sum(inside.values()) / total, 1) if total else 0.0,
        "opaque_bytes": dict(opaque),
    }


def read_method(path: Path, method: str) -> tuple[Any, Any]:
    """(the program, the execution plan of one method). Raises BundleError where the file cannot be read."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    try:
        program = deserialize_pte_binary(path.read_bytes()).program
        return program, next(plan for plan in program.execution_plan if plan.name == method)
    except StopIteration:
        raise BundleError(f"{path}: has no method {method!r}; convert the model again") from None
    except (ValueError, RuntimeError, KeyError, IndexError, TypeError, AssertionError, OSError, struct.error) as error:
        raise BundleError(f"{path}: damaged ExecuTorch program ({error}); convert the model again") from error


def xnnpack_graph(payload: bytes, path: Path) -> dict[str, Any]:
    """The graph inside a delegate's payload, as ExecuTorch's schema names it."""
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import _get_schema_bytes
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    damaged = BundleError(f"{path}: damaged XNNPACK delegate; convert the model again")
    if len(payload) < _XNN_HEADER.size:
        raise damaged
    magic, _, offset, length = _XNN_HEADER.unpack_from(payload)
    if magic != _XNN_MAGIC or offset + length > len(payload):
        raise damaged
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "schema.fbs").write_bytes(_get_schema_bytes())
        (folder / "graph.bin").write_bytes(payload[offset : offset + length])
        try:
            _flatc_decompile(name, str(folder / "schema.fbs"), str(folder / "graph.bin"), ["--raw-binary"])
        except subprocess.CalledProcessError as error:
            raise damaged from error
        text = (folder / "graph.json").read_text("utf-8", "replace")
    try:  # flatc writes bounds of activations as `-inf` and `inf`, which Python spells otherwise
        graph: dict[str, Any] = json.loads(re.sub(r"(: -?)inf\b", r"\1Infinity", text))
    except (ValueError, RecursionError) as error:
        raise damaged from error
    return graph


def _count_xnnpack(graph: dict[str, Any], ops: Counter[str], values: Counter[str], size: Counter[str]) -> None:
    for node in graph["xnodes"]:
        ops[node["xnode_union_type"].removeprefix("XNN").removeprefix("_")] += 1
    for value in graph["xvalues"]:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)
        if tensor.get("constant_buffer_idx", 0) > 0:
            kind, width = XNN_TYPES.get(tensor["datatype"], (tensor["datatype"], 0.0))
            count = math.prod(tensor["dims"])
            values[kind] += count
            size[kind] += int(count * width)
