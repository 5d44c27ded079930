"""Fusing for inference: branches, batch normalisations and projections that sum up to fewer layers, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


@torch.no_grad()
def fuse(module: nn.Module) -> None:
    """Fuse a module in eval mode, in place: one rule after the other, each on children before their parents."""
    for rule in _RULES:
        _apply(rule, module)


def _apply(rule: Callable[[nn.Module], None], module: nn.Module) -> None:
    for child in module.children():
        _apply(rule, child)
    rule(module)


def _branches(module: nn.Module) -> None:
    """Reparameterisable blocks, which mark themselves by a method: `reparameterize` (ours, timm's) or `fuse` (timm's)."""
    for method in ("reparameterize", "fuse"):
        if callable(getattr(module, method, None)):
            getattr(module, method)()
            return


def _conv_then_norm(module: nn.Module) -> None:
    """Convolution, BatchNorm and perhaps an activation, named as timm's `ConvNormAct` names them."""
    conv, bn = getattr(module, "conv", None), getattr(module, "bn", None)
    if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
        module.conv = fuse_conv_bn_eval(conv, bn)
        module.bn = getattr(bn, "act", nn.Identity())  # timm's BatchNormAct2d ends in its activation


def _numbered_conv_then_norm(module: nn.Module) -> None:
    """open_clip's `ModifiedResNet`, which numbers them: `conv1` and `bn1`, and so on; `downsample.{0,1}`."""
    if type(module).__module__ != "open_clip.modified_resnet":
        return
    for holder, conv, bn in (*((module, f"conv{n}", f"bn{n}") for n in (1, 2, 3)), (_child(module, "downsample"), "0", "1")):
        if isinstance(_child(holder, conv), nn.Conv2d) and isinstance(_child(holder, bn), nn.BatchNorm2d):
            holder.add_module(conv, fuse_conv_bn_eval(_child(holder, conv), _child(holder, bn)))
            holder.add_module(bn, nn.Identity())


def _child(module: Any, name: str) -> Any:
    return dict(module.named_children()).get(name) if isinstance(module, nn.Module) else None


def _norm_then_attention(module: nn.Module) -> None:
    """BatchNorm in front of self-attention (timm's FastViT), moved into the projection: W (s x + t) = (W s) x + W t."""
    norm, attention = getattr(module, "norm", None), getattr(module, "token_mixer", None)
    qkv = getattr(attention, "qkv", None)
    if attention is None or not isinstance(norm, nn.BatchNorm2d) or not isinstance(qkv, nn.Linear):
        return
    scale, shift = batch_norm_affine(norm)
    fused = nn.Linear(qkv.in_features, qkv.out_features, dtype=qkv.weight.dtype)
    bias = qkv.weight @ shift if qkv.bias is None else qkv.bias + qkv.weight @ shift
    fused.load_state_dict({"weight": qkv.weight * scale, "bias": bias})
    attention.qkv = fused
    module.norm = nn.Identity()


# Branches first: they hold convolutions with norms of their own.
_RULES: tuple[Callable[[nn.Module], None], ...] = (_branches, _conv_then_norm, _numbered_conv_then_norm, _norm_then_attention)


def batch_norm_affine(bn: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """BatchNorm in inference as x * scale + shift: scale = gamma / sqrt(var + eps), shift = beta - mean * scale."""
    assert isinstance(bn, nn.BatchNorm2d)
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return scale, bn.bias - bn.running_mean * scale
