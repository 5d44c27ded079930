"""An ExecuTorch program with a few XNNPACK operations, written without lowering a model.

Lowering takes a second for each program; writing the graph down as ExecuTorch's own schema has it takes milliseconds, so that
a hundred primitives can be timed in seconds. Float16 and integers never leave the delegate: the first operation converts the
input, the last its result.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

_ALIGNMENT = 16  # of weights, what XNNPACK asks for
_BY_NAME = (1 << 64) - 1
_NONE = 0xFFFFFFFF
INPUT, OUTPUT = 1, 2  # XNN_VALUE_FLAG_EXTERNAL_INPUT, .._OUTPUT
GROUP = 32  # columns that share a scale in 4-bit weights
_SCALE = 0.01
_BFLOAT16_SCALE = b"\x24\x3c"  # about 0.01


def _floats(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def _weights(dtype: str, dims: Sequence[int]) -> bytes:
    """Weights drawn so that a chain neither dies away, which would time subnormal numbers, nor overflows."""
    import numpy as np

    drawn, count = np.random.default_rng(0), math.prod(dims)
    if dtype in ("fp32", "fp16"):
        # of a depthwise filter (1, height, width, channels) a result sums height x width products, of others all but the first
        products = math.prod(dims[1:3] if len(dims) == 4 and dims[0] == 1 else dims[1:])
        values = drawn.standard_normal(count, np.float32) / math.sqrt(max(1, products))
        return values.astype(np.float16 if dtype == "fp16" else np.float32).tobytes()
    if dtype == "qcint32":
        return bytes(4 * count)
    if dtype == "qbint4":
        return drawn.integers(0, 256, count // 2, np.uint8).tobytes()
    return drawn.integers(-9, 10, count, np.int8).tobytes()


class Delegate:
    """A graph under construction; values are named by the numbers that the methods give."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._external: list[tuple[int, int, tuple[int, ...]]] = []  # value, flag, dims
        self._contents: list[bytes] = []
        self._constant(b"")  # number 0 is "no constant"

    def _constant(self, content: bytes) -> int:
        """A number for weights. The loader finds all but number 0 by name, even those of this very delegate."""
        from executorch.backends.xnnpack.serialization.xnnpack_graph_schema import ConstantDataOffset

        number = len(self._constants)
        name = f"weights {number}" if number else ""
        self._constants.append(ConstantDataOffset(offset=_BY_NAME if number else 0, size=len(content), named_key=name))
        self._contents.append(content)
        return number

    def value(self, dtype: str, dims: Sequence[int], *, constant: bool = False, channel_dim: int = 0, flag: int = 0) -> int:
        """A tensor. constant: weights. flag: input or output of the program, always fp32."""
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as xnn

        number = len(self._values)
        external = _NONE
        if flag:
            external = len(self._external)
            self._external.append((number, flag, tuple(dims)))
        tensor = xnn.XNNTensorValue(
            datatype=xnn.XNNDatatype[f"xnn_datatype_{dtype}"],
            num_dims=len(dims),
            dims=list(dims),
            constant_buffer_idx=self._constant(_weights(dtype, dims)) if constant else 0,
            external_id=external,
            flags=flag,
            id_out=number,
        )
        quantized = self._quantized(dtype, dims, channel_dim)
        union = tensor if quantized is None else xnn.XNNQuantizedTensorValue(tensor, quantized)
        self._values.append(xnn.XValue(xvalue_union=union))
        return number

    def _quantized(self, dtype: str, dims: Sequence[int], channel_dim: int) -> Any:
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as xnn

        if dtype == "qdint8":
            return xnn.PerTokenDynamicQuant(num_nonbatch_dims=3 if len(dims) == 4 else 1)
        if dtype == "qint8":
            return xnn.PerTensorQuant(scale=_SCALE, zero_point=0)
        if dtype in ("qcint8", "qcint32"):
            count = dims[channel_dim]
            scales = self._constant(_floats([_SCALE if dtype == "qcint8" else _SCALE * _SCALE] * count))
            return xnn.PerChannelQuant(scale=[], channel_dim=channel_dim, scale_buffer_idx=scales, num_scales=count)
        if dtype == "qbint4":
            count = dims[0] * (dims[1] // GROUP)
            scales = self._constant(_BFLOAT16_SCALE * count)
            return xnn.PerChannelGroupQuant(
                scale=[], channel_dim=0, group_size=GROUP, scale_buffer_idx=scales, num_scales=count
            )
        return None

    def node(self, name: str, **fields: Any) -> None:
        """An operation. Numbers that are not given are absent values; `flags` is 0."""
        from dataclasses import fields as declared

        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as xnn

        kind = getattr(xnn, f"XNN{name}")
        absent = {field.name: _NONE if field.name.endswith("_id") else 0 for field in declared(kind)}
        self._nodes.append(xnn.XNode(xnode_union=kind(**absent | fields), debug_handle=len(self._nodes)))

    def program(self) -> bytes:
        """The whole `.pte`: one method `forward` that hands its inputs to the delegate."""
        from executorch.backends.xnnpack.serialization import xnnpack_graph_schema as xnn
        from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import serialize_xnnpack_binary
        from executorch.exir import schema
        from executorch.exir._serialize._named_data_store import NamedDataStore
        from executorch.exir._serialize._program import PTEFile, serialize_pte_binary

        graph = xnn.XNNGraph(
            version="0",
            xnodes=self._nodes,
            xvalues=self._values,
            num_externs=len(self._external),
            input_ids=[number for number, flag, _ in self._external if flag == INPUT],
            output_ids=[number for number, flag, _ in self._external if flag == OUTPUT],
            constant_data=self._constants,
        )
        payload = serialize_xnnpack_binary(graph, bytearray())
        store = NamedDataStore()
        for constant, content in list(zip(self._constants, self._contents, strict=True))[1:]:
            store.add_named_data(constant.named_key, content, alignment=_ALIGNMENT)
        inputs = [place for place, (_, flag, _) in enumerate(self._external) if flag == INPUT]
        outputs = [place for place, (_, flag, _) in enumerate(self._external) if flag == OUTPUT]
        call = schema.DelegateCall(delegate_index=0, args=list(range(len(self._external))))
        delegate = schema.BackendDelegate(
            id="XnnpackBackend",
            processed=schema.BackendDelegateDataReference(location=schema.DataLocation.INLINE, index=0),
            compile_specs=[],
        )
        plan = method([dims for *_, dims in self._external], inputs, outputs, call, delegates=[delegate])
        program = schema.Program(
            version=0,
            execution_plan=[plan],
            constant_buffer=[schema.Buffer(storage=b"")],
            backend_delegate_data=[schema.BackendDelegateInlineData(data=payload)],
            segments=[],
            constant_segment=schema.SubsegmentOffsets(segment_index=0, offsets=[]),
        )
        return bytes(
            serialize_pte_binary(
                PTEFile(program=program, named_data=store.get_named_data_store_output()), extract_delegate_segments=True
            )
        )


def method(
    dims: Sequence[Sequence[int]], inputs: list[int], outputs: list[int], call: Any, delegates: Sequence[Any] = ()
) -> Any:
    """An execution plan `forward` of one call, whose float32 tensors lie one behind the other in memory."""
    from executorch.exir import schema
    from executorch.exir.scalar_type import ScalarType

    values, offset = [], 0
    for sizes in dims:
        values.append(
            schema.EValue(
                schema.Tensor(
                    scalar_type=ScalarType.FLOAT,
                    storage_offset=0,
                    sizes=list(sizes),
                    dim_order=list(range(len(sizes))),
                    requires_grad=False,
                    layout=0,
                    data_buffer_idx=0,
                    allocation_info=schema.AllocationDetails(memory_id=1, memory_offset_low=offset, memory_offset_high=0),
                    shape_dynamism=schema.TensorShapeDynamism.STATIC,
                )
            )
        )
        offset += -(-4 * math.prod(sizes) // 64) * 64
    leaf = '{"type": null, "context": null, "children_spec": []}'
    several = ", ".join([leaf] * len(inputs))
    positional = f'{{"type": "builtins.tuple", "context": "null", "children_spec": [{several}]}}'
    named = '{"type": "builtins.dict", "context": "[]", "children_spec": []}'
    both = f'[1, {{"type": "builtins.tuple", "context": "null", "children_spec": [{positional}, {named}]}}]'
    return schema.ExecutionPlan(
        name="forward",
        container_meta_type=schema.ContainerMetadata(encoded_inp_str=both, encoded_out_str=f"[1, {leaf}]"),
        values=values,
        inputs=inputs,
        outputs=outputs,
        chains=[schema.Chain(inputs=[], outputs=[], instructions=[schema.Instruction(call)], stacktrace=None)],
        operators=[],
        delegates=list(delegates),
        non_const_buffer_sizes=[0, offset],
    )
