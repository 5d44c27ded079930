"""TinyCLIP's learned masks ("gates") and what its pruning leaves, as plain tensors of the shape that is left.

While auto inheritance trains, an encoder has, beside tensors of the full shape, `l0_module.{hidden,heads,intermediate}_loga`.
In evaluation each gives a factor per channel of the stream, head of a layer and hidden unit of a layer,

    z = sigmoid(0.8 loga / (2/3)), its n smallest set to 0, n = round(sum of sigmoid((2/3) log(1/11) - loga))

and the stream, from the embeddings on, is multiplied by that of its channels, heads and units by theirs; norms see the channels
that are left. All of it is linear where it acts, so it goes into the weights, and what is 0 is left out.
Source: TinyCLIP/src/open_clip/l0module.py and model.py of microsoft/Cream. Its `prune` differs where gates are not 0 or 1: it
multiplies the last projection too, and drops the output bias of an attention without heads.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

_STEEPNESS = 0.8 * 3 / 2  # `magical_number` / `temperature`
_LOGIT_OF_ZERO = math.log(1 / 11) * 2 / 3  # where the stretched distribution, on [-0.1, 1.1], reaches 0
_GATES = ("hidden_loga", "heads_loga", "intermediate_loga")
_MULTIPLIERS = ("lambda_1", "lambda_2")  # of the penalty that training adds


def plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in TinyCLIP's names without gates, without parts that are empty, and without norms that only those would read.

    Raises ValueError, naming the tensor, where gates do not fit what they act on.
    """
    folded = dict(tensors)
    for encoder in ("_image_encoder.", "_text_encoder."):
        if f"{encoder}l0_module.{_GATES[0]}" in folded:
            folded = _folded(folded, encoder)
    left = {key: value for key, value in folded.items() if value.numel()}
    return {key: value for key, value in left.items() if not _unread(key, left)}


def _unread(key: str, tensors: dict[str, Tensor]) -> bool:
    norm = re.fullmatch(r"(.*\.resblocks\.\d+\.)ln_([12])\.(weight|bias)", key)
    return norm is not None and norm[1] + {"1": "attn.in_proj_weight", "2": "mlp.c_fc.weight"}[norm[2]] not in tensors


def gate(loga: Tensor) -> Tensor:
    """The factors of one group, (size) -> (size) float32."""
    loga = loga.float()
    factors = torch.sigmoid(_STEEPNESS * loga)
    zeros = round(float(torch.sigmoid(_LOGIT_OF_ZERO - loga).clamp(1e-6, 1 - 1e-6).sum()))
    factors[torch.topk(factors, zeros, largest=False).indices] = 0.0
    return factors


@dataclass(frozen=True)
class _Axis:
    """One axis of a tensor that gates act on; whether their values multiply it, or only choose."""

    factors: Tensor
    axis: int
    multiply: bool = True


def _folded(tensors: dict[str, Tensor], encoder: str) -> dict[str, Tensor]:
    """All tensors, those of one encoder without their gates."""
    own = {key: value for key, value in tensors.items() if key.startswith(encoder)}
    gates = [own.pop(f"{encoder}l0_module.{name}", None) for name in _GATES]
    if any(values is None for values in gates):
        raise ValueError(f"{encoder}l0_module lacks one of {', '.join(_GATES)}")
    for name in _MULTIPLIERS:
        own.pop(f"{encoder}l0_module.{name}", None)
    hidden, heads, units = (values for values in gates if values is not None)
    if hidden.dim() != 1 or heads.dim() != 2 or units.dim() != 2 or not heads.shape[1]:
        raise ValueError(f"{encoder}l0_module: gates of {hidden.dim()}, {heads.dim()} and {units.dim()} axes, not 1, 2 and 2")
    channels = gate(hidden)
    result = {key: value for key, value in tensors.items() if not key.startswith(encoder)}
    for key, value in own.items():
        result[key] = _chosen(key, value, _axes(key.removeprefix(encoder), channels, heads, units))
    return result


# What gates of the stream's channels do to tensors outside the blocks: axis, and whether values multiply.
_OUTSIDE = {
    "visual.conv1.weight": (0, True),
    "visual.class_embedding": (0, True),
    "visual.positional_embedding": (1, True),
    "visual.proj": (0, False),
    "token_embedding.weight": (1, True),
    "positional_embedding": (1, True),
    "text_projection": (0, False),
    **{f"{norm}.{kind}": (0, False) for norm in ("visual.ln_pre", "visual.ln_post", "ln_final") for kind in ("weight", "bias")},
}


def _axes(name: str, channels: Tensor, heads: Tensor, units: Tensor) -> tuple[_Axis, ...]:
    """The axes of an encoder's tensor that gates act on."""
    if name in _OUTSIDE:
        return (_Axis(channels, *_OUTSIDE[name]),)
    block = re.fullmatch(r"(?:visual\.)?transformer\.resblocks\.(\d+)\.(.+)", name)
    if block is None or int(block[1]) >= len(heads) or int(block[1]) >= len(units):
        return ()
    of_head, unit = gate(heads[int(block[1])]), gate(units[int(block[1])])
    each = of_head.repeat_interleave(max(len(channels) // len(of_head), 1))  # of each of a head's elements
    reads, writes = _Axis(channels, 1, multiply=False), _Axis(channels, 0)
    packed = _Axis(each.repeat(3), 0, multiply=False)
    in_block = {
        "attn.in_proj_weight": (packed, reads),
        "attn.in_proj_bias": (packed,),
        "attn.out_proj.weight": (writes, _Axis(each, 1)),
        "attn.out_proj.bias": (writes,),
        "mlp.c_fc.weight": (_Axis(unit, 0, multiply=False), reads),
        "mlp.c_fc.bias": (_Axis(unit, 0, multiply=False),),
        "mlp.c_proj.weight": (writes, _Axis(unit, 1)),
        "mlp.c_proj.bias": (writes,),
        **{f"ln_{number}.{kind}": (_Axis(channels, 0, multiply=False),) for number in (1, 2) for kind in ("weight", "bias")},
    }
    return in_block.get(block[2], ())


def _chosen(key: str, value: Tensor, axes: tuple[_Axis, ...]) -> Tensor:
    for acting in axes:
        if value.dim() <= acting.axis or value.shape[acting.axis] != len(acting.factors):
            raise ValueError(
                f"tensor {key!r} is {list(value.shape)}, but its gates are {len(acting.factors)} on axis {acting.axis}"
            )
        kept = acting.factors.nonzero().flatten()
        value = value.index_select(acting.axis, kept)
        if acting.multiply:
            shape = [-1 if axis == acting.axis else 1 for axis in range(value.dim())]
            value = value.float() * acting.factors[kept].reshape(shape)
    return value
