"""`golden.json`: the twin of `golden.npz` for apps, which have no NumPy, with what they should ask of each artifact.

    {"schema": "edgeclip.golden/1",
     "images": [{"width", "height", "rgb": base64 of height x width x 3 bytes, "embedding": [D numbers]}, ...],
     "texts": [{"text", "ids": [context_length numbers], "embedding": [D numbers]}, ...],
     "min_cosine": {path of an artifact: the smallest cosine of its embeddings with these}}

Embeddings are the torch original's, as the shortest decimals that are the same float32 again. The floor is what `verify` asks
of the artifact: its scheme's, or what scheme `auto` promises; of a file of two towers, the smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta, Struct

from edgeclip.errors import BundleError
from edgeclip.golden import Golden
from edgeclip.manifest import Artifact, Bundle
from edgeclip.verify.thresholds import threshold_of

GOLDEN_JSON: Final = "golden.json"
SCHEMA: Final = "edgeclip.golden/1"
_MAX_BYTES = 256 * 1024 * 1024

Side = Annotated[int, Meta(ge=1, le=4096)]


class GoldenImage(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A picture as a pixel buffer holds it, and its embedding."""

    width: Side
    height: Side
    rgb: bytes
    embedding: tuple[float, ...]


class GoldenText(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A text, the ids that the tokenizer has to make of it, and its embedding."""

    text: str
    ids: tuple[Annotated[int, Meta(ge=0, lt=2**31)], ...]
    embedding: tuple[float, ...]


class GoldenJson(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `golden.json`."""

    schema: Literal["edgeclip.golden/1"]
    images: tuple[GoldenImage, ...]
    texts: tuple[GoldenText, ...]
    min_cosine: dict[str, Annotated[float, Meta(ge=0, le=1)]]


def golden_json(golden: Golden, artifacts: Sequence[Artifact]) -> GoldenJson:
    """What the file holds for these inputs, embeddings and artifacts."""
    _, height, width, _ = golden.images.shape
    images = (
        GoldenImage(width=width, height=height, rgb=pixels.tobytes(), embedding=_decimals(embedding))
        for pixels, embedding in zip(golden.images, golden.image_embeddings, strict=True)
    )
    texts = (
        GoldenText(text=str(text), ids=tuple(ids.tolist()), embedding=_decimals(embedding))
        for text, ids, embedding in zip(golden.texts, golden.text_ids, golden.text_embeddings, strict=True)
    )
    return GoldenJson(schema=SCHEMA, images=tuple(images), texts=tuple(texts), min_cosine=_floors(artifacts))


def write_golden_json(path: Path, golden: Golden, artifacts: Sequence[Artifact]) -> None:
    """Write the file."""
    path.write_bytes(encoded_golden_json(golden, artifacts))


def encoded_golden_json(golden: Golden, artifacts: Sequence[Artifact]) -> bytes:
    """The content of the file."""
    return msgspec.json.encode(golden_json(golden, artifacts)) + b"\n"


def read_golden_json(bundle: Bundle) -> GoldenJson | None:
    """A bundle's, after checking its hash; None where it was made before there was one. Raises BundleError at a damaged one."""
    if all(entry.path != GOLDEN_JSON for entry in bundle.manifest.files):
        return None
    return decode_golden_json(bundle.verified_file(GOLDEN_JSON))


def decode_golden_json(path: Path) -> GoldenJson:
    """Parse and check a file. Raises BundleError where it is damaged."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("larger than any")
        twin = msgspec.json.decode(path.read_bytes(), type=GoldenJson)
        _check(twin)
        return twin
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: damaged golden file ({error}); convert the model again") from error


def _check(twin: GoldenJson) -> None:
    """Raise ValueError where pictures are not of their size, or rows not of one length."""
    if not twin.images or not twin.texts:
        raise ValueError("no images or no texts")
    if any(len(image.rgb) != image.width * image.height * 3 for image in twin.images):
        raise ValueError("an image is not of its size")
    rows: tuple[GoldenImage | GoldenText, ...] = (*twin.images, *twin.texts)
    if len({len(row.embedding) for row in rows}) > 1 or len({len(text.ids) for text in twin.texts}) > 1:
        raise ValueError("rows of different lengths")
    if not any(rows[0].embedding):
        raise ValueError("an embedding without a direction")


def _decimals(embedding: np.ndarray) -> tuple[float, ...]:
    return tuple(float(str(value)) for value in embedding.astype(np.float32))


def _floors(artifacts: Sequence[Artifact]) -> dict[str, float]:
    floors: dict[str, float] = {}
    for artifact in sorted(artifacts, key=lambda one: one.path):
        floor = threshold_of(artifact).cosine_min
        floors[artifact.path] = min(floor, floors.get(artifact.path, floor))
    return floors
