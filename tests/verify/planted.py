"""Faults in one chosen layer: each is planted into the module that is exported, and localisation has to name that layer."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import ExportedProgram

from converters.coreml.target import TARGET
from edgeclip.data import scenes
from edgeclip.data.clip_bpe import ClipBpe
from edgeclip.data.preprocess import preprocess_image
from edgeclip.models import MODELS
from edgeclip.models.pair import EncoderPair
from edgeclip.models.towers import ExportedTower, build_tower, example_input, export_tower, prepare_for_export
from edgeclip.models.weights import load_model
from edgeclip.recipe import Recipe
from edgeclip.spec import Tower

Change = Callable[[nn.Module], None]  # of the layer, in place


@dataclass(frozen=True)
class Planted:
    """layer: where it is planted, and what has to be named. ops: kinds of operations that may be named. says: words of what is
    said about the cause. spreads: what reads the layer's value misses something too, as what follows a sum that is left out.
    """

    name: str
    model: str
    tower: Tower
    layer: str
    change: Change
    ops: tuple[str, ...]
    says: str = ""
    spreads: bool = False
    scheme: str = "fp32"
    layout: str = "plain"
    min_os: str = "iOS17"


@functools.cache
def pair(model: str) -> EncoderPair:
    """The demo model, with its trained weights."""
    return load_model(MODELS[model], "demo").pair


@functools.cache
def right_program(model: str, tower: Tower, layout: str) -> ExportedProgram:
    """The right conversion, as far as torch goes."""
    return export_tower(pair(model), MODELS[model], tower, TARGET.rewrite(layout)).program.run_decompositions({})


def sample(model: str, tower: Tower) -> np.ndarray:
    """A drawn picture, (3, H, W), or the ids of a caption, (L,)."""
    spec = MODELS[model]
    if tower == "text":
        return ClipBpe.published(spec.tokenizer)(["two small striped blue stars on the left"])[0]
    return preprocess_image(scenes.draw(scenes.scenes(1, seed=5)[0], 200), spec.preprocess)


def lowered(fault: Planted, path: Path) -> Path:
    """The package that a converter with this fault writes."""
    module = prepare_for_export(build_tower(pair(fault.model), MODELS[fault.model], fault.tower))
    with torch.no_grad():
        fault.change(module.get_submodule(fault.layer))
    return lowered_module(module, fault, path)


def lowered_module(module: nn.Module, how: Planted, path: Path) -> Path:
    """A prepared tower as a package at `path`."""
    spec = MODELS[how.model]
    rewrite = TARGET.rewrite(how.layout)
    with torch.no_grad():
        program = torch.export.export(rewrite(module) if rewrite else module, (example_input(spec, how.tower),), strict=False)
    recipe = Recipe(
        model=how.model,
        weights="demo",
        target="coreml",
        backend=None,
        scheme=how.scheme,
        min_os=how.min_os,
        layout=how.layout,
    )
    TARGET.lower(ExportedTower(spec, how.tower, program), recipe, {}, path)
    return path


def _tensor(name: str, change: Callable[[Tensor], Tensor]) -> Change:
    """Put another in place of one parameter or buffer of the layer, whose numbers are the original's too."""

    def apply(layer: nn.Module) -> None:
        value = getattr(layer, name)
        changed = change(value.clone())
        setattr(layer, name, nn.Parameter(changed, requires_grad=False) if isinstance(value, nn.Parameter) else changed)

    return apply


def _forward(function: Callable[..., Tensor]) -> Change:
    """Let the layer compute something else; `function` is its `forward`."""
    return lambda layer: setattr(layer, "forward", types.MethodType(function, layer))


def _attribute(name: str, value: object) -> Change:
    return lambda layer: setattr(layer, name, value)


