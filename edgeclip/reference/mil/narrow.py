"""Sums as a unit without wide accumulators might do them: what mode `ane` runs in place of the ordinary operations.

The products of PRODUCTS neighbours are summed in float32, as inside a tree of adders; the running total over such chunks is
rounded to float16 after every addition. Each function gets operands that float16 holds, and its results are rounded again by
the interpreter. An operation that is several (attention, a norm) rounds between its parts too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import starmap
from typing import Any, TypeVar

import torch
from torch import Tensor

from edgeclip.errors import BundleError
from edgeclip.reference.mil.ops import activation, convolution, linear, normalization, pooling, reduction
from edgeclip.reference.mil.ops.axes import places
from edgeclip.reference.mil.ops.table import Ints
from edgeclip.reference.mil.precision import rounded

PRODUCTS = 32
_MOST_CHUNKS = 4096  # of one sum; longer sums get longer chunks, as time is not to depend on sizes alone
Function = TypeVar("Function", bound=Callable[..., Any])
_NARROW: dict[Callable[..., Any], Callable[..., Any]] = {}


def narrow(function: Callable[..., Any]) -> Callable[..., Any]:
    """What mode `ane` runs for an operation's function: one of those below, or the function itself, which sums nothing."""
    return _NARROW.get(function, function)


def _for(ordinary: Callable[..., Any]) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        _NARROW[ordinary] = function
        return function

    return register


