"""TinyCLIP while its masks are learned: the full-size encoders, each result multiplied by its mask.

Written on a state dict in TinyCLIP's names, with plain products; nothing is folded and nothing left out.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F


def mask(loga):
    """L0Module._deterministic_z: a soft mask with as many zeros as the distribution expects, (size) -> (size)."""
    chance_of_zero = torch.sigmoid(torch.logit(torch.tensor(0.1 / 1.2)) * (2 / 3) - loga)
    soft = 1 / (1 + torch.exp(-0.8 * loga / (2 / 3)))
    zeros = round(float(chance_of_zero.sum()))
    ranks = soft.argsort().argsort()
    return torch.where(ranks < zeros, 0.0, soft)


class Encoder:
    """One encoder's tensors and masks."""

    def __init__(self, state, prefix, width):
        self.state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        self.hidden = mask(self.state["l0_module.hidden_loga"])
        self.width = width  # of a head

    def norm(self, x, name):
        """Over the channels that are left; zeros in the others."""
        left = self.hidden != 0
        out = torch.zeros_like(x)
        weight, bias = self.state[f"{name}.weight"][left], self.state[f"{name}.bias"][left]
        out[..., left] = F.layer_norm(x[..., left], (int(left.sum()),), weight, bias)
        return out

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def blocks(self, x, prefix, causal):
        for number, heads in enumerate(self.state["l0_module.heads_loga"]):
            name, units = f"{prefix}transformer.resblocks.{number}", self.state["l0_module.intermediate_loga"][number]
            x = x + self.attention(self.norm(x, f"{name}.ln_1"), f"{name}.attn", mask(heads), causal) * self.hidden
            inside = F.gelu(self.linear(self.norm(x, f"{name}.ln_2"), f"{name}.mlp.c_fc")) * mask(units)
            x = x + self.linear(inside, f"{name}.mlp.c_proj") * self.hidden
        return x

    def attention(self, x, name, heads, causal):
        packed = x @ self.state[f"{name}.in_proj_weight"].T + self.state[f"{name}.in_proj_bias"]
        q, k, v = (part.unflatten(-1, (len(heads), self.width)) for part in packed.chunk(3, -1))
        scores = torch.einsum("nqhd,nkhd->nhqk", q, k) / math.sqrt(self.width)
        if causal:
            scores = scores + torch.full(scores.shape[-2:], -torch.inf).triu(1)
        mixed = torch.einsum("nhqk,nkhd->nqhd", scores.softmax(-1), v) * heads[:, None]
        return self.linear(mixed.flatten(2), f"{name}.out_proj")


class MaskedTinyCLIP:
    """Both encoders. width: of a head."""

    def __init__(self, state, width):
        self.image, self.text = (Encoder(state, f"_{name}_encoder.", width) for name in ("image", "text"))
        self.logit_scale = state["_logit_scale.logit_scale"]

    @torch.no_grad()
    def encode_image(self, images):
        own = self.image.state
        kernel = own["visual.conv1.weight"]
        x = F.conv2d(images, kernel, stride=kernel.shape[-1]).flatten(2).transpose(1, 2)
        x = torch.cat([own["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + own["visual.positional_embedding"]
        x = self.image.norm(x * self.image.hidden, "visual.ln_pre")
        x = self.image.norm(self.image.blocks(x, "visual.", causal=False)[:, 0], "visual.ln_post")
        return x @ own["visual.proj"]

    @torch.no_grad()
    def encode_text(self, ids):
        own = self.text.state
        x = (own["token_embedding.weight"][ids.long()] + own["positional_embedding"]) * self.text.hidden
        x = self.text.norm(self.text.blocks(x, "", causal=True), "ln_final")
        return x[torch.arange(len(ids)), ids.argmax(-1)] @ own["text_projection"]


def drawn_state(full, image_gates, text_gates, seed=0):
    """Drawn tensors in TinyCLIP's names, with the shapes of `full`. gates: (channels, layers, heads, units) of an encoder."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name, shape):
        noise = torch.randn(shape, generator=generator)
        if len(shape) < 2:
            return 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
        fan_in = shape[0] if name.endswith(("visual.proj", "text_projection")) else math.prod(shape[1:])
        if "embedding" in name:
            return (0.3 if "visual" in name else 1.0) * noise
        return (3.0 if "in_proj" in name else 1.5) * noise / math.sqrt(fan_in)

    def loga(*shape):
        """A third surely kept, a third surely gone, the others in between."""
        kinds = torch.randint(3, shape, generator=generator)
        return torch.where(kinds == 0, 10.0, torch.where(kinds == 1, -10.0, torch.randn(shape, generator=generator)))

    state = {key: draw(key, value.shape) for key, value in full.items()}
    state["_logit_scale.logit_scale"] = torch.tensor(math.log(37.0))
    for encoder, (channels, layers, heads, units) in (("_image_encoder", image_gates), ("_text_encoder", text_gates)):
        state[f"{encoder}.l0_module.hidden_loga"] = loga(channels)
        state[f"{encoder}.l0_module.heads_loga"] = loga(layers, heads)
        state[f"{encoder}.l0_module.intermediate_loga"] = loga(layers, units)
        state[f"{encoder}.l0_module.lambda_1"] = state[f"{encoder}.l0_module.lambda_2"] = torch.tensor(10.0)
    return state
