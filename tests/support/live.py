"""Live weights and inputs for any CLIP, so that every tensor of a checkpoint shows in the embedding.

Under default initialisation all pictures get nearly the same embedding, and a mapping that swaps two tensors would
pass. Here every parameter is drawn, and one forward pass brings each layer's output to unit scale, fills BatchNorm's
statistics and takes most of the per-channel mean out, whatever the module tree. `edgeclip.models.seeded` is not used:
it would hide its own mistakes.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from edgeclip.data import scenes
from edgeclip.data.preprocess import preprocess_image
from edgeclip.data.tokenizer import tokenizer_class
from edgeclip.models import MODELS

PICTURES = 5
TEXTS = ("a photo of a dog", "two small blue stars on the left", "", "a very long caption that goes on and on " * 20, "?!")


# Larger ones are tested at a reduced size, see `tests.support.siglip`.
RUNNABLE = tuple(name for name, spec in MODELS.items() if spec.image_params + spec.text_params < 180e6)


def pictures(spec, count=PICTURES, seed=7):
    """Procedural pictures: (count, 3, size, size) float32 in [0, 1]."""
    drawn = (scenes.draw(scene, spec.preprocess.size) for scene in scenes.scenes(count, seed=seed))
    return torch.from_numpy(np.stack([preprocess_image(picture, spec.preprocess) for picture in drawn]))


def normalised(spec, images):
    """What `ImageTower` does inside: (x - mean) / std per channel."""
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (spec.preprocess.mean, spec.preprocess.std))
    return (images - mean) / std


def token_ids(spec, texts=TEXTS):
    """(len(texts), context_length) int32."""
    return torch.from_numpy(tokenizer_class(spec.tokenizer).stand_in(spec.tokenizer)(texts))


def between_input_cosines(embeddings):
    """The cosines of all pairs of different rows."""
    rows = F.normalize(embeddings, dim=-1)
    first, second = torch.triu_indices(len(rows), len(rows), offset=1)
    return (rows[first] * rows[second]).sum(1)


def silent_parameters(model, encode, threshold=1e-3):
    """Names of parameters whose disappearance `encode()` would hardly notice, to first order."""
    parameters = {name: value.requires_grad_(True) for name, value in model.named_parameters() if not name.startswith("logit_")}
    out = torch.cat(encode())
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(0))
    gradients = torch.autograd.grad((out * direction).sum(), parameters.values())
    shown = zip(parameters.items(), gradients, strict=True)
    return [name for (name, value), gradient in shown if (gradient * value).abs().max() < threshold]


@torch.no_grad()
def make_live(model, encode, seed=0):
    """Draw all parameters of `model`, then adjust its layers while `encode()` runs both towers once; returns the model."""
    generator = torch.Generator().manual_seed(seed)
    tables = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    for name, parameter in model.named_parameters():
        parameter.copy_(_drawn(name, parameter, generator, is_table=name in tables))
    model.eval()
    handles = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            handles.append(module.register_forward_pre_hook(_fill_statistics))
        elif isinstance(module, nn.MultiheadAttention):  # calls no layers of its own
            handles.append(module.register_forward_pre_hook(_adjust_packed))
            handles.append(module.register_forward_hook(_adjust_attention))
        elif isinstance(module, nn.Linear | nn.Conv2d):
            handles.append(module.register_forward_hook(_adjust_layer))
    encode()
    for handle in handles:
        handle.remove()
    return model


def _drawn(name, parameter, generator, is_table):
    noise = torch.randn(parameter.shape, generator=generator)
    if name.endswith("logit_scale"):
        return torch.tensor(math.log(37.0))
    if "layer_scale" in name:
        return 0.4 * (1 + 0.2 * noise)
    if parameter.ndim <= 1:
        return noise if "embedding" in name else 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
    if is_table or "embed" in name:
        return noise
    transposed = name.endswith(("proj", "text_projection", "projection_layer"))  # bare parameters, used as x @ p
    return noise / math.sqrt(parameter.shape[0] if transposed else parameter[0].numel())


def _fill_statistics(module, args):
    variance, mean = torch.var_mean(args[0], (0, 2, 3), correction=0)
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance.clamp(min=1e-3))


def _adjust_layer(module, _, output):
    return _adjusted(module, output, channel=1 if isinstance(module, nn.Conv2d) else output.ndim - 1)


def _adjust_packed(module, args):
    packed = F.linear(args[0], module.in_proj_weight, module.in_proj_bias)
    _adjusted(SimpleNamespace(weight=module.in_proj_weight, bias=module.in_proj_bias), packed, channel=2)


def _adjust_attention(module, _, output):
    return (_adjusted(module.out_proj, output[0], channel=2), *output[1:])


def _adjusted(layer, output, channel):
    """Change weight and bias so that the output has unit spread and less mean; returns what the layer gives then."""
    factor = 1 / output.std().clamp(min=1e-6)
    layer.weight.mul_(factor)
    output = output * factor
    if layer.bias is None:
        return output
    mean = 0.7 * output.mean([dim for dim in range(output.ndim) if dim != channel])
    layer.bias.mul_(factor).sub_(mean)
    return output - mean.reshape([-1 if dim == channel else 1 for dim in range(output.ndim)])
