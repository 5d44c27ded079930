"""What a layout is: a mapping from our tensor names to those of a published file.

Going from the model to the file, rather than the other way round, makes strictness simple: a tensor the model needs and the
file lacks is missing, a tensor of the file that nothing asked for is extra, and both are named as the file names them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

_SEEN_BY_COUNT = "num_batches_tracked"  # BatchNorm's training counter: read if present, never needed


@dataclass(frozen=True)
class Packing:
    """How tensors of a file make up one of the model's, and which shape each has in the file given the model's."""

    assemble: Callable[..., Tensor]
    shape: Callable[[torch.Size], torch.Size]


AS_IS = Packing(lambda tensor: tensor, lambda shape: shape)
TRANSPOSED = Packing(lambda tensor: tensor.T, lambda shape: torch.Size(reversed(shape)))
THREE_JOINED = Packing(lambda *tensors: torch.cat(tensors), lambda shape: torch.Size((shape[0] // 3, *shape[1:])))
IN_ONE_MORE_AXIS = Packing(lambda tensor: tensor[0], lambda shape: torch.Size((1, *shape)))
IN_TWO_MORE_AXES = Packing(lambda tensor: tensor[0, 0], lambda shape: torch.Size((1, 1, *shape)))
IN_ONE_AXIS_LESS = Packing(lambda tensor: tensor[None], lambda shape: torch.Size(shape[1:]))
THE_ONLY_ONE = Packing(lambda tensor: tensor[0], lambda shape: torch.Size((1, *shape)))
# Of a packed projection of queries, keys and values.
FIRST_OF_THREE = Packing(lambda tensor: tensor.chunk(3)[0], lambda shape: torch.Size((3 * shape[0], *shape[1:])))
LAST_TWO_OF_THREE = Packing(
    lambda tensor: tensor[len(tensor) // 3 :], lambda shape: torch.Size((3 * shape[0] // 2, *shape[1:]))
)


@dataclass(frozen=True)
class Source:
    """Where one of the model's tensors comes from. Without keys: the layout has no such tensor, and zeros stand for it."""

    keys: tuple[str, ...]
    packing: Packing = AS_IS


@dataclass(frozen=True)
class Layout:
    """One published layout.

    `name` is what a model's row says; `recognise` looks at the file's keys; `source` maps a name of `EncoderPair`; `ignored`
    matches buffers that some writers save and no model needs. `prepared` comes before: what a file says in more tensors than a
    model has, masks for one, becomes plain tensors; it raises ValueError if that cannot be.
    """

    name: str
    title: str
    recognise: Callable[[Collection[str]], bool]
    source: Callable[[str], Source]
    ignored: re.Pattern[str] = re.compile(r"(?!)")
    prepared: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda tensors: tensors


def normalise_key(key: str) -> str:
    """Drop the wrappers of distributed training: `module.visual.proj`, `_image_encoder.module.visual.proj`.

    TinyCLIP's pruning assigns its encoders to properties, which registers them under those names too.
    """
    key = key.removeprefix("module.").replace(".module.", ".", 1)
    return re.sub(r"^(image|text)_encoder_without_ddp\.", r"_\1_encoder.", key)


def is_optional(name: str) -> bool:
    """Whether a model can do without a tensor."""
    return name.endswith(_SEEN_BY_COUNT)


def prefixes(*wanted: str) -> Callable[[Collection[str]], bool]:
    """Recognises files that have keys under every one of these prefixes."""
    return lambda keys: all(any(key.startswith(prefix) for key in keys) for prefix in wanted)


def renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    """`name` after one regular expression's replacement after the other."""
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
