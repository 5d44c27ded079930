"""Quantization before lowering (PT2E): one handler per scheme."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram


def _dynamic_int8(program: ExportedProgram, example: tuple[Tensor, ...]) -> ExportedProgram:
    """int8 weights, one scale per output channel; each product's input is quantized to int8 as it runs.

    Covers linear layers and ungrouped convolutions, which hold nearly all weights of the towers; XNNPACK has no
    dynamically quantized kernels for depthwise and grouped convolutions. The token table stays in float.
    """
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer()
    quantizer.set_global(get_symmetric_quantization_config(is_per_channel=True, is_dynamic=True))
    quantizer.set_filter_function(_is_quantizable)
    module = prepare_pt2e(program.module(check_guards=False), quantizer)
    module(*example)
    return torch.export.export(convert_pt2e(module), example, strict=False)


_CONV2D_GROUPS = 6  # position of `groups` in aten.conv2d's arguments


def _is_quantizable(node: Any) -> bool:
    if node.target == torch.ops.aten.conv2d.default:
        return len(node.args) <= _CONV2D_GROUPS or node.args[_CONV2D_GROUPS] == 1
    return True


_HANDLERS: dict[str, Callable[[ExportedProgram, tuple[Tensor, ...]], ExportedProgram]] = {"w8": _dynamic_int8}


def quantize(program: ExportedProgram, example: tuple[Tensor, ...], scheme: str) -> ExportedProgram:
    """Apply a scheme; float schemes leave the program as it is."""
    handler = _HANDLERS.get(scheme)
    return program if handler is None else handler(program, example)
