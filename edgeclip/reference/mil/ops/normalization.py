"""Normalization layers."""

from __future__ import annotations

import torch.nn.functional as F

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops.axes import places
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
    rank = x.dim()
    dims = tuple(range(rank)) if axes is None else tuple(sorted(places("layer_norm", axes, rank)))
    sizes = [x.shape[dim] for dim in dims]
    others = [dim for dim in range(rank) if dim not in dims]
    if dims == tuple(range(rank - len(dims), rank)):
        return F.layer_norm(x, sizes, gamma, beta, epsilon)
    order = [*others, *dims]  # torch normalises the last axes only
    out = F.layer_norm(x.permute(order), sizes, gamma, beta, epsilon)
    return out.permute([order.index(dim) for dim in range(rank)])


@op("instance_norm")
def instance_norm(*, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    """Each channel of each row of (N, C, *spatial) on its own."""
    if x.dim() < 3:
        raise BundleError(f"instance_norm: a tensor of rank {x.dim()}")
    sizes = list(x.shape[2:])
    out = F.layer_norm(x, sizes, eps=epsilon)
    channels = (-1, *[1] * len(sizes))
    out = out if gamma is None else out * gamma.reshape(channels)
    return out if beta is None else out + beta.reshape(channels)


@op("l2_norm")
def l2_norm(*, x: Tensor, epsilon: float = 1e-6) -> Tensor:
    """The last three axes together divided by the root of their sum of squares and `epsilon`."""
    if x.dim() < 3:
        raise BundleError(f"l2_norm: a tensor of rank {x.dim()}")
    return x / ((x * x).sum((-3, -2, -1), keepdim=True) + epsilon).sqrt()