def _chunks(count: int, unit: int = 1) -> list[slice]:
    """Parts of `count` terms that are `unit` products each, PRODUCTS together or one term."""
    size = max(1, PRODUCTS // unit, -(-count // _MOST_CHUNKS))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _total(parts: Iterable[Tensor]) -> Tensor:
    """The sum of float32 parts, the running total kept in float16."""
    total: Tensor | None = None
    for part in parts:
        total = rounded(part) if total is None else rounded(total + rounded(part))
    if total is None:
        raise BundleError("a sum of nothing")
    return total


# --- products -----------------------------------------------------------------------------------------------------------------


def _product(left: Tensor, right: Tensor) -> Tensor:
    """(..., m, k) @ (..., k, n), or with vectors as `torch.matmul` has them."""
    axis = -2 if right.dim() > 1 else -1
    size = left.shape[-1]
    if size != right.shape[axis]:
        raise BundleError(f"{list(left.shape)} times {list(right.shape)}")
    parts = (
        (left.narrow(-1, part.start, part.stop - part.start), right.narrow(axis, part.start, part.stop - part.start))
        for part in _chunks(size)
    )
    return _total(starmap(torch.matmul, parts))


@_for(linear.linear)
def _linear(*, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    out = _product(x, weight.T)
    return out if bias is None else out + bias


@_for(linear.matmul)
def _matmul(*, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    return _product(x.transpose(-1, -2) if transpose_x else x, y.transpose(-1, -2) if transpose_y else y)


@_for(linear.scaled_dot_product_attention)
def _attention(*, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
    scores = _product(rounded(query * query.shape[-1] ** -0.5), key.transpose(-1, -2))
    if attn_mask is not None:
        hidden = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if hidden else rounded(scores + attn_mask)
    return _product(rounded(_softmax(x=scores)), value)


@_for(linear.einsum)
def _einsum(*, values: tuple[Tensor, ...], equation: str) -> Tensor:
    linear.einsum(values=tuple(value.to("meta") for value in values), equation=equation)  # which says what is wrong
    left, right = (value.movedim(-2, 0) for value in values)  # rows by columns, all other axes in front
    return _product(left, right).movedim(0, -2)


# --- sums over axes -----------------------------------------------------------------------------------------------------------


def _sum(x: Tensor, axes: Ints, keep_dims: bool = True) -> Tensor:
    """Over all of `axes` at once, in row-major order."""
    axes = tuple(sorted(places("reduction", axes, x.dim())))
    kept = [axis for axis in range(x.dim()) if axis not in axes]
    rows = x.permute(*kept, *axes).reshape(*(x.shape[axis] for axis in kept), -1)
    total = _total(rows[..., chunk].sum(-1) for chunk in _chunks(rows.shape[-1]))
    return total.reshape([1 if axis in axes else size for axis, size in enumerate(x.shape)]) if keep_dims else total


def _mean(x: Tensor, axes: Ints, keep_dims: bool = True) -> Tensor:
    count = 1
    for axis in axes:
        count *= x.shape[axis]
    return rounded(_sum(x, axes, keep_dims) / count)


@_for(reduction.reduce_sum)
def _reduce_sum(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    if not x.is_floating_point():
        return reduction.reduce_sum(x=x, axes=axes, keep_dims=keep_dims)
    return _sum(x, reduction.all_axes(x, axes), keep_dims)


@_for(reduction.reduce_mean)
def _reduce_mean(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return _mean(x, reduction.all_axes(x, axes), keep_dims)


@_for(reduction.reduce_l2_norm)
def _reduce_l2_norm(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return _sum(x * x, reduction.all_axes(x, axes), keep_dims).sqrt()


@_for(reduction.reduce_sum_square)
def _reduce_sum_square(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return _reduce_sum(x=x * x, axes=axes, keep_dims=keep_dims)


@_for(reduction.reduce_l1_norm)
def _reduce_l1_norm(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return _reduce_sum(x=x.abs(), axes=axes, keep_dims=keep_dims)


@_for(reduction.reduce_log_sum)
def _reduce_log_sum(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    return torch.log(_reduce_sum(x=x, axes=axes, keep_dims=keep_dims))


@_for(reduction.reduce_log_sum_exp)
def _reduce_log_sum_exp(*, x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    dims = reduction.all_axes(x, axes)
    largest = x.amax(dims, keepdim=True)
    total = torch.log(_sum(rounded(torch.exp(rounded(x - largest))), dims)) + largest
    return total if keep_dims else total.amax(dims)


@_for(reduction.cumsum)
def _cumsum(*, x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """The running total is rounded once per chunk, as in a sum; the places inside it are the total and float32 sums."""
    if not x.is_floating_point() or not x.numel():
        return reduction.cumsum(x=x, axis=axis, exclusive=exclusive, reverse=reverse)
    (place,) = places("cumsum", (axis,), x.dim())
    x = x.flip(place) if reverse else x
    total, parts = torch.zeros_like(x.narrow(place, 0, 1)), []
    for chunk in _chunks(x.shape[place]):
        part = x.narrow(place, chunk.start, chunk.stop - chunk.start)
        sums = total + part.cumsum(place)
        parts.append(torch.cat([total, sums.narrow(place, 0, part.shape[place] - 1)], place) if exclusive else sums)
        total = rounded(sums.narrow(place, part.shape[place] - 1, 1))
    out = torch.cat(parts, place)
    return out.flip(place) if reverse else out


@_for(activation.softmax)
def _softmax(*, x: Tensor, axis: int = -1) -> Tensor:
    shares = rounded(torch.exp(rounded(x - x.amax(axis, keepdim=True))))
    return shares / _sum(shares, (axis,))


# --- windows ------------------------------------------------------------------------------------------------------------------


def _split(weight: Tensor) -> list[tuple[slice, Tensor]]:
    """A kernel (O, I, *window) in parts of PRODUCTS weights per output: channels, and their kernel, zero outside the part."""
    window = weight[0, 0].numel()
    if window <= PRODUCTS:
        return [(chunk, weight[:, chunk]) for chunk in _chunks(weight.shape[1], window)]
    parts = []
    for channel in range(weight.shape[1]):
        kernel = weight[:, channel].flatten(1)
        for chunk in _chunks(window):
            part = torch.zeros_like(kernel)
            part[:, chunk] = kernel[:, chunk]
            parts.append((slice(channel, channel + 1), part.reshape(len(weight), 1, *weight.shape[2:])))
    return parts


@_for(convolution.conv)
def _conv(*, x: Tensor, weight: Tensor, groups: int = 1, bias: Tensor | None = None, **window: Any) -> Tensor:
    if groups < 1 or x.shape[1] != groups * weight.shape[1] or weight.dim() < 3 or not weight.numel():
        return convolution.conv(x=x, weight=weight, groups=groups, bias=bias, **window)  # which says what is wrong
    grouped = x.unflatten(1, (groups, -1))
    parts = (
        convolution.conv(x=grouped[:, :, channels].flatten(1, 2), weight=part, groups=groups, **window)
        for channels, part in _split(weight)
    )
    out = _total(parts)
    return out if bias is None else out + bias.reshape(1, -1, *[1] * (x.dim() - 2))


@_for(pooling.avg_pool)
def _avg_pool(*, x: Tensor, **window: Any) -> Tensor:
    return pooling.averages(x, _window_sums, **window)


def _window_sums(x: Tensor, kernel: Ints, strides: Ints) -> Tensor:
    """(N, C, *spatial) -> the sums of its windows, (N, C, *outputs)."""
    rows = x.flatten(0, 1)[:, None]
    return _conv(x=rows, weight=torch.ones(1, 1, *kernel, device=x.device), strides=strides).unflatten(0, x.shape[:2])[:, :, 0]


# --- norms --------------------------------------------------------------------------------------------------------------------


@_for(normalization.batch_norm)
def _batch_norm(
    *,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    factor = rounded(torch.rsqrt(rounded(variance + epsilon)))
    factor = factor if gamma is None else rounded(factor * gamma)
    shift = rounded(-mean * factor)
    shift = shift if beta is None else rounded(shift + beta)
    channels = (1, -1, *[1] * (x.dim() - 2))
    return rounded(x * factor.reshape(channels)) + shift.reshape(channels)


@_for(normalization.layer_norm)
def _layer_norm(
    *,
    x: Tensor,
    axes: Ints | None = None,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    dims = tuple(range(x.dim())) if axes is None else tuple(sorted(places("layer_norm", axes, x.dim())))
    centred = rounded(x - _mean(x, dims))
    out = rounded(centred * rounded(torch.rsqrt(rounded(_mean(centred * centred, dims) + epsilon))))
    sizes = [size if axis in dims else 1 for axis, size in enumerate(x.shape)]
    out = out if gamma is None else rounded(out * gamma.reshape(sizes))
    return out if beta is None else out + beta.reshape(sizes)


@_for(normalization.instance_norm)
def _instance_norm(*, x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, epsilon: float = 1e-5) -> Tensor:
    out = rounded(_layer_norm(x=x, axes=tuple(range(2, x.dim())), epsilon=epsilon))
    channels = (-1, *[1] * (x.dim() - 2))
    out = out if gamma is None else rounded(out * gamma.reshape(channels))
    return out if beta is None else out + beta.reshape(channels)


@_for(normalization.l2_norm)
def _l2_norm(*, x: Tensor, epsilon: float = 1e-6) -> Tensor:
    return x / rounded((_sum(rounded(x * x), (-3, -2, -1)) + epsilon).sqrt())
