"""The table of module kinds and their rewrites, and the walk that applies it.

A kind is a class, named by module and qualified name, so that no row imports the library that has it. Classes are matched
exactly: a subclass may compute something else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from edgeclip.errors import ConversionError
from edgeclip.registry import Registry

# Takes a module it may take apart, gives one that works on (N, C, H, W), with tokens as (N, C, 1, L).
Rewrite = Callable[[Any], nn.Module]
F = TypeVar("F", bound=Rewrite)

REWRITES: Registry[Rewrite] = Registry("layout rewrite")

# Kinds that already work on (N, C, H, W): convolutions, factors by channel, and functions of single numbers.
FITTING = frozenset(
    {
        "edgeclip.models.hybrid_text.LayerScale",
        "edgeclip.models.written_out.TanhGelu",
        "open_clip.transformer.QuickGELU",
        "timm.layers.activations.Sigmoid",
        "timm.models.fastvit.LayerScale2d",
        "torch.nn.modules.activation.GELU",
        "torch.nn.modules.activation.ReLU",
        "torch.nn.modules.activation.SiLU",
        "torch.nn.modules.activation.Sigmoid",
        "torch.nn.modules.batchnorm.BatchNorm2d",
        "torch.nn.modules.conv.Conv2d",
        "torch.nn.modules.dropout.Dropout",
        "torch.nn.modules.linear.Identity",
        "torch.nn.modules.pooling.AvgPool2d",
    }
)
# Kinds that fit if their children do: what they do besides is sums, products and means over H and W.
HOLDING = frozenset(
    {
        "edgeclip.models.hybrid_text.ConvMlp",
        "edgeclip.models.hybrid_text.MixerBranches",
        "edgeclip.models.hybrid_text.RepMixer",
        "open_clip.modified_resnet.Bottleneck",
        "open_clip.modified_resnet.ModifiedResNet",
        "open_clip.timm_model.TimmModel",
        "timm.layers.conv_bn_act.ConvNormAct",
        "timm.layers.squeeze_excite.SEModule",
        "timm.models.fastvit.ConvMlp",
        "timm.models.fastvit.FastVit",
        "timm.models.fastvit.FastVitStage",
        "timm.models.fastvit.MobileOneBlock",
        "timm.models.fastvit.PatchEmbed",
        "timm.models.fastvit.RepConditionalPosEnc",
        "timm.models.fastvit.RepMixer",
        "timm.models.fastvit.RepMixerBlock",
        "timm.models.fastvit.ReparamLargeKernelConv",
        "timm.models.vision_transformer_hybrid.ConvStem",
        "torch.nn.modules.container.ModuleList",
        "torch.nn.modules.container.Sequential",
    }
)


class RefusedError(ConversionError):
    """A module that cannot be rewritten; `for_neural_engine` adds where it is."""

    def __init__(self, module: nn.Module, reason: str) -> None:
        super().__init__(f"{type(module).__name__}: {reason}")
        self.module = module
        self.reason = reason


def kind(module: nn.Module) -> str:
    """`torch.nn.modules.linear.Linear`."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def rewrites(*kinds: str) -> Callable[[F], F]:
    """Register a function as the rewrite of these kinds."""

    def register(function: F) -> F:
        for name in kinds:
            REWRITES.add(name, function)
        return function

    return register


def rewritten(module: nn.Module) -> nn.Module:
    """The module in the new layout: by its row, as it is, or child by child, in place, where it only holds others.

    Raises RefusedError for any other module: without weights too it may be bound to an axis, as a softmax is.
    """
    name = kind(module)
    if name in REWRITES:
        return REWRITES[name](module)
    if name in FITTING:
        return module
    if name not in HOLDING:
        raise RefusedError(module, "has no rewrite")
    for child_name, child in module.named_children():
        module.add_module(child_name, rewritten(child))
    return module


def require(module: nn.Module, holds: bool, what: str) -> None:
    """Refuse a variant of a known kind that its rewrite does not cover."""
    if not holds:
        raise RefusedError(module, f"{what} has no rewrite")
