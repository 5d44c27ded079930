"""The weights of a converted program that compression is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeclip.reference.mil.package import Package
from edgeclip.reference.mil.values import DTYPES, decode, tensor_type

# The operand of each operation that is a weight matrix; masks and position tables (operands of `add`) stay as they are.
_OPERANDS: dict[str, tuple[str, ...]] = {"linear": ("weight",), "conv": ("weight",), "matmul": ("x", "y"), "gather": ("x",)}
SMALLEST = 2048  # elements; below, scales and alignment eat the gain


@dataclass(frozen=True)
class Weight:
    """One constant of the program: (C_out, C_in / groups, kh, kw) of a conv, (out, in) of a linear, (vocab, width) of a table.

    output_axis and input_axis: where its channels are, as coremltools sees them. float_bytes: of one number as it is, 4 where
    it stays in float32; scales and tables have the same type.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    output_axis: int
    input_axis: int
    values: np.ndarray
    float_bytes: int = 2

    @property
    def elements(self) -> int:
        return self.values.size

    @property
    def is_depthwise(self) -> bool:
        """A convolution in which every channel has a kernel of its own: few weights, and each channel on its own scale."""
        return self.op == "conv" and self.shape[1] == 1

    @property
    def is_token_table(self) -> bool:
        """A lookup of rows of numbers; a table of single numbers only marks some of them."""
        return self.op == "gather" and len(self.shape) == 2 and self.shape[1] > 1


def find_weights(path: Path) -> dict[str, Weight]:
    """The weight matrices of a saved package by the names of their constants, in the order of the program.

    `values` are float32: float16 weights are widened.
    """
    package = Package(path)
    function = package.model.mlProgram.functions["main"]
    constants: dict[str, Any] = {}
    found: dict[str, Weight] = {}
    for operation in function.block_specializations[function.opset].operations:
        if operation.type == "const":
            constants[operation.outputs[0].name] = operation.attributes["val"]
            continue
        for operand in _OPERANDS.get(operation.type, ()):
            for argument in operation.inputs[operand].arguments if operand in operation.inputs else ():
                value = constants.get(argument.name)
                if value is None or value.WhichOneof("value") != "blobFileValue":
                    continue
                weights = package.weights(value.blobFileValue.fileName)
                decoded = decode(value, weights, f"{path}: {argument.name}")
                assert isinstance(decoded, torch.Tensor)
                array = decoded.numpy()
                if array.size > SMALLEST and array.ndim > 1:
                    each = DTYPES[tensor_type(value.type, argument.name).dtype].size_bytes(1)
                    axes = _axes(operation, operand, constants, array.ndim)
                    found.setdefault(argument.name, Weight(argument.name, operation.type, array.shape, *axes, array, each))
    return found


def _axes(operation: Any, operand: str, constants: dict[str, Any], rank: int) -> tuple[int, int]:
    """Output and input axis, by the rules of coremltools' `select_input_output_channel_axis`."""
    if operation.type != "matmul":
        return 0, 1
    bindings = operation.inputs[f"transpose_{operand}"].arguments if f"transpose_{operand}" in operation.inputs else ()
    transposed = False
    for binding in bindings:
        value = constants[binding.name] if binding.WhichOneof("binding") == "name" else binding.value
        transposed = bool(value.immediateValue.tensor.bools.values[0])
    last, before = rank - 1, rank - 2
    return (before, last) if transposed == (operand == "y") else (last, before)
