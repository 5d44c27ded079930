"""`seeded:N`: deterministic weights under which every layer matters, for testing without a checkpoint.

Default initialisation is a trap: layer scales of 1e-5 and a dominant mean map every picture to the same embedding, so
any parity check passes. Here parameters are drawn by name, then one pass over a few procedural inputs normalises each
layer's output (after "All you need is a good init", arXiv 1511.06422), fills BatchNorm's statistics from what it sees,
and centres the embedding.

Measured statistics are rounded to a few significant bits, so that another machine's summation order gives the same weights.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeclip.data import scenes
from edgeclip.data.preprocess import preprocess_image
from edgeclip.data.tokenizer import tokenizer_class
from edgeclip.models.pair import EncoderPair
from edgeclip.spec import ModelSpec

LAYER_SCALE = 0.4
_CALIBRATION_INPUTS = 8
_CALIBRATION_SEED = 20_000
_SIGNIFICANT_BITS = 6
_SHARPNESS = 2.5  # of attention: even weights would average pictures that share a background to the same
_VIT_PLACES = (
    *("visual.class_embedding", "visual.positional_embedding"),  # open_clip's
    *("visual.trunk.cls_token", "visual.trunk.pos_embed"),  # timm's
)
# Of packed projections, the share of rows in front that makes queries and keys.
_COMPARED = {"in_proj_weight": 2 / 3, ".attn.qkv.weight": 2 / 3, "attn_pool.q.weight": 1.0, "attn_pool.kv.weight": 1 / 2}
_AS_DRAWN = (".attn.qkv", "attn_pool.q", "attn_pool.kv")  # layers whose spread is meant, as that of packed parameters is
_PACKED = ("in_proj_weight", ".attn.qkv.weight")  # torch's, timm's
_DEEP = 10  # blocks; each amplifies what the order of sums changes, and with 12 as sharp as that it passes 1e-5
_SHARPNESS_OF_DEEP = 1.8
_BRANCHES = 48  # may have the whole share: MobileCLIP-S0 has 40; with 80, float16 costs more than `verify` grants
_PLACE = 0.3  # of what a ViT adds to patches, so that it does not drown them
_CALMER = 0.5  # of the scores of a pool without a norm in front
_CENTRED_SHARE = 0.6  # leaves between-input cosines near 0.4, as trained CLIP models have


@torch.no_grad()
def seeded_pair(spec: ModelSpec, seed: int) -> EncoderPair:
    """`spec`'s model with live weights drawn from `seed`."""
    pair = spec.build(spec).eval()
    for name, parameter in pair.named_parameters():
        parameter.copy_(_drawn(name, parameter, seed))
    _soften_deep(pair.visual)
    _soften_deep(pair.text)
    chosen = scenes.scenes(_CALIBRATION_INPUTS, seed=_CALIBRATION_SEED)
    pixels = [preprocess_image(scenes.draw(scene, spec.preprocess.size), spec.preprocess) for scene in chosen]
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (spec.preprocess.mean, spec.preprocess.std))
    images = (torch.from_numpy(np.stack(pixels)).double() - mean) / std
    captions = [scenes.phrase({name: getattr(scene, name) for name in scenes.ATTRIBUTES}) for scene in chosen]
    ids = torch.from_numpy(tokenizer_class(spec.tokenizer).stand_in(spec.tokenizer)(captions))
    # In double precision, where other kernels differ in bits that rounding drops; a tower at a time, to be small.
    for encoder, inputs in ((pair.visual, images), (pair.text, ids)):
        encoder.double()
        with _calibrating(encoder):
            embeddings = encoder(inputs)
        _centre(encoder, _CENTRED_SHARE * embeddings.mean(0))
        encoder.float()
    return pair


