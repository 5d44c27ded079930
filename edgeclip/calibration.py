"""The inputs that data-dependent schemes look at: activation ranges are taken from them, and layers tried out on them.

By default drawn scenes and textures, and captions of everyday things, the same on every machine; all but the empty text
differ from the samples of `verify`. A user's own pictures and texts describe their use better.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeclip.data import scenes
from edgeclip.data.preprocess import preprocess_image
from edgeclip.data.tokenizer import TextTokenizer
from edgeclip.spec import Preprocess, Tower
from edgeclip.verify.samples import images_below, texts_in, texture

if TYPE_CHECKING:
    from PIL.Image import Image

    from edgeclip.models.weights import LoadedModel

_SEED = 50_000
_SCENES = 8
_TEXTURES = 3
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
    "MacBook Air M2, 16GB RAM!!!",
    "#sunset @beach :-)",
    "pneumonoultramicroscopicsilicovolcanoconiosis",
    "\tline one\n   line two   ",
    "garçon déjà vu, Łódź, façade",
    "🎂🎉 happy birthday 🥳",
    "собака бежит по снегу",
    "富士山の夕焼け",
    "강아지와 고양이",
    "قطة على الأريكة",
    "כלב בפארק",
    "γάτα στο παράθυρο",
    "",
    "an aerial photograph of a harbour with many small boats, taken on a cloudy morning in early spring, " * 4,
)


def _shade(width: int, height: int, seed: int) -> np.ndarray:
    """(height, width, 3) float in 0..255: an even change from one colour to another, as of a sky."""
    rng = np.random.RandomState(seed)
    first, second = rng.randint(0, 256, (2, 1, 1, 3))
    share = np.linspace(0, 1, height)[:, None, None]
    return np.broadcast_to(first * (1 - share) + second * share, (height, width, 3))


def _variants() -> Iterator[Image]:
    """Pictures that differ from scenes and textures in what photographs do: light, contrast, sharp edges, little colour."""
    from PIL import Image, ImageDraw

    ground = [np.asarray(texture(256, 256, seed=_SEED + 100 + k), np.float64) for k in range(6)]
    sky, ramp = _shade(256, 256, _SEED), np.linspace(0, 1, 256)[:, None, None]
    arrays = [
        np.where(ramp < 0.5, sky, 0.6 * ground[0]),  # a bright sky over a dark ground
        0.25 * ground[1],  # dark
        160 + 0.35 * ground[2],  # washed out
        np.repeat(ground[3].mean(2, keepdims=True), 3, 2),  # without colour
        255.0 * (np.repeat(ground[4].mean(2, keepdims=True), 3, 2) > 128),  # black and white
        np.clip(128 + 2.5 * (ground[5] - 128), 0, 255),  # hard contrast
        np.random.RandomState(_SEED).randint(0, 256, (256, 256, 3)),  # noise
        255.0 * ((np.arange(256)[:, None, None] // 12 + np.arange(256)[None, :, None] // 20) % 2) * np.ones(3),
    ]
    yield from (Image.fromarray(array.astype(np.uint8), "RGB") for array in arrays)
    rng = np.random.RandomState(_SEED)
    for _ in range(2):
        picture = Image.fromarray(_shade(256, 256, int(rng.randint(1 << 30))).astype(np.uint8), "RGB")
        draw = ImageDraw.Draw(picture)
        for _ in range(40):
            corners = rng.randint(-40, 296, (3, 2))
            draw.polygon([tuple(map(int, corner)) for corner in corners], fill=tuple(map(int, rng.randint(0, 256, 3))))
        yield picture


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
        yield from _variants()

    def captions(self) -> list[str]:
        """The texts, at most MAX_SAMPLES."""
        if self.texts is not None:
            return texts_in(self.texts, "--calibration-texts", MAX_SAMPLES)
        drawn = scenes.scenes(_SCENES, seed=_SEED)
        return [scenes.phrase({name: getattr(s, name) for name in scenes.ATTRIBUTES}) for s in drawn] + list(_TEXTS)

    def is_drawn(self, tower: Tower) -> bool:
        """Whether the inputs of a tower are made up. The built-in texts are such as people write."""
        return tower == "image" and self.images is None

    def inputs(self, tower: Tower, preprocess: Preprocess, tokenizer: Callable[[], TextTokenizer]) -> np.ndarray:
        """As runners take them: (N, 3, H, W) float32 in [0, 1] or (N, L) int32 ids. tokenizer: asked for where it is needed."""
        if tower == "text":
            return tokenizer()(self.captions())
        return np.stack([preprocess_image(picture, preprocess) for picture in self.pictures()])

    def sha256(self, tower: Tower, preprocess: Preprocess, tokenizer: Callable[[], TextTokenizer]) -> str:
        """A hash of the inputs of a tower."""
        return hashlib.sha256(self.inputs(tower, preprocess, tokenizer).tobytes()).hexdigest()

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
        self._inputs: dict[Tower, np.ndarray] = {}
        self._embeddings: dict[Tower, np.ndarray] = {}

    def inputs(self, tower: Tower) -> np.ndarray:
        """As runners take them: (N, 3, H, W) float32 in [0, 1] or (N, L) int32 ids."""
        if tower not in self._inputs:
            self._inputs[tower] = self._calibration.inputs(tower, self._loaded.spec.preprocess, lambda: self._loaded.tokenizer)
        return self._inputs[tower]

    def embeddings(self, tower: Tower) -> np.ndarray:
        """(N, D) float32, by the torch original."""
        from edgeclip.reference.torch_runtime import original_runner

        if tower not in self._embeddings:
            self._embeddings[tower] = original_runner(self._loaded, tower).encode(self.inputs(tower))
        return self._embeddings[tower]

    def are_drawn(self, tower: Tower) -> bool:
        """Whether they are pictures that no user has, so that real ones may fare worse."""
        return self._calibration.is_drawn(tower)

    def sha256(self, tower: Tower) -> str:
        """A hash of the inputs of a tower."""
        return hashlib.sha256(self.inputs(tower).tobytes()).hexdigest()
