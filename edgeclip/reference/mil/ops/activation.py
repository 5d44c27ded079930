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


@op("relu6")
def relu6(*, x: Tensor) -> Tensor:
    return x.clamp(0, 6)


@op("leaky_relu")
def leaky_relu(*, x: Tensor, alpha: float) -> Tensor:
    return torch.where(x >= 0, x, alpha * x)


@op("prelu")
def prelu(*, x: Tensor, alpha: Tensor) -> Tensor:
    """`alpha` has one slope per channel, the second axis."""
    if x.dim() < 2 or alpha.shape != (x.shape[1],):
        raise BundleError(f"prelu: slopes {list(alpha.shape)} for {list(x.shape)}")
    return torch.where(x >= 0, x, alpha.reshape(-1, *[1] * (x.dim() - 2)) * x)


@op("elu")
def elu(*, x: Tensor, alpha: float) -> Tensor:
    return torch.where(x >= 0, x, alpha * torch.expm1(x))


@op("silu")
def silu(*, x: Tensor) -> Tensor:
    return F.silu(x)


@op("sigmoid_hard")
def sigmoid_hard(*, x: Tensor, alpha: float, beta: float) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


@op("softplus")
def softplus(*, x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


@op("softsign")
def softsign(*, x: Tensor) -> Tensor:
    return x / (1 + x.abs())


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