def _soften_deep(encoder: nn.Module) -> None:
    """Less sharp attention in a tower of many blocks, and branches of a smaller share, in place."""
    parameters = dict(encoder.named_parameters())
    packed = [parameter for name, parameter in parameters.items() if name.endswith(_PACKED)]
    if len(packed) > _DEEP:
        for weight in packed:
            weight[: 2 * len(weight) // 3] *= _SHARPNESS_OF_DEEP / _SHARPNESS
    shares = [parameter for name, parameter in parameters.items() if _is_layer_scale(name)]
    for share in shares:
        share.mul_(min(1.0, _BRANCHES / len(shares)))


def _is_layer_scale(name: str) -> bool:
    return "gamma" in name or "layer_scale" in name


@torch.no_grad()
def centre_embeddings(pair: EncoderPair, of_images: Tensor, of_texts: Tensor, share: float = 1.0) -> None:
    """Shift the last bias of each tower so that a share of the mean of these embeddings, (N, D) each, goes, in place.

    What all inputs share then no longer hides what tells them apart.
    """
    _centre(pair.visual, share * of_images.mean(0))
    _centre(pair.text, share * of_texts.mean(0))


# Where a tower ends: a bias that is added last, or a norm's bias in front of a projection without one.
_LAST_BIASES = (
    *("trunk.head.fc.bias", "trunk.head.bias", "trunk.attn_pool.mlp.fc2.bias"),  # timm's
    *("attnpool.c_proj.bias", "text_projection.bias"),  # open_clip's
)
_LAST_NORMS = (("ln_post.bias", "proj"), ("ln_final.bias", "text_projection"))


def _centre(encoder: nn.Module, mean: Tensor) -> None:
    parameters = dict(encoder.named_parameters())
    for name in _LAST_BIASES:
        if name in parameters:
            parameters[name].sub_(_rounded(mean))
            return
    for name, projection in _LAST_NORMS:
        if name in parameters:
            parameters[name].sub_(_rounded(mean @ torch.linalg.pinv(parameters[projection])))
            return
    raise AssertionError("a tower without a bias at its end")


def _drawn(name: str, parameter: Tensor, seed: int) -> Tensor:
    """Values of one parameter, from a generator of its own, so that adding a layer changes no other."""
    if name == "logit_scale":
        return torch.tensor(math.log(100.0))
    if name == "logit_bias":
        return torch.tensor(-10.0)
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    # NumPy's legacy generator: its stream is frozen (NEP 19).
    noise = np.random.RandomState(int.from_bytes(digest[:4], "little")).standard_normal(tuple(parameter.shape))
    values = torch.from_numpy(np.asarray(noise, np.float32)).reshape(parameter.shape)
    if _is_layer_scale(name):
        return LAYER_SCALE * (1 + 0.1 * values)
    if ".layer" in name and name.endswith("bn3.weight"):  # a ResNet's blocks have no layer scale: their last norm is one
        return 0.5 * LAYER_SCALE * (1 + 0.1 * values)
    if parameter.ndim <= 1 and name.endswith("weight"):  # the factor of a normalisation layer
        return 1 + 0.1 * values
    if parameter.ndim <= 1 and name.endswith("bias"):
        return 0.1 * values
    if name in _VIT_PLACES:
        return _PLACE * values
    if "embedding" in name or name.endswith("attn_pool.latent"):
        return values
    for ending, share in _COMPARED.items():
        if name.endswith(ending):
            values[: round(share * len(values))] *= _SHARPNESS
    # (out, in, ...) for layers; projections are (in, out)
    fan_in = parameter.shape[0] if name.endswith(("proj", "projection")) else parameter[0].numel()
    return values / math.sqrt(fan_in)


def _rounded(values: Tensor) -> Tensor:
    mantissa, exponent = torch.frexp(values)
    steps = 2.0**_SIGNIFICANT_BITS
    return torch.ldexp(torch.round(mantissa * steps) / steps, exponent)


@contextmanager
def _calibrating(encoder: nn.Module) -> Iterator[None]:
    """Hooks that adjust each layer from the input it sees, in the order of one forward pass."""
    handles = []
    for name, module in encoder.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            handles.append(module.register_forward_pre_hook(_fill_statistics))
        elif isinstance(module, nn.MultiheadAttention):  # calls no layer of its own
            handles.append(module.register_forward_hook(_normalise_attention))
        elif type(module).__name__ == "AttentionPool2d":  # open_clip's, which calls none either
            handles.append(module.register_forward_pre_hook(_fit_pool))
            handles.append(module.register_forward_hook(_normalise_pool))
        elif isinstance(module, nn.Linear | nn.Conv2d) and not name.endswith(_AS_DRAWN):
            handles.append(module.register_forward_hook(_normalise_layer))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _fill_statistics(module: Any, args: tuple[Tensor, ...]) -> None:
    dims = [dim for dim in range(args[0].dim()) if dim != 1]
    variance, mean = torch.var_mean(args[0], dims, correction=0)
    module.running_mean.copy_(_rounded(mean))
    module.running_var.copy_(_rounded(variance).clamp(min=1e-3))


def _normalise_layer(module: Any, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return _normalised(module, output, channel=1 if isinstance(module, nn.Conv2d) else -1)


def _normalise_attention(module: Any, _: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (_normalised(module.out_proj, output[0], channel=-1), *output[1:])


def _fit_pool(module: Any, args: tuple[Tensor, ...]) -> None:
    """Projections for tokens of any size: no norm is in front, and scores grow with its square.

    Queries are smaller once more, for pictures with larger tokens: float16 resolves scores of 30 to 0.03 only.
    """
    factor = _rounded(1 / args[0].square().mean().sqrt().clamp(min=1e-6))
    for layer in (module.q_proj, module.k_proj, module.v_proj):
        layer.weight.mul_(factor)
    module.q_proj.weight.mul_(_CALMER)


def _normalise_pool(module: Any, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return _normalised(module.c_proj, output, channel=-1)


def _normalised(layer: Any, output: Tensor, channel: int) -> Tensor:
    """Give a layer's output unit spread, and take a share of what all inputs have in common; -> the new output."""
    factor = _rounded(1 / output.std().clamp(min=1e-6))
    layer.weight.mul_(factor)
    output = output * factor
    if layer.bias is None:
        return output
    dims = [dim for dim in range(output.dim()) if dim != channel % output.dim()]
    mean = _rounded(_CENTRED_SHARE * output.mean(dims))
    layer.bias.mul_(factor).sub_(mean)
    return output - (mean.reshape(-1, 1, 1) if channel == 1 else mean)
