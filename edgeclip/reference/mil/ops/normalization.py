"""Normalization layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from edgeclip.reference.mil.ops.table import Ints, Tensor, op


@op("batch_norm")
def batch_norm(
    *,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=epsilon)


@op("layer_norm")
def layer_norm(
    *,
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    dims = tuple(axis % x.dim() for axis in axes) if axes else tuple(range(x.dim()))
    if dims == tuple(range(x.dim() - len(dims), x.dim())):
        return F.layer_norm(x, x.shape[-len(dims) :], gamma, beta, epsilon)
    # Axes that are not the last ones: gamma and beta broadcast over the others.
    variance, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    out = (x - mean) * torch.rsqrt(variance + epsilon)
    shape = [size if axis in dims else 1 for axis, size in enumerate(x.shape)]
    if gamma is not None:
        out = out * gamma.reshape(shape)
    return out if beta is None else out + beta.reshape(shape)
