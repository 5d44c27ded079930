"""How what a kit's tests wrote is held against Python's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeclip.manifest import Bundle
from tests.apps.other_vectors import encode

MAX_DIFFERENCE = 1  # of 255
MIN_COSINE = 0.9999
_INDEX_FILES = ("index.json", "embeddings.i8", "scales.f32", "ids.txt")


@dataclass(frozen=True)
class ImageComparison:
    """The largest difference of a channel, of 255; the share of channels that differ; the smallest cosine."""

    pictures: int
    max_difference: int
    differing: float
    min_cosine: float


def compare_images(vectors: Path, out: Path) -> ImageComparison:
    """Hold the pixels below `out`/images against the vectors'. Fails where one is missing or of another size, or too far off.

    The cosine is between the image tower's embeddings of both, for those of the tower's size.
    """
    bundle = Bundle.open(vectors / "bundle")
    size = bundle.manifest.image.size
    largest, differing, channels, to_encode = 0, 0, 0, []
    wrong = []
    for entry in json.loads((vectors / "images" / "index.json").read_text("utf-8")):
        for expected in entry["expected"]:
            side, name = expected["preprocess"]["size"], expected["file"]
            ours, theirs = _pixels(vectors / "images" / name, side), _pixels(out / "images" / name, side)
            difference = np.abs(ours.astype(int) - theirs)
            largest, differing, channels = (
                max(largest, difference.max()),
                differing + (difference > 0).sum(),
                channels + ours.size,
            )
            if difference.max() > MAX_DIFFERENCE:
                rule = "{resize} {interpolation} {size}".format(**expected["preprocess"])
                wrong.append(f"{name} ({entry['name']}, turned {entry['orientation']}, {rule}): {difference.max()} of 255")
            if side == size:
                to_encode.append((f"{name} ({entry['name']})", ours, theirs))
    assert not wrong, f"{len(wrong)} pictures differ by more than {MAX_DIFFERENCE}: " + "; ".join(wrong[:10])
    cosines = _cosines(bundle, [ours for _, ours, _ in to_encode], [theirs for _, _, theirs in to_encode])
    least = int(cosines.argmin())
    assert cosines[least] >= MIN_COSINE, f"{to_encode[least][0]}: cosine {cosines[least]:.6f} at the embedding"
    return ImageComparison(len(to_encode), int(largest), float(differing / channels), float(cosines[least]))


def compare_index(vectors: Path, out: Path) -> None:
    """Hold `out`/appended.edgeindex against the vectors', byte for byte; `index.json` by what it says."""
    ours, theirs = vectors / "index" / "appended.edgeindex", out / "appended.edgeindex"
    for name in _INDEX_FILES:
        assert (theirs / name).is_file(), f"{theirs / name} was not written"
        if name == "index.json":
            assert json.loads((theirs / name).read_bytes()) == json.loads((ours / name).read_bytes())
        else:
            assert (theirs / name).read_bytes() == (ours / name).read_bytes(), f"{name} differs from Python's"
    assert {path.name for path in theirs.iterdir()} == set(_INDEX_FILES), "something else was left in the index"


def _pixels(path: Path, side: int) -> np.ndarray:
    assert path.is_file(), f"{path} was not written"
    content = path.read_bytes()
    assert len(content) == side * side * 3, f"{path} has {len(content)} bytes, not {side} x {side} x 3"
    return np.frombuffer(content, np.uint8).reshape(side, side, 3)


def _cosines(bundle: Bundle, ours: list[np.ndarray], theirs: list[np.ndarray]) -> np.ndarray:
    """Of the embeddings of each pair; equal pictures have equal embeddings."""
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=True)]
    cosines = np.ones(len(pairs))
    places = [place for place, (one, other) in enumerate(pairs) if not np.array_equal(one, other)]
    if not places:
        return cosines
    first, second = (
        encode(
            bundle, "image", np.stack([pairs[place][side] for place in places]).transpose(0, 3, 1, 2).astype(np.float32) / 255
        )
        for side in (0, 1)
    )
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines[places] = (first.astype(np.float64) * second).sum(1) / lengths
    return cosines
