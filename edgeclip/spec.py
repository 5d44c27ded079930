"""What a model is: its contract with the outside, free of torch.

`Preprocess`, `Tokenizer`, `Scoring` and `Licence` are also the manifest's sections, so their field names are a file format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    """How a text becomes the text tower's input: (1, context_length) int32 ids, `sot ... eot pad pad`.

    sot: None where texts have no start token. Over-long texts are cut so that `eot` stays. vocab_size: how many ids there are.
    clean: what is done to a text first. `lower`: mojibake and HTML entities repaired, whitespace folded, lower case;
    `canonicalize`: that, with `_` as a space and ASCII punctuation taken out. vocabulary: where a manifest's tokenizer
    comes from: `hub:REPO/FILE`, `file:NAME`, or `stand-in`, made up for weights that were never trained; None: CLIP's own.
    """

    tokenizer: Literal["clip-bpe", "sentencepiece"]
    context_length: Annotated[int, Meta(ge=3, le=4096)]
    sot: Annotated[int, Meta(ge=0)] | None = None
    eot: Annotated[int, Meta(ge=0)]
    pad: Annotated[int, Meta(ge=0)]
    vocab_size: Annotated[int, Meta(ge=3)] = 49408
    clean: Literal["lower", "canonicalize"] = "lower"
    vocabulary: str | None = None

    def framed(self, ids: Sequence[int]) -> list[int]:
        """The ids of a text as a row of the tower's input, (context_length).

        >>> Tokenizer(tokenizer="clip-bpe", context_length=6, sot=7, eot=9, pad=0).framed([3, 4])
        [7, 3, 4, 9, 0, 0]
        """
        start = [] if self.sot is None else [self.sot]
        row = [*[*start, *ids][: self.context_length - 1], self.eot]
        return row + [self.pad] * (self.context_length - len(row))


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
    """A published checkpoint on the Hugging Face hub; `sha256` of its content where the hub shows it publicly."""

    repo: str
    filename: str
    sha256: str | None = None


@dataclass(frozen=True)
class Published:
    """What is stated of a model in public.

    Parameters are in millions and multiply-accumulates (MACs) in billions, each of the image tower, the text tower or both
    together; `text_millions` leaves the token table out where `without_token_table` says so. Latencies are of image and text
    tower in milliseconds. source: addresses.
    """

    source: str
    image_millions: float | None = None
    text_millions: float | None = None
    total_millions: float | None = None
    without_token_table: bool = False
    image_gmacs: float | None = None
    text_gmacs: float | None = None
    total_gmacs: float | None = None
    imagenet_top1_percent: float | None = None
    latency_ms_iphone_12_pro_max: tuple[float, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """The stated figures alone."""
        return {key: value for key, value in vars(self).items() if value is not None and value is not False}


# The shape of one of a model's tensors in a checkpoint, None where the file has none.
ShapeOf = Callable[[str], "tuple[int, ...] | None"]


@dataclass(frozen=True)
class ModelSpec:
    """One row of the model table.

    `architecture` is the configuration that `build` takes: an open_clip configuration where open_clip has the model.
    `layouts` names those of `edgeclip.models.layouts` that the checkpoint is published in. `image_params` and `text_params`
    count the unfused towers; tests check them against the built modules. A checkpoint is published on the hub, or at the
    address `download`, from where users fetch it themselves. `fitted` is for models whose checkpoints differ in shape: it gives
    the row with the architecture of one file, whose tensors' shapes it asks for by our names.
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
    layouts: tuple[str, ...]
    scoring: Literal["softmax", "sigmoid"] = "softmax"
    hub: HubFile | None = None
    download: str | None = None
    vocabulary: HubFile | None = None  # of the tokenizer, where that comes with the checkpoint
    demo_weights: str | None = None  # file below edgeclip/models/demo/
    published: Published | None = None
    stem: str | None = None  # of artifacts, where apps know the model by another name than ours
    other_names: tuple[str, ...] = ()  # under which the hub or other libraries have it, beside `hub.repo`
    fitted: Callable[[ModelSpec, ShapeOf], ModelSpec] | None = None

    @property
    def file_stem(self) -> str:
        """`mobileclip-s0` -> `mobileclip_s0`, as in `mobileclip_s0_image.mlpackage`."""
        return self.stem or self.name.replace("-", "_")

    @property
    def aliases(self) -> tuple[str, ...]:
        """What else a user may call the model by."""
        return ((self.hub.repo,) if self.hub else ()) + self.other_names

    @property
    def default_weights(self) -> str:
        """What `--weights` means when it is not given. What is neither on the hub nor here is refused with its address."""
        return "demo" if self.demo_weights else "hub"

    @property
    def published_at(self) -> str:
        """Where the weights are: `hub:REPO/FILE`, the address of a file, or `demo`."""
        if self.hub:
            return f"hub:{self.hub.repo}/{self.hub.filename}"
        return self.download or "demo"

    def input_shape(self, tower: Tower) -> tuple[int, ...]:
        """(1, 3, size, size) for images, (1, context_length) for texts."""
        size = self.preprocess.size
        return (1, 3, size, size) if tower == "image" else (1, self.tokenizer.context_length)
