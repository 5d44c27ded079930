"""MobileCLIP-S0 in the module tree of Apple's checkpoints: a second implementation, from papers and tensor names.

FastViT (arXiv 2303.14189) of MobileOne blocks (arXiv 2206.04040) and large-kernel downsampling (arXiv 2203.06717) for pictures;
RepMixer blocks around a transformer (MobileCLIP, arXiv 2311.17049) for texts. Inference only, branches unfused. It shares
nothing with timm's FastViT or with edgeclip's text tower, so what those make of a file can be compared with what this does.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY = 49408
CONTEXT_LENGTH = 77
HEAD_WIDTH = 32  # of the image tower's attention
TEXT_KERNEL = (1, 11)
STAGES = "RRRA"  # three stages of RepMixer blocks, one of attention blocks


def conv_bn(inputs, outputs, kernel, stride=1, groups=1):
    """A convolution that keeps the size (at stride 1), then BatchNorm."""
    padding = tuple(side // 2 for side in kernel)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs)))


class SqueezeExcite(nn.Module):
    """Scale channels by what their means say. The tree has two of these, with different layer names and widths."""

    def __init__(self, width, inner, names):
        super().__init__()
        self.names = names
        self.add_module(names[0], nn.Conv2d(width, inner, 1))
        self.add_module(names[1], nn.Conv2d(inner, width, 1))

    def forward(self, x):
        first, second = (getattr(self, name) for name in self.names)
        return x * torch.sigmoid(second(F.relu(first(x.mean((2, 3), keepdim=True)))))


class MobileOne(nn.Module):
    """The sum of an identity, a 1x1 and a KxK branch, each with its BatchNorm."""

    def __init__(self, inputs, outputs, kernel, stride=1, groups=1, conv=True, scale=True, squeeze=False, act=True):
        super().__init__()
        if inputs == outputs and stride == 1:
            self.rbr_skip = nn.BatchNorm2d(inputs)
        if conv:
            self.rbr_conv = nn.ModuleList([conv_bn(inputs, outputs, kernel, stride, groups)])
        if scale and kernel[0] > 1:
            self.rbr_scale = conv_bn(inputs, outputs, (1, 1), stride, groups)
        if squeeze:
            self.se = SqueezeExcite(outputs, outputs // 16, ("reduce", "expand"))
        self.act = act

    def forward(self, x):
        branches = [branch for name, branch in self.named_children() if name in ("rbr_skip", "rbr_scale")]
        branches += getattr(self, "rbr_conv", [])
        out = sum(branch(x) for branch in branches)
        if hasattr(self, "se"):
            out = self.se(out)
        return F.gelu(out) if self.act else out


class LargeKernel(nn.Module):
    """A 7x7 branch plus a 3x3 branch at stride 2, each channel making two or more."""

    def __init__(self, inputs, outputs, squeeze):
        super().__init__()
        self.lkb_origin = conv_bn(inputs, outputs, (7, 7), 2, inputs)
        self.small_conv = conv_bn(inputs, outputs, (3, 3), 2, inputs)
        self.se = SqueezeExcite(outputs, outputs // 4, ("fc1", "fc2")) if squeeze else nn.Identity()

    def forward(self, x):
        return F.gelu(self.se(self.lkb_origin(x) + self.small_conv(x)))


class Downsample(nn.Module):
    """Halve the picture's sides between stages."""

    def __init__(self, inputs, outputs, squeeze):
        super().__init__()
        self.proj = nn.Sequential(LargeKernel(inputs, outputs, squeeze), MobileOne(outputs, outputs, (1, 1)))

    def forward(self, x):
        return self.proj(x)


class PositionalConv(nn.Module):
    """Conditional positional encoding: a 7x7 depthwise convolution beside an identity."""

    def __init__(self, width):
        super().__init__()
        self.pe = nn.Conv2d(width, width, 7, padding=3, groups=width)

    def forward(self, x):
        return x + self.pe(x)


def layer_scale(width):
    return nn.Parameter(torch.full((width, 1, 1), 1e-5))


class RepMixer(nn.Module):
    """Depthwise token mixing."""

    def __init__(self, width, kernel):
        super().__init__()
        self.norm = MobileOne(width, width, kernel, groups=width, conv=False, scale=False, act=False)
        self.mixer = MobileOne(width, width, kernel, groups=width, act=False)
        self.layer_scale = layer_scale(width)

    def forward(self, x):
        return x + self.layer_scale * (self.mixer(x) - self.norm(x))


class ConvFfn(nn.Module):
    """A depthwise convolution with BatchNorm, then a perceptron per position."""

    def __init__(self, width, hidden, kernel):
        super().__init__()
        self.conv = conv_bn(width, width, kernel, groups=width)
        self.fc1 = nn.Conv2d(width, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, width, 1)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(self.conv(x))))


