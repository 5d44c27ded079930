"""What a method of a `.pte` does, by operation: those inside XNNPACK delegates from their payload, and the kernels outside.

A kernel's sizes are those that its speed depends on:

    gemm, mean, bmm rows, width in, width out (bmm: matrices first). A 1x1 convolution is a gemm; mean: one filter.
    conv            results, products of one result, filters
    depthwise       results, channels, taps
    everything else elements; softmax: rows, width
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from converters.executorch.inspection import XNN_TYPES, read_method, xnnpack_graph
from edgeclip.errors import BundleError, NotRunnableError
from edgeclip.operations import Operation

_Node = Mapping[str, Any]

# What has no entry is done element by element.
_UNARY = frozenset({"Abs", "Ceiling", "Clamp", "Cos", "ELU", "Exp", "Floor", "Gelu", "Hardswish", "LeakyReLU", "Log", "Negate"})
_UNARY |= {"ReciprocalSquareRoot", "Sigmoid", "Sin", "Square", "SquareRoot", "Tanh"}
_BINARY = frozenset({"Add", "Divide", "Div", "Maximum", "Minimum", "Multiply", "PReLU", "Subtract"})
_COPIES = frozenset({"Copy", "StaticReshape", "StaticSlice", "StaticConstantPad"})


class _Tensor:
    """A value of a delegate's graph."""

    def __init__(self, value: _Node) -> None:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)
        self.identifier: int = tensor["id_out"]
        self.dtype: str = tensor["datatype"].removeprefix("xnn_datatype_")
        self.dims: tuple[int, ...] = tuple(tensor["dims"])
        self.constant: bool = tensor.get("constant_buffer_idx", 0) > 0
        self.elements = math.prod(self.dims)
        name, width = XNN_TYPES.get(tensor["datatype"], (self.dtype, None))
        if width is None:
            raise NotRunnableError(f"a delegate holds values of type {name}, which cannot be costed")
        self.size_bytes = int(self.elements * width)


def operations(path: Path, method: str = "forward") -> list[Operation]:
    """Everything that runs, in the order of the program."""
    from executorch.exir.schema import DelegateCall, KernelCall

    program, plan = read_method(path, method)
    found: list[Operation] = []
    for chain in plan.chains:
        for instruction in chain.instructions:
            call = instruction.instr_args
            if isinstance(call, KernelCall):
                found.append(_portable(plan, call, path))
            elif isinstance(call, DelegateCall):
                delegate = plan.delegates[call.delegate_index]
                if delegate.id != "XnnpackBackend":
                    raise NotRunnableError(f"{path}: what is inside a {delegate.id} delegate is not known, nor what it costs")
                payload = bytes(program.backend_delegate_data[delegate.processed.index].data)
                found += _delegated(xnnpack_graph(payload, path), path)
    if not found:
        raise BundleError(f"{path}: nothing in it runs; convert the model again")
    return found


def _portable(plan: Any, call: Any, path: Path) -> Operation:
    """A kernel outside of delegates; its arguments name the results twice, as the out variant takes them."""
    from executorch.exir.schema import Tensor

    name = plan.operators[call.op_index].name
    tensors = [plan.values[index].val for index in dict.fromkeys(call.args)]
    tensors = [tensor for tensor in tensors if isinstance(tensor, Tensor)]
    sizes = [math.prod(tensor.sizes) * _width(tensor, path) for tensor in tensors if tensor.data_buffer_idx == 0]
    elements = math.prod(tensors[-1].sizes) if tensors else 1
    kernel = "lookup" if "embedding" in name else "portable"
    if kernel == "portable":  # a search reads all and writes one
        elements = max((math.prod(tensor.sizes) for tensor in tensors), default=1)
    return Operation(name, "portable", 0, 0, 0, sum(sizes), kernel, (elements,))


_WIDTHS = {
    **dict.fromkeys(("LONG", "UINT64", "DOUBLE"), 8),
    **dict.fromkeys(("INT", "UINT32", "FLOAT"), 4),
    **dict.fromkeys(("SHORT", "UINT16", "BITS16", "HALF", "BFLOAT16"), 2),
    **dict.fromkeys(("BYTE", "CHAR", "BOOL", "BITS8"), 1),
}


def _width(tensor: Any, path: Path) -> int:
    """Bytes of one value."""
    name = tensor.scalar_type.name
    if name not in _WIDTHS:
        raise NotRunnableError(f"{path}: has a tensor of type {name}, whose cost is not known")
    return _WIDTHS[name]


def _delegated(graph: _Node, path: Path) -> list[Operation]:
    try:
        tensors = {tensor.identifier: tensor for tensor in map(_Tensor, graph["xvalues"])}
    except KeyError as error:
        raise BundleError(f"{path}: damaged XNNPACK delegate: a value has no {error}; convert the model again") from error
    found = []
    for node in graph["xnodes"]:
        name = node["xnode_union_type"].removeprefix("XNN").removeprefix("_")
        fields = node["xnode_union"]
        try:
            found.append(_operation(name, fields, tensors))
        except (KeyError, IndexError, ZeroDivisionError) as error:
            raise BundleError(f"{path}: damaged XNNPACK delegate: {name} has no {error}; convert the model again") from error
    return found


