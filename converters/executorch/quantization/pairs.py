"""Quantize-dequantize pairs in a tower's graph, spelled as XNNPACK's partitioner reads them.

A layer computes in int8 where its input and its weight come out of a dequantization and, if ranges are known beforehand, its
result goes into a quantization. Each reader gets a dequantization of its own: XNNPACK makes it a part of the layer that reads
it, and would take one that two readers share away from the other.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from converters.executorch.passes.editor import Editor

INT8 = (-128, 127)
_EPS = float(torch.finfo(torch.float32).eps)


def operations() -> Any:
    """`torch.ops.quantized_decomposed`: PyTorch declares its operations when this module of it is imported."""
    from torch.ao.quantization.fx import _decomposed  # noqa: F401

    return torch.ops.quantized_decomposed


@dataclass(frozen=True)
class Range:
    """How an int8 tensor is read: value = scale * (stored - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Stored:
    """An integer weight: values (C_out, ...) int8, of `bits`, and scales (C_out, B) float32, one for each block of a row."""

    values: Tensor
    scales: Tensor
    bits: int

    def decoded(self) -> Tensor:
        """The weight that a layer computes with, float32."""
        blocks = self.values.reshape(*self.scales.shape, -1)
        return (blocks * self.scales[..., None]).reshape(self.values.shape)


def quantized(editor: Editor, node: fx.Node, given: Range) -> fx.Node:
    """A tensor as int8, where the editor stands."""
    arguments = (given.scale, given.zero_point, *INT8, torch.int8)
    return editor.call(operations().quantize_per_tensor.default, node, *arguments)


def dequantized(editor: Editor, node: fx.Node, given: Range) -> fx.Node:
    """An int8 tensor as float32, where the editor stands."""
    arguments = (given.scale, given.zero_point, *INT8, torch.int8)
    return editor.call(operations().dequantize_per_tensor.default, node, *arguments)


def rounded_at_run_time(editor: Editor, node: fx.Node) -> fx.Node:
    """A tensor rounded to int8 by the range that it has when it is computed."""
    ops = operations()
    chosen = editor.call(ops.choose_qparams.tensor, node, *INT8, _EPS, torch.int8)
    scale, zero_point = (editor.call(operator.getitem, chosen, index) for index in range(2))
    whole = editor.call(ops.quantize_per_tensor.tensor, node, scale, zero_point, *INT8, torch.int8)
    return editor.call(ops.dequantize_per_tensor.tensor, whole, scale, zero_point, *INT8, torch.int8)


def stored_weight(editor: Editor, stored: Stored) -> fx.Node:
    """An integer weight as float32, where the editor stands."""
    ops, highest = operations(), 2 ** (stored.bits - 1) - 1
    blocks = stored.scales.shape[1]
    scales = editor.constant(stored.scales if blocks > 1 else stored.scales[:, 0])
    zeros = editor.constant(torch.zeros(scales.meta["val"].shape, dtype=torch.int64))
    values = editor.constant(stored.values)
    bounds = (-highest - 1, highest, torch.int8)
    if blocks == 1:
        return editor.call(ops.dequantize_per_channel.default, values, scales, zeros, 0, *bounds)
    size = stored.values.shape[1] // blocks
    return editor.call(ops.dequantize_per_channel_group.default, values, scales, zeros, *bounds, size, torch.float32)