class RepMixerBlock(nn.Module):
    """Mixing over positions, then over channels. Shapes: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width, ratio=3, mixer_kernel=(3, 3), ffn_kernel=(7, 7)):
        super().__init__()
        self.token_mixer = RepMixer(width, mixer_kernel)
        self.convffn = ConvFfn(width, ratio * width, ffn_kernel)
        self.layer_scale = layer_scale(width)

    def forward(self, x):
        x = self.token_mixer(x)
        return x + self.layer_scale * self.convffn(x)


def attend(packed, heads, causal=False):
    """Self-attention of q, k and v packed along the last axis. Shapes: (N, L, 3C) -> (N, L, C)."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in packed.chunk(3, dim=-1))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if causal:
        scores = scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)
    weights = torch.softmax(scores, dim=-1)
    return (weights @ v).transpose(1, 2).flatten(2)


class ImageAttention(nn.Module):
    """Attention over the positions of a map."""

    def __init__(self, width):
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        out = self.proj(attend(self.qkv(x.flatten(2).mT), self.heads))
        return out.mT.unflatten(2, x.shape[2:])


class AttentionBlock(nn.Module):
    """Pre-norm attention and perceptron over a map. Shapes: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width, ratio=3):
        super().__init__()
        self.norm = nn.BatchNorm2d(width)
        self.token_mixer = ImageAttention(width)
        self.convffn = ConvFfn(width, ratio * width, (7, 7))
        self.layer_scale_1 = layer_scale(width)
        self.layer_scale_2 = layer_scale(width)

    def forward(self, x):
        x = x + self.layer_scale_1 * self.token_mixer(self.norm(x))
        return x + self.layer_scale_2 * self.convffn(x)


class Head(nn.Module):
    """Mean over the map, then a projection without bias."""

    def __init__(self, width, embed_dim):
        super().__init__()
        self.proj = nn.Parameter(torch.randn(width, embed_dim) / math.sqrt(width))

    def forward(self, x):
        return x.mean((2, 3)) @ self.proj


class FastViT(nn.Module):
    """`network` counts stages, downsamplings and the positional convolution in one list."""

    def __init__(self, widths, depths, embed_dim):
        super().__init__()
        first, last = widths[0], widths[-1]
        self.patch_embed = nn.Sequential(
            MobileOne(3, first, (3, 3), stride=2),
            MobileOne(first, first, (3, 3), stride=2, groups=first),
            MobileOne(first, first, (1, 1)),
        )
        parts = []
        for index, (kind, width, depth) in enumerate(zip(STAGES, widths, depths, strict=True)):
            if index > 0:
                parts.append(Downsample(widths[index - 1], width, squeeze=index >= 2))
            if kind == "A":
                parts.append(PositionalConv(width))
            block = AttentionBlock if kind == "A" else RepMixerBlock
            parts.append(nn.Sequential(*(block(width) for _ in range(depth))))
        self.network = nn.Sequential(*parts)
        self.conv_exp = MobileOne(last, 2 * last, (3, 3), groups=last, squeeze=True)
        self.head = Head(2 * last, embed_dim)

    def forward(self, x):
        return self.head(self.conv_exp(self.network(self.patch_embed(x))))


class PositionTable(nn.Module):
    def __init__(self, length, width):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.randn(1, 1, length, width) / math.sqrt(width))


class TokenAttention(nn.Module):
    """Attention of every token to every token, or to those before it. Shapes: (N, L, C) -> (N, L, C)."""

    def __init__(self, width, heads, causal):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x):
        return self.out_proj(attend(self.qkv_proj(x), self.heads, self.causal))


class TransformerLayer(nn.Module):
    """Pre-norm; the `Identity` modules stand where the checkpoint's numbering counts activations and dropouts."""

    def __init__(self, width, heads, causal=False):
        super().__init__()
        self.pre_norm_mha = nn.Sequential(nn.LayerNorm(width), TokenAttention(width, heads, causal))
        self.pre_norm_ffn = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Identity(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        x = x + self.pre_norm_mha(x)
        return x + self.pre_norm_ffn(x)


class TokenMixerBlock(RepMixerBlock):
    """A RepMixer block along the token axis. Shapes: (N, L, C) -> (N, L, C)."""

    def __init__(self, width):
        super().__init__(width, ratio=4, mixer_kernel=TEXT_KERNEL, ffn_kernel=TEXT_KERNEL)

    def forward(self, x):
        return super().forward(x.mT.unsqueeze(2)).squeeze(2).mT


class ConvNorm(nn.Module):
    """A convolution, BatchNorm and GELU; of the last one the convolution alone, with its bias."""

    def __init__(self, inputs, outputs, side, last=False):
        super().__init__()
        self.block = nn.Sequential(OrderedDict(conv=nn.Conv2d(inputs, outputs, side, side, bias=last)))
        if not last:
            self.block.add_module("norm", nn.BatchNorm2d(outputs))
            self.block.add_module("act", nn.GELU())

    def forward(self, x):
        return self.block(x)


class Classifier(nn.Module):
    def __init__(self, width, embed_dim):
        super().__init__()
        self.proj = nn.Parameter(torch.randn(width, embed_dim) / math.sqrt(width))

    def forward(self, x):
        return x @ self.proj


class VisionTransformer(nn.Module):
    """Patches of 16 pixels by three convolutions, positions for them alone, a class token in front, projected."""

    def __init__(self, size, width, heads, layers, embed_dim):
        super().__init__()
        quarter = width // 4
        self.patch_emb = nn.Sequential(
            ConvNorm(3, quarter, 4), ConvNorm(quarter, quarter, 2), ConvNorm(quarter, width, 2, last=True)
        )
        self.pos_embed = nn.ModuleDict({"pos_embed": PositionTable((size // 16) ** 2, width)})
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.transformer = nn.Sequential(*(TransformerLayer(width, heads) for _ in range(layers)))
        self.post_transformer_norm = nn.LayerNorm(width)
        self.classifier = Classifier(width, embed_dim)

    def forward(self, x):
        patches = self.patch_emb(x).flatten(2).mT + self.pos_embed["pos_embed"].pos_embed[0]
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], 1)
        return self.classifier(self.post_transformer_norm(self.transformer(tokens))[:, 0])


class TextEncoder(nn.Module):
    """Token ids (N, L) -> embedding (N, D). Layers alone ("base"), causal or not, or between mixers ("mct")."""

    def __init__(self, width, heads, layers, embed_dim, kind, causal):
        super().__init__()
        self.embedding_layer = nn.Embedding(VOCABULARY, width)
        self.positional_embedding = nn.ModuleDict({"pos_embed": PositionTable(CONTEXT_LENGTH, width)})
        ends = {"base": [], "mct": [TokenMixerBlock]}[kind]
        middle = (TransformerLayer(width, heads, causal) for _ in range(layers))
        self.transformer = nn.Sequential(*(end(width) for end in ends), *middle, *(end(width) for end in ends))
        self.final_layer_norm = nn.LayerNorm(width)
        self.projection_layer = nn.Parameter(torch.randn(width, embed_dim) / math.sqrt(width))

    def forward(self, ids):
        x = self.embedding_layer(ids) + self.positional_embedding["pos_embed"].pos_embed[0]
        x = self.final_layer_norm(self.transformer(x))
        return x[range(len(ids)), ids.argmax(1)] @ self.projection_layer


class AppleMobileCLIP(nn.Module):
    """Both encoders."""

    def __init__(self, image, text):
        super().__init__()
        self.image_encoder = nn.ModuleDict({"model": image})
        self.text_encoder = text
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, image):
        return self.image_encoder["model"](image)

    def encode_text(self, ids):
        return self.text_encoder(ids)


def fastvit(widths, depths, embed_dim=512):
    """widths and depths are per stage."""
    return FastViT(widths, depths, embed_dim)


def base_text(width=512, heads=8, layers=12, embed_dim=512, causal=False):
    return TextEncoder(width, heads, layers, embed_dim, "base", causal)


def hybrid_text(width=512, heads=8, layers=4, embed_dim=512):
    return TextEncoder(width, heads, layers, embed_dim, "mct", causal=False)


def vit(size=224, width=768, heads=12, layers=12, embed_dim=512):
    return VisionTransformer(size, width, heads, layers, embed_dim)


# Those of Apple's `mobileclip/configs`, the reduced models of edgeclip's table and of the tests.
MODELS = {
    "mobileclip-s0": lambda: AppleMobileCLIP(fastvit((64, 128, 256, 512), (2, 6, 10, 2)), hybrid_text()),
    "mobileclip-s1": lambda: AppleMobileCLIP(fastvit((64, 128, 256, 512), (4, 12, 20, 4)), base_text()),
    "mobileclip-s2": lambda: AppleMobileCLIP(fastvit((80, 160, 320, 640), (4, 12, 24, 4)), base_text()),
    "mobileclip-b": lambda: AppleMobileCLIP(vit(), base_text(causal=True)),
    "mobileclip-demo": lambda: AppleMobileCLIP(
        fastvit((32, 64, 128, 256), (2, 2, 4, 2), 128), hybrid_text(width=96, heads=3, embed_dim=128)
    ),
    "reduced-mobileclip-s1": lambda: AppleMobileCLIP(fastvit((32, 32, 64, 128), (1, 1, 2, 1), 64), base_text(64, 2, 4, 64)),
    "reduced-mobileclip-b": lambda: AppleMobileCLIP(vit(64, layers=2, embed_dim=64), base_text(64, 2, 4, 64, causal=True)),
}
