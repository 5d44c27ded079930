"""Transformer blocks that keep tokens in (N, C, 1, L).

Given:  x + ls_1(attn(ln_1(x))), then x + ls_2(mlp(ln_2(x))), x: (N, L, C), and RepMixer blocks between transposes
Result: the same sums in (N, C, 1, L): attention split by heads, linear layers as 1x1 convolutions, norms over axis 1, and
        no transpose between blocks.

Identity: that of the parts; residual sums do not depend on the layout. A factor per channel behind a 1x1 convolution is left
where it is: coremltools folds it (pass `fuse_conv_scale`).
Why: a transpose on the Neural Engine is a copy through memory.
Source: "Deploying Transformers on the Apple Neural Engine", principles 1 and 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from converters.layout.attention import SplitAttention, from_packed, from_torch
from converters.layout.kinds import require, rewrites, rewritten
from converters.layout.layer_norm import norm_into
from converters.layout.pointwise import pointwise_linear


class TokenBlock(nn.Module):
    """Pre-norm attention and perceptron. Shapes: (N, C, 1, L), mask (1, L, 1, L) or None -> (N, C, 1, L)."""

    def __init__(
        self, ln_1: nn.Module, attn: SplitAttention, ln_2: nn.Module, mlp: nn.Module, ls_1: nn.Module, ls_2: nn.Module
    ) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ls_1 = ln_1, attn, ls_1
        self.ln_2, self.mlp, self.ls_2 = ln_2, mlp, ls_2

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = x + self.ls_1(self.attn(self.ln_1(x), mask))
        return x + self.ls_2(self.mlp(self.ln_2(x)))


class TokenBlocks(nn.Module):
    """Blocks one after the other, under OpenCLIP's name. Shapes: (N, C, 1, L), mask (1, L, 1, L) or None -> (N, C, 1, L)."""

    def __init__(self, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList([rewritten(block) for block in blocks])

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Residuals(nn.Module):
    """What is left of a pruned block, each added to what it sees. Shapes: (N, C, 1, L), mask (1, L, 1, L) -> (N, C, 1, L)."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for branch in self.branches:
            x = x + branch(x, mask)
        return x


class AttentionBranch(nn.Module):
    """Norm and attention. Shapes: (N, C, 1, L), mask (1, L, 1, L) or None -> (N, C, 1, L)."""

    def __init__(self, norm: nn.Module, attn: SplitAttention) -> None:
        super().__init__()
        self.norm, self.attn = norm, attn

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.attn(self.norm(x), mask)


class PerceptronBranch(nn.Module):
    """Norm and perceptron, which has no use for a mask. Shapes: (N, C, 1, L) -> (N, C, 1, L)."""

    def __init__(self, norm: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm, self.mlp = norm, mlp

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.mlp(self.norm(x))


class ConstantBranch(nn.Module):
    """A constant per channel. Shapes: (N, C, 1, L) -> (1, C, 1, 1)."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value.detach().reshape(1, -1, 1, 1).clone())

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.value


class MixerBlock(nn.Module):
    """RepMixer and convolutional perceptron. Shapes: (N, C, 1, L) -> (N, C, 1, L); it has no use for a mask."""

    def __init__(self, token_mixer: nn.Module, mlp: nn.Module, layer_scale: nn.Module) -> None:
        super().__init__()
        self.token_mixer, self.mlp, self.layer_scale = token_mixer, mlp, layer_scale

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.token_mixer(x)
        return x + self.layer_scale(self.mlp(x))


class ChannelScale(nn.Module):
    """A factor per channel. Shapes: (N, C, H, W) -> (N, C, H, W)."""

    gamma: Tensor

    def __init__(self, gamma: Tensor) -> None:
        super().__init__()
        self.register_buffer("gamma", gamma.detach().reshape(1, -1, 1, 1).clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


@rewrites("open_clip.transformer.ResidualAttentionBlock")
def open_clip_block(block: Any) -> nn.Module:
    require(block, not hasattr(block, "ln_1_kv"), "cross-attention")
    return _token_block(block, from_torch(block.attn), block.ls_1, block.ls_2)


@rewrites("edgeclip.models.hybrid_text.TransformerBlock")
def hybrid_block(block: Any) -> nn.Module:
    return _token_block(block, from_packed(block.attn, block.attn.heads), nn.Identity(), nn.Identity())


@rewrites("edgeclip.models.pruned_blocks.PrunedBlock")
def pruned_block(block: Any) -> nn.Module:
    parts = dict(block.named_children())
    branches: list[nn.Module] = []
    if "ln_1" in parts:
        attn = from_packed(block.attn, block.attn.heads)
        branches.append(AttentionBranch(norm_into(block.ln_1, *attn.inputs), attn))
    elif "attn" in parts:
        branches.append(ConstantBranch(block.attn.out_proj.bias))
    if "ln_2" in parts:
        mlp = _perceptron(block.mlp)
        branches.append(PerceptronBranch(norm_into(block.ln_2, mlp[0]), mlp))
    elif "mlp" in parts:
        branches.append(ConstantBranch(block.mlp.c_proj.bias))
    return Residuals(*branches)


@rewrites("edgeclip.models.hybrid_text.RepMixerBlock")
def mixer_block(block: Any) -> nn.Module:
    return MixerBlock(rewritten(block.token_mixer), rewritten(block.mlp), block.layer_scale)


@rewrites("open_clip.transformer.LayerScale")
def layer_scale(scale: Any) -> nn.Module:
    return ChannelScale(scale.gamma)


def _token_block(block: Any, attn: SplitAttention, ls_1: nn.Module, ls_2: nn.Module) -> TokenBlock:
    mlp = _perceptron(block.mlp)
    ln_1 = norm_into(block.ln_1, *attn.inputs)
    return TokenBlock(ln_1, attn, norm_into(block.ln_2, mlp[0]), mlp, rewritten(ls_1), rewritten(ls_2))


def _perceptron(mlp: Any) -> Any:
    """The perceptron on maps, in place."""
    for name, layer in mlp.named_children():
        mlp.add_module(name, pointwise_linear(layer) if isinstance(layer, nn.Linear) else rewritten(layer))
    return mlp
