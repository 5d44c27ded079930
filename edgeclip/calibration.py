"""The inputs that data-dependent schemes look at: activation ranges are taken from them, and layers tried out on them.

By default drawn scenes and textures, and captions of everyday things, the same on every machine; none of them is among
the samples of `verify`. A user's own pictures and texts describe their use better.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeclip.data import scenes
from edgeclip.data.preprocess import preprocess_image
from edgeclip.data.tokenizer import ClipBpe
from edgeclip.spec import Tower
from edgeclip.verify.samples import images_below, texts_in, texture

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgeclip.models.weights import LoadedModel

_SEED = 50_000
_SCENES = 12
_TEXTURES = 4
MAX_SAMPLES = 64  # every layer runs on all of them, for every scheme it might take
_TEXTS = (
    "a bowl of soup on a wooden table",
    "two children playing football in the rain",
    "the skyline of a city at dusk",
    "a close-up of a bee on a yellow flower",
    "an old red truck parked beside a barn",
    "screenshot of a spreadsheet",
    "a handwritten note that says 'back in 5 minutes'",
    "grandma's birthday, 1987",
    "snow",
    "a person wearing a blue jacket and sunglasses, looking at the sea from a cliff",
    "receipt for coffee and a croissant, 7.40 EUR",
    "black and white portrait of a musician",
)


@dataclass(frozen=True)
class Calibration:
    """Which inputs to look at: a folder of pictures and a file of one text a line, or None for the default ones."""

    images: Path | None = None
    texts: Path | None = None

    def pictures(self) -> Iterator[Image]:
        """The pictures, at most MAX_SAMPLES."""
        if self.images is not None:
            found = images_below(self.images, "--calibration-images", MAX_SAMPLES)
            yield from (picture for _, picture in found)
            return
        yield from (scenes.draw(scene, 256) for scene in scenes.scenes(_SCENES, seed=_SEED))
        yield from (texture(256, 256, seed=_SEED + k) for k in range(_TEXTURES))

    def captions(self) -> list[str]:
        """The texts, at most MAX_SAMPLES."""
        if self.texts is not None:
            return texts_in(self.texts, "--calibration-texts", MAX_SAMPLES)
        drawn = scenes.scenes(_SCENES, seed=_SEED)
        return [scenes.phrase({name: getattr(s, name) for name in scenes.ATTRIBUTES}) for s in drawn] + list(_TEXTS)

    def check(self) -> None:
        """Raise InputError where the user's files cannot be read."""
        if self.images is not None:
            for _ in self.pictures():
                pass
        if self.texts is not None:
            self.captions()


class Samples:
    """Calibration inputs of one model, prepared once, with what the original makes of them."""

    def __init__(self, loaded: LoadedModel, calibration: Calibration) -> None:
        self._loaded = loaded
        self._calibration = calibration

    @functools.cache  # noqa: B019 - lives as long as one conversion
    def inputs(self, tower: Tower) -> np.ndarray:
        """As runners take them: (N, 3, H, W) float32 in [0, 1] or (N, L) int32 ids."""
        spec = self._loaded.spec
        if tower == "text":
            return ClipBpe.published(spec.tokenizer)(self._calibration.captions())
        return np.stack([preprocess_image(picture, spec.preprocess) for picture in self._calibration.pictures()])

    @functools.cache  # noqa: B019
    def embeddings(self, tower: Tower) -> np.ndarray:
        """(N, D) float32, by the torch original."""
        from edgeclip.reference.torch_runtime import original_runner

        return original_runner(self._loaded, tower).encode(self.inputs(tower))

    def sha256(self, tower: Tower) -> str:
        """A hash of the inputs of a tower."""
        return hashlib.sha256(self.inputs(tower).tobytes()).hexdigest()
