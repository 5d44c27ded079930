"""`golden.npz`: a few inputs with the torch original's embeddings, so that an app can test itself on the device.

Arrays: `images` (N, H, W, 3) uint8 as a pixel buffer holds them, `image_embeddings` (N, D) float32; `texts` (M)
unicode, `text_ids` (M, L) int32, `text_embeddings` (M, D) float32.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeclip.data import scenes
from edgeclip.data.preprocess import preprocess_image, to_pixels
from edgeclip.errors import BundleError
from edgeclip.manifest import Bundle
from edgeclip.spec import Tower

if TYPE_CHECKING:
    from edgeclip.models.weights import LoadedModel

_SCENES = 4
_SEED = 30_000
_EXTRA_TEXTS = ("", "a photo of a dog, running", "iPhone 15 Pro", "café, naïve, Größe", "日本語の写真", "👩‍👩‍👧 🚀")
_ARRAYS = ("images", "image_embeddings", "texts", "text_ids", "text_embeddings")


@dataclass(frozen=True)
class Golden:
    """The arrays of a golden file."""

    images: np.ndarray
    image_embeddings: np.ndarray
    texts: np.ndarray
    text_ids: np.ndarray
    text_embeddings: np.ndarray

    def inputs(self, tower: Tower) -> np.ndarray:
        """A tower's inputs as runners take them."""
        if tower == "text":
            return self.text_ids
        pixels = np.ascontiguousarray(self.images.transpose(0, 3, 1, 2), np.float32)
        pixels /= np.float32(255)
        return pixels

    def embeddings(self, tower: Tower) -> np.ndarray:
        """The original's embeddings of a tower's inputs."""
        return self.text_embeddings if tower == "text" else self.image_embeddings


def make_golden(loaded: LoadedModel) -> Golden:
    """Draw the inputs for a loaded model, and compute their embeddings."""
    from edgeclip.reference.torch_runtime import original_runner

    spec = loaded.spec
    chosen = scenes.scenes(_SCENES, seed=_SEED)
    pixels = np.stack([preprocess_image(scenes.draw(s, spec.preprocess.size), spec.preprocess) for s in chosen])
    captions = [scenes.phrase({name: getattr(s, name) for name in scenes.ATTRIBUTES}) for s in chosen]
    texts = np.array([*captions, *_EXTRA_TEXTS])
    ids = loaded.tokenizer(texts.tolist())
    return Golden(
        images=np.stack([to_pixels(image) for image in pixels]),
        image_embeddings=original_runner(loaded, "image").encode(pixels),
        texts=texts,
        text_ids=ids,
        text_embeddings=original_runner(loaded, "text").encode(ids),
    )


def write_golden(path: Path, golden: Golden) -> None:
    """Write a golden file."""
    np.savez_compressed(path, **{name: getattr(golden, name) for name in _ARRAYS})


def read_golden(bundle: Bundle) -> Golden:
    """Read a bundle's golden file, after checking its hash."""
    path = bundle.verified_file(bundle.manifest.golden)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            golden = Golden(**{name: arrays[name] for name in _ARRAYS})
        _check(golden)
        return golden
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: damaged golden file ({error}); convert the model again") from error


def _check(golden: Golden) -> None:
    """Raise ValueError where the arrays are not of one another's sizes."""
    images, texts = golden.images, golden.texts
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or texts.ndim != 1 or golden.text_ids.ndim != 2:
        raise ValueError("arrays of other shapes or types")
    rows = ((images, golden.image_embeddings), (texts, golden.text_embeddings), (texts, golden.text_ids))
    if any(len(given) != len(found) or found.ndim != 2 for given, found in rows):
        raise ValueError("arrays of different lengths")
