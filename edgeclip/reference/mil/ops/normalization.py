"""Normalization layers."""

from __future__ import annotations

import torch.nn.functional as F

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
