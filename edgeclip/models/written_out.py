"""Functions that converters take for others, written out in operations that they cannot mistake.

GELU by tanh: coremltools 9.0 (`gelu` of its torch frontend, on programs of `torch.export`) and ExecuTorch 1.4's XNNPACK
(`op_gelu.py`) drop the argument `approximate` and compute the exact GELU, up to 5e-4 away from it for one activation. This can
go once both heed it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class TanhGelu(nn.Module):
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). Shapes: any.

    Source: "Gaussian Error Linear Units" (arXiv 1606.08415), section 2. coremltools makes one `gelu` of it, in the right mode
    (pass `fuse_gelu_tanh_approximation`).
    """

    def forward(self, x: Tensor) -> Tensor:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3))
        return 0.5 * x * (1 + torch.tanh(inner))


def _is_tanh_gelu(module: nn.Module) -> bool:
    return (isinstance(module, nn.GELU) and module.approximate == "tanh") or type(module).__name__ == "GELUTanh"  # timm's


def write_out(module: nn.Module) -> None:
    """Replace every GELU by tanh below a module, in place."""
    for name, child in module.named_children():
        if _is_tanh_gelu(child):
            setattr(module, name, TanhGelu())
        else:
            write_out(child)


def check_written_out(program: Any) -> None:
    """No exported program has one left, such as of a function that is called without a module."""
    gelu = torch.ops.aten.gelu.default
    left = [node for node in program.graph.nodes if node.target is gelu and node.kwargs.get("approximate") == "tanh"]
    assert not left, f"{left}: a GELU by tanh that converters would take for the exact one"