def _operation(name: str, fields: _Node, tensors: Mapping[int, _Tensor]) -> Operation:
    read = [tensors[value] for key, value in fields.items() if key.endswith("_id") and "output" not in key and value in tensors]
    written = [tensors[value] for key, value in fields.items() if key.startswith("output") and key.endswith("_id")]
    result = written[0]
    weights = [tensor for tensor in read if tensor.constant]
    inputs = [tensor for tensor in read if not tensor.constant]
    kernel, sizes, macs = _KERNELS.get(name, _by_elements)(name, fields, inputs, weights, result)
    return Operation(
        name,
        "xnnpack",
        macs,
        sum(tensor.size_bytes for tensor in weights),
        sum(tensor.elements for tensor in weights),
        sum(tensor.size_bytes for tensor in (*inputs, *written)),
        kernel,
        sizes,
    )


_Found = tuple[str, tuple[int, ...], int]
_Kernel = Callable[[str, _Node, "list[_Tensor]", "list[_Tensor]", _Tensor], _Found]


def _type(inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> str:
    """How a product computes: `fp32`, `fp16`, `qdint8-qcint8` (inputs rounded as they come), `qint8-qcint8`, ..."""
    activations = (inputs[0] if inputs else result).dtype
    return f"{activations}-{weights[0].dtype}" if weights and weights[0].dtype.startswith("q") else activations


def _fully_connected(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    """filter: (width out, width in)."""
    width = inputs[0].dims[-1]
    out = result.dims[-1]
    rows = result.elements // out
    kind = "mean" if out == 1 else "gemm"  # one filter is no matrix
    return f"{kind} {_type(inputs, weights, result)}", (rows, width, out), rows * width * out


def _convolution(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    """filter: (filters, height, width, channels of a group)."""
    products = fields["kernel_height"] * fields["kernel_width"] * fields["group_input_channels"]
    filters = result.dims[-1]
    places = result.elements // filters
    pointwise = fields["kernel_height"] * fields["kernel_width"] * fields["subsampling_height"] * fields["groups"] == 1
    kind = "gemm" if pointwise else "conv"
    return f"{kind} {_type(inputs, weights, result)}", (places, products, filters), places * products * filters


def _depthwise(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    taps = fields["kernel_height"] * fields["kernel_width"]
    channels = result.dims[-1]
    return f"depthwise {_type(inputs, weights, result)}", (result.elements // channels, channels, taps), result.elements * taps


def _matrices(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    """(..., rows, width) by (..., width, width out)."""
    width = inputs[0].dims[-1]
    rows, out = result.dims[-2:]
    count = result.elements // (rows * out)
    return f"bmm {inputs[0].dtype}", (count, rows, width, out), result.elements * width


def _softmax(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    return f"softmax {result.dtype}", (result.elements // result.dims[-1], result.dims[-1]), 0


def _pooling(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    return f"reduce {result.dtype}", (inputs[0].elements,), 0


def _transpose(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    """One that keeps the last axis copies rows; others go through memory in steps. Axes of one do not count."""
    order = [axis for axis in fields["perm"] if inputs[0].dims[axis] > 1]
    if order == sorted(order):
        kind = "copy"
    elif order[-1] == max(order):
        kind = "rows"
    else:
        kind = "transpose"
    return f"{kind} {result.dtype}", (result.elements,), 0


def _convert(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    return f"convert {inputs[0].dtype}-{result.dtype}", (result.elements,), 0


def _by_elements(name: str, fields: _Node, inputs: list[_Tensor], weights: list[_Tensor], result: _Tensor) -> _Found:
    if name in _UNARY:
        return f"{name.lower()} {result.dtype}", (result.elements,), 0
    if name in _BINARY:
        whole = all(tensor.elements == result.elements for tensor in (*inputs, *weights))
        return f"{'binary' if whole else 'broadcast'} {result.dtype}", (result.elements,), 0
    if name in _COPIES or name.startswith("Concatenate"):
        return f"copy {result.dtype}", (result.elements,), 0
    raise NotRunnableError(f"what {name} costs is not known")


_KERNELS: dict[str, _Kernel] = {
    "AvgPooling2d": _pooling,
    "BatchMatrixMultiply": _matrices,
    "Conv2d": _convolution,
    "Convert": _convert,
    "DepthwiseConv2d": _depthwise,
    "FullyConnected": _fully_connected,
    "GlobalAvgPooling2d": _pooling,
    "MaxPooling2d": _pooling,
    "Softmax": _softmax,
    "StaticTranspose": _transpose,
}
