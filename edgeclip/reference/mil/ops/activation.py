"""Activations."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.table import Tensor, op


@op("relu")
def relu(*, x: Tensor) -> Tensor:
    return torch.relu(x)


@op("sigmoid")
def sigmoid(*, x: Tensor) -> Tensor:
    return torch.sigmoid(x)


@op("tanh")
def tanh(*, x: Tensor) -> Tensor:
    return torch.tanh(x)


@op("gelu")
def gelu(*, x: Tensor, mode: str = "EXACT") -> Tensor:
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    approximate = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}.get(mode)
    if approximate is None:
        raise BundleError(f"gelu: unknown mode {mode!r}")
    return F.gelu(x, approximate=approximate)


@op("softmax")
def softmax(*, x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, axis)