def _tanh_gelu(self: nn.Module, x: Tensor) -> Tensor:
    # Written out: coremltools 9.0 ignores `approximate` when it converts an ExportedProgram, but recognises the formula.
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _quick_gelu(self: nn.Module, x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def _no_mask(
    self: nn.MultiheadAttention, q: Tensor, k: Tensor, v: Tensor, need_weights: bool = False, attn_mask: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    return nn.MultiheadAttention.forward(self, q, k, v, need_weights=False)


def _attention(merge: Callable[[Tensor], Tensor], scale: Callable[[int], float]) -> Callable[..., Tensor]:
    """The hybrid text tower's attention with another way of merging heads, (N, H, L, d) -> (N, L, H, d), or another scale."""

    def forward(self: nn.Module, x: Tensor) -> Tensor:
        batch, length, dim = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = (part.reshape(batch, length, self.heads, -1).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v, scale=scale(dim // self.heads))
        return self.out_proj(merge(out).reshape(batch, length, dim))

    return forward


def _no_second_residual(self: nn.Module, x: Tensor) -> Tensor:
    x = x + self.attn(self.ln_1(x))
    return self.mlp(self.ln_2(x))


def _any_length(self: nn.Module, image: Tensor) -> Tensor:
    return self.encoder((image - self.mean) / self.std)


def _no_skip(layer: nn.Module) -> None:
    """A RepMixer's convolution, fused without its skip connection."""
    weight = layer.weight
    weight[..., weight.shape[-2] // 2, weight.shape[-1] // 2] -= 1.0


def _query_and_key_swapped(weight: Tensor) -> Tensor:
    q, k, v = weight.chunk(3)
    return torch.cat([k, q, v])


_RIGHT_SCALE = lambda size: 1 / math.sqrt(size)  # noqa: E731
_RIGHT_MERGE = lambda out: out.transpose(1, 2)  # noqa: E731
_TINY, _MOBILE = "tinyclip-demo", "mobileclip-demo"
_BLOCKS = "encoder.transformer.resblocks"
_STAGES = "encoder.trunk.stages"

PLANTED = (
    Planted(
        "patch weights scaled", _TINY, "image", "encoder.conv1", _tensor("weight", lambda w: 1.05 * w), ("conv",), "by 1.05"
    ),
    Planted(
        "output projection transposed",
        _TINY,
        "text",
        f"{_BLOCKS}.1.attn.out_proj",
        _tensor("weight", lambda w: w.T),
        ("linear",),
        "transposed",
    ),
    Planted(
        "epsilon of a layer norm",
        _TINY,
        "image",
        f"{_BLOCKS}.3.ln_2",
        _attribute("eps", 1e-3),
        ("layer_norm",),
        "epsilon is 0.001",
    ),
    Planted(
        "QuickGELU in one layer", _TINY, "image", f"{_BLOCKS}.2.mlp.gelu", _forward(_quick_gelu), ("mul", "sigmoid", "silu")
    ),
    Planted(
        "queries and keys swapped",
        _TINY,
        "image",
        f"{_BLOCKS}.4.attn",
        _tensor("in_proj_weight", _query_and_key_swapped),
        ("linear",),
        "another order",
    ),
    Planted(
        "positions shifted by one",
        _TINY,
        "text",
        "encoder",
        _tensor("positional_embedding", lambda p: p.roll(1, 0)),
        ("add",),
        "shifted by one",
    ),
    Planted("mask missing in one layer", _TINY, "text", f"{_BLOCKS}.1.attn", _forward(_no_mask), ("softmax",), "missing"),
    Planted(
        "mask missing in one layer, whole attention",
        _TINY,
        "text",
        f"{_BLOCKS}.1.attn",
        _forward(_no_mask),
        ("scaled_dot_product_attention",),
        "attn_mask",
        min_os="iOS18",
    ),
    Planted(
        "tanh GELU in one layer",
        _MOBILE,
        "image",
        f"{_STAGES}.1.blocks.0.mlp.act",
        _forward(_tanh_gelu),
        ("gelu",),
        "TANH_APPROXIMATION",
    ),
    Planted(
        "layer scale missing",
        _MOBILE,
        "image",
        f"{_STAGES}.2.blocks.1.layer_scale",
        _tensor("gamma", torch.ones_like),
        ("conv", "add"),
        spreads=True,
    ),
    Planted(
        "squeeze-excite without its bias",
        _MOBILE,
        "image",
        "encoder.trunk.final_conv.se.fc2",
        _tensor("bias", torch.zeros_like),
        ("conv",),
        "bias",
    ),
    Planted(
        "RepMixer without its skip", _MOBILE, "text", f"{_BLOCKS}.0.token_mixer.reparam_conv", _no_skip, ("conv",), "weight"
    ),
    Planted(
        "softmax scale of one attention",
        _MOBILE,
        "text",
        f"{_BLOCKS}.2.attn",
        _forward(_attention(_RIGHT_MERGE, lambda size: 1 / size)),
        ("mul", "matmul"),
    ),
    Planted(
        "heads merged in the wrong order",
        _MOBILE,
        "text",
        f"{_BLOCKS}.1.attn",
        _forward(_attention(lambda out: out, _RIGHT_SCALE)),
        ("reshape", "linear"),
    ),
    Planted(
        "residual missing",
        _MOBILE,
        "text",
        f"{_BLOCKS}.3",
        _forward(_no_second_residual),
        ("layer_norm",),
        "missing",
        spreads=True,
    ),
    Planted("unit length left out", _TINY, "image", "", _forward(_any_length), ("linear",), "linalg_vector_norm"),
    Planted(
        "scaled weight under int8",
        _TINY,
        "image",
        f"{_BLOCKS}.2.mlp.c_proj",
        _tensor("weight", lambda w: 1.1 * w),
        ("linear",),
        "by 1.1",
        scheme="w8",
    ),
    Planted(
        "scaled weight in the Neural Engine's layout",
        _TINY,
        "text",
        f"{_BLOCKS}.1.mlp.c_fc",
        _tensor("weight", lambda w: 1.05 * w),
        ("conv",),
        "by 1.05",
        layout="ane",
    ),
)
