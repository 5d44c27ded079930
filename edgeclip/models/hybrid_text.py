"""MobileCLIP-S0's hybrid text tower ("mct"), which neither open_clip nor timm has.

A RepMixer convolution block, pre-norm transformer layers without a causal mask, and a second RepMixer block; the embedding is
the one at the end-of-text token (the highest id), projected. Source: "MobileCLIP" (arXiv 2311.17049), section 4.1, and
"FastViT" (arXiv 2303.14189) for RepMixer. Module names follow OpenCLIP and timm, so that the reparameterisation and the
checkpoint layouts read alike in both towers.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeclip.models.fusion import batch_norm_affine


class LayerScale(nn.Module):
    """A learnt factor per channel. Shapes: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, dim: int, init: float = 1e-5) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim, 1, 1), init))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def _conv_bn(dim: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(dim, dim, (1, kernel), padding=(0, kernel // 2), groups=dim, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(dim)))


class MixerBranches(nn.Module):
    """Sum of a depthwise conv+BN branch (optional) and an identity BN branch: MobileOne's block without its scale branch.

    The published text tower has no 1x1 scale branch, unlike the image tower's RepMixer.
    """

    def __init__(self, dim: int, kernel: int, with_conv: bool) -> None:
        super().__init__()
        self.conv_kxk = nn.ModuleList([_conv_bn(dim, kernel)] if with_conv else [])
        self.identity = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        out = self.identity(x)
        for branch in self.conv_kxk:
            out = out + branch(x)
        return out

    def fused(self, kernel: int) -> tuple[Tensor, Tensor]:
        """The equal depthwise kernel (C, 1, 1, K) and bias (C)."""
        scale, bias = batch_norm_affine(self.identity)
        weight = F.pad(scale.reshape(-1, 1, 1, 1), (kernel // 2, kernel // 2))
        for branch in self.conv_kxk:
            conv, bn = branch.get_submodule("conv"), branch.get_submodule("bn")
            assert isinstance(conv, nn.Conv2d)
            branch_scale, branch_bias = batch_norm_affine(bn)
            weight = weight + conv.weight * branch_scale.reshape(-1, 1, 1, 1)
            bias = bias + branch_bias
        return weight, bias


class RepMixer(nn.Module):
    """Token mixing: x + gamma * (mixer(x) - norm(x)), one depthwise convolution after `reparameterize`."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.norm = MixerBranches(dim, kernel, with_conv=False)
        self.mixer = MixerBranches(dim, kernel, with_conv=True)
        self.layer_scale = LayerScale(dim)
        self.reparam_conv: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.reparam_conv is not None:
            return self.reparam_conv(x)
        return x + self.layer_scale(self.mixer(x) - self.norm(x))

    @torch.no_grad()
    def reparameterize(self) -> None:
        """Replace the branches by the one convolution they sum to."""
        if self.reparam_conv is not None:
            return
        mixer_weight, mixer_bias = self.mixer.fused(self.kernel)
        norm_weight, norm_bias = self.norm.fused(self.kernel)
        gamma = self.layer_scale.gamma.reshape(-1)
        dim = gamma.numel()
        weight = gamma.reshape(-1, 1, 1, 1) * (mixer_weight - norm_weight)
        weight[..., self.kernel // 2] += 1.0
        conv = nn.Conv2d(dim, dim, (1, self.kernel), padding=(0, self.kernel // 2), groups=dim)
        conv.load_state_dict({"weight": weight, "bias": gamma * (mixer_bias - norm_bias)})
        self.reparam_conv = conv
        del self.mixer, self.norm, self.layer_scale


class ConvMlp(nn.Module):
    """Depthwise conv + BN, then a two-layer perceptron as 1x1 convolutions. Shapes: (N, C, 1, L) -> (N, C, 1, L)."""

    def __init__(self, dim: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.conv = _conv_bn(dim, kernel)
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(self.conv(x))))


class RepMixerBlock(nn.Module):
    """RepMixer and ConvMlp over the token axis. Shapes: (N, L, C) -> (N, L, C)."""

    def __init__(self, dim: int, kernel: int = 11, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        self.token_mixer = RepMixer(dim, kernel)
        self.mlp = ConvMlp(dim, int(dim * mlp_ratio), kernel)
        self.layer_scale = LayerScale(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2).unsqueeze(2)
        x = self.token_mixer(x)
        x = x + self.layer_scale(self.mlp(x))
        return x.squeeze(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with a packed projection. Shapes: (N, L, C) -> (N, L, C)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (part.reshape(batch, length, self.heads, dim // self.heads).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).reshape(batch, length, dim))


class TransformerBlock(nn.Module):
    """Pre-norm attention and perceptron. Shapes: (N, L, C) -> (N, L, C)."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.ln_1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.ln_2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(dim, hidden), gelu=nn.GELU(), c_proj=nn.Linear(hidden, dim)))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Blocks(nn.Module):
    """A stack of blocks under OpenCLIP's name `resblocks`."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resblocks:
            x = block(x)
        return x


class HybridTextTower(nn.Module):
    """Token ids (N, L) -> embedding (N, embed_dim), any length."""

    def __init__(
        self,
        *,
        vocab_size: int,
        context_length: int,
        width: int,
        heads: int,
        layers: int,
        embed_dim: int,
        mlp_ratio: float = 4.0,
        kernel: int = 11,
    ) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, width))
        self.transformer = Blocks(
            [
                RepMixerBlock(width, kernel),
                *(TransformerBlock(width, heads, mlp_ratio) for _ in range(layers)),
                RepMixerBlock(width, kernel),
            ]
        )
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=width**-0.5)
        nn.init.normal_(self.text_projection, std=width**-0.5)

    def forward(self, text: Tensor) -> Tensor:
        x = self.token_embedding(text) + self.positional_embedding
        x = self.ln_final(self.transformer(x))
        # The end-of-text token has the highest id of the vocabulary, so argmax finds its position.
        x = x[torch.arange(x.shape[0], device=x.device), text.argmax(dim=-1)]
        return x @ self.text_projection
