"""LayerNorm over channels, the scale and shift moved into the layers behind it.

Given:  y = W (g * s(x) + h) + b         x: (N, L, C), s(x) = (x - mean) * rsqrt(variance + eps) over the last axis
Result: y = (W diag(g)) s(x) + (W h + b)  x: (N, C, 1, L), s over axis 1

Identity: W (g * s + h) = (W diag(g)) s + W h.
Why: tokens stay in the layout of the convolutions. Without scale and shift, coremltools recognises these six operations,
written as below, as one `layer_norm` over axis 1 (pass `fuse_layernorm_or_instancenorm`, pattern 5). With them it wants the
shift divided by the scale, which fails where a scale is 0. In float16, each operation's result rounded, the one operation is
off by 2.1e-4 (rms, 512 channels); six operations by 3.8e-4, and where x - mean exceeds 256 its square overflows and
everything becomes 0.
Source: ml-ane-transformers, `LayerNormANE`; the coremltools pass.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from converters.layout.pointwise import per_channel


class ChannelNorm(nn.Module):
    """LayerNorm over axis 1, by default without scale and shift. Shapes: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, eps: float, affine: nn.Conv2d | None = None) -> None:
        """affine: scale and shift, as a convolution of one tap per channel."""
        super().__init__()
        self.eps = eps
        self.affine = affine

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        out = centred * torch.rsqrt((centred * centred).mean(1, keepdim=True) + self.eps)
        return out if self.affine is None else self.affine(out)


def channel_norm(norm: nn.Module) -> nn.Module:
    """LayerNorm with its scale and shift, where no layer can take them; an Identity stays one.

    Not as a product and a sum: coremltools 9.0 makes those a `batch_norm` of variance 1 and epsilon 1e-5 (pass
    `fuse_elementwise_to_batchnorm`), which shrinks everything by 5e-6.
    """
    if not isinstance(norm, nn.LayerNorm):
        return norm
    if norm.weight is None:
        return ChannelNorm(norm.eps)
    return ChannelNorm(norm.eps, per_channel(norm.weight, norm.bias))


@torch.no_grad()
def norm_into(norm: nn.Module, *layers: nn.Module) -> nn.Module:
    """LayerNorm without scale and shift; they go into 1x1 convolutions, in place: all that read its output.

    An Identity stays one. If a layer is not a convolution, scale and shift stay.
    """
    if not isinstance(norm, nn.LayerNorm):
        return norm
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    if len(convs) < len(layers):
        return channel_norm(norm)
    for conv in convs:
        matrix = conv.weight[:, :, 0, 0].double()  # rounded once, at the end
        if norm.bias is not None:
            shift = matrix @ norm.bias.double()
            bias = shift if conv.bias is None else conv.bias.double() + shift
            conv.bias = nn.Parameter(bias.to(conv.weight.dtype), requires_grad=False)
        if norm.weight is not None:
            folded = (matrix * norm.weight.double())[:, :, None, None]
            conv.weight = nn.Parameter(folded.to(conv.weight.dtype), requires_grad=False)
    return ChannelNorm(norm.eps)
