"""What a model is: its contract with the outside, free of torch.

`Preprocess`, `Tokenizer`, `Scoring` and `Licence` are also the manifest's sections, so their field names are a file format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from edgeclip.models.pair import EncoderPair

Tower = Literal["image", "text"]
TOWERS: tuple[Tower, ...] = ("image", "text")

INPUT_NAME: dict[Tower, str] = {"image": "image", "text": "text"}
OUTPUT_NAME = "final_emb_1"  # what Apple's MobileCLIP sample app reads

Triple = tuple[float, float, float]
OPENAI_MEAN: Triple = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD: Triple = (0.26862954, 0.26130258, 0.27577711)


class Preprocess(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a picture becomes the image tower's input: (1, 3, size, size) in `range`, then (x - mean) / std per channel.

    The last step is inside the converted graph; all the others are the app's.
    """

    size: Annotated[int, Meta(ge=8, le=4096)]
    resize: Literal["shortest", "squash"]
    crop: Literal["center", "none"]
    interpolation: Literal["bilinear", "bicubic"]
    antialias: bool
    mean: Triple
    std: Triple
    color: Literal["RGB"] = "RGB"
    range: tuple[float, float] = (0.0, 1.0)


class Tokenizer(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a text becomes the text tower's input: (1, context_length) int32 ids, `sot ... eot pad pad`."""

    tokenizer: Literal["clip-bpe"]
    context_length: Annotated[int, Meta(ge=3, le=4096)]
    sot: Annotated[int, Meta(ge=0)]
    eot: Annotated[int, Meta(ge=0)]
    pad: Annotated[int, Meta(ge=0)]


class Scoring(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How cosines become scores: softmax(scale * cos) or sigmoid(scale * cos + bias).

    `logit_scale` is the multiplier itself, not its logarithm.
    """

    kind: Literal["softmax", "sigmoid"]
    logit_scale: float
    logit_bias: float | None = None


class Licence(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The licence of a set of weights."""

    name: str
    url: str
    commercial_use: bool


class TensorSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One input or output of an artifact. `kind` is `image` where the runtime takes a pixel buffer."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "int32"]
    kind: Literal["tensor", "image"] = "tensor"


@dataclass(frozen=True)
class HubFile:
    """A published checkpoint on the Hugging Face hub."""

    repo: str
    filename: str


@dataclass(frozen=True)
class ModelSpec:
    """One row of the model table.

    `architecture` is the configuration that `build` takes: an open_clip configuration where open_clip has the model.
    `image_params` and `text_params` count the unfused towers; tests check them against the built modules.
    """

    name: str
    family: str
    architecture: Mapping[str, Any]
    build: Callable[[ModelSpec], EncoderPair]
    preprocess: Preprocess
    tokenizer: Tokenizer
    embed_dim: int
    image_params: int
    text_params: int
    licence: Licence
    scoring: Literal["softmax", "sigmoid"] = "softmax"
    hub: HubFile | None = None
    demo_weights: str | None = None  # file below edgeclip/models/demo/
    published: Mapping[str, str] = field(default_factory=dict)

    @property
    def file_stem(self) -> str:
        """`mobileclip-s0` -> `mobileclip_s0`, as in `mobileclip_s0_image.mlpackage`."""
        return self.name.replace("-", "_")

    @property
    def default_weights(self) -> str:
        """What `--weights` means when it is not given."""
        return "hub" if self.hub else "demo"

    def input_shape(self, tower: Tower) -> tuple[int, ...]:
        """(1, 3, size, size) for images, (1, context_length) for texts."""
        size = self.preprocess.size
        return (1, 3, size, size) if tower == "image" else (1, self.tokenizer.context_length)
