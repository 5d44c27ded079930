"""Pictures as a decoder gives them, and the pixels that the image tower has to get of them."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from edgeclip.data import scenes
from edgeclip.data.preprocess import load_image, resize
from edgeclip.errors import InputError
from edgeclip.models import MODELS
from edgeclip.spec import OPENAI_MEAN, OPENAI_STD, Preprocess

IMAGES = 200
_EXIF_ORIENTATION = 0x0112
_ORIENTATIONS = range(1, 9)
_ODD = (2, 3, 5, 7, 17, 31, 63, 64, 65, 97, 127, 129, 191, 223, 224, 225, 255, 257, 333)
_PANORAMAS = (
    (16384, 2),
    (2, 16384),
    (16384, 5),
    (3, 9000),
    (4000, 8),
    (9, 4100),
    (513, 64),
    (64, 513),
    (1000, 100),
    (90, 1111),
)
_LARGE = ((1280, 853), (853, 1280), (1023, 767), (900, 900))
# A picture of one pixel's width, or wider than any texture, is refused.
_REFUSED = ((1, 50), (50, 1), (1, 1), (16385, 2), (2, 16385))

_SHORTEST = Preprocess(
    size=64, resize="shortest", crop="center", interpolation="bicubic", antialias=True, mean=OPENAI_MEAN, std=OPENAI_STD
)
_SMALL = (
    _SHORTEST,
    msgspec.structs.replace(_SHORTEST, interpolation="bilinear"),
    msgspec.structs.replace(_SHORTEST, resize="squash", crop="none"),
    msgspec.structs.replace(_SHORTEST, resize="squash", crop="none", interpolation="bilinear"),
)
_PUBLISHED = ("mobileclip-s0", "tinyclip-vit-8m-16", "siglip-base-patch16-256", "siglip-so400m-14-384")


@dataclass(frozen=True)
class Picture:
    """pixels: (H, W, 4) uint8 with straight alpha, before `orientation` (of EXIF) is applied."""

    name: str
    pixels: np.ndarray
    orientation: int = 1


def write_image_vectors(out: Path) -> None:
    """Write `images/` below `out`."""
    folder = out / "images"
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for number, picture in enumerate(_pictures()):
        file = f"{number:03}.rgba"
        (folder / file).write_bytes(picture.pixels.tobytes())
        shown = _as_python_loads_it(picture)
        expected = []
        for place, rule in enumerate(_rules(number)):
            pixels = f"{number:03}-{place}.rgb"
            (folder / pixels).write_bytes(np.asarray(resize(shown, rule)).tobytes())
            expected.append({"preprocess": msgspec.to_builtins(rule), "file": pixels})
        entries.append(_entry(picture, file) | {"expected": expected})
    assert len(entries) == IMAGES
    entries += list(_refused(folder))
    (folder / "index.json").write_text(json.dumps(entries, indent=1), "utf-8")


def _entry(picture: Picture, file: str) -> dict[str, Any]:
    height, width, _ = picture.pixels.shape
    return {"name": picture.name, "width": width, "height": height, "orientation": picture.orientation, "file": file}


def _refused(folder: Path) -> Iterator[dict[str, Any]]:
    for number, (width, height) in enumerate(_REFUSED):
        picture = Picture(f"refused {width}x{height}", np.full((height, width, 4), 255, np.uint8))
        file = f"refused-{number}.rgba"
        (folder / file).write_bytes(picture.pixels.tobytes())
        try:
            _as_python_loads_it(picture)
        except InputError as error:
            yield _entry(picture, file) | {"expected": [], "error": str(error).partition(": ")[2]}


def _as_python_loads_it(picture: Picture) -> Image.Image:
    """Through a file, as `classify` gets it: PNG keeps every pixel, and an orientation."""
    opaque = bool((picture.pixels[..., 3] == 255).all())
    image = Image.fromarray(picture.pixels[..., :3] if opaque else picture.pixels, "RGB" if opaque else "RGBA")
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = picture.orientation
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        image.save(path, exif=exif, compress_level=1)
        return load_image(path)


def _rules(number: int) -> Iterator[Preprocess]:
    """Every rule at 64 pixels, at which the embedding is compared too; every fourth picture as a published model takes it."""
    yield from _SMALL
    if number % 4 == 0:
        yield MODELS[_PUBLISHED[number // 4 % len(_PUBLISHED)]].preprocess


def _pictures() -> Iterator[Picture]:
    rng, noise = random.Random(0), np.random.RandomState(0)  # whose stream is frozen (NEP 19)
    made = list(_fixed(noise))
    yield from made
    for number in range(IMAGES - len(made)):
        width, height = rng.choice(_ODD), rng.choice(_ODD)
        kind = rng.choice(tuple(_CONTENTS))
        pixels = _CONTENTS[kind](noise, width, height)
        alpha = rng.random() < 0.35
        orientation = rng.choice(_ORIENTATIONS) if number % 2 else 1
        yield Picture(f"{kind} {width}x{height}", _with_alpha(noise, pixels) if alpha else _opaque(pixels), orientation)


def _fixed(noise: np.random.RandomState) -> Iterator[Picture]:
    """One of each kind that goes wrong in practice."""
    for orientation in _ORIENTATIONS:
        pixels = np.asarray(scenes.draw(scenes.scenes(1, seed=orientation)[0], 96))
        yield Picture(f"scene turned {orientation}", _opaque(pixels[:70]), orientation)
        yield Picture(f"noise turned {orientation}", _with_alpha(noise, _noise(noise, 41, 29)), orientation)
    for width, height in (*_PANORAMAS, *_LARGE):
        yield Picture(f"panorama {width}x{height}", _opaque(_waves(noise, width, height)))
    for width, height in _PANORAMAS[::3]:
        yield Picture(f"panorama of noise {width}x{height}", _opaque(_noise(noise, width, height)), 6)
    for size in (2, 32, 64, 224, 256):
        yield Picture(f"as it is {size}", _opaque(_noise(noise, size, size)))
    for alpha in (0, 1, 127, 128, 254):
        pixels = _opaque(_noise(noise, 30, 50))
        pixels[..., 3] = alpha
        yield Picture(f"alpha {alpha}", pixels)
    grid = _opaque(_noise(noise, 64, 64))
    grid[..., 3] = np.arange(64 * 64).reshape(64, 64) % 256
    yield Picture("every alpha", grid)


def _noise(noise: np.random.RandomState, width: int, height: int) -> np.ndarray:
    return noise.randint(0, 256, (height, width, 3)).astype(np.uint8)


def _black_and_white(noise: np.random.RandomState, width: int, height: int) -> np.ndarray:
    """As far as a cubic filter can over- and undershoot."""
    return (noise.randint(0, 2, (height, width, 3)) * 255).astype(np.uint8)


def _checkers(noise: np.random.RandomState, width: int, height: int) -> np.ndarray:
    step = int(noise.randint(1, 5))
    cells = (np.arange(height)[:, None] // step + np.arange(width)[None] // step) % 2
    return np.repeat((cells * 255).astype(np.uint8)[..., None], 3, 2)


def _waves(noise: np.random.RandomState, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    phases = noise.uniform(0, 6.28, 3)
    waves = [np.sin(x / (3.0 + 4 * k) + y / (9.0 - 2 * k) + phase) for k, phase in enumerate(phases)]
    return np.stack([(127.5 + 127.5 * wave).round() for wave in waves], 2).astype(np.uint8)


def _scene(noise: np.random.RandomState, width: int, height: int) -> np.ndarray:
    picture = scenes.draw(scenes.scenes(1, seed=int(noise.randint(10_000)))[0], 128)
    return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST))


_CONTENTS = {"noise": _noise, "black and white": _black_and_white, "checkers": _checkers, "waves": _waves, "scene": _scene}


def _opaque(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def _with_alpha(noise: np.random.RandomState, pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, noise.randint(0, 256, pixels.shape[:2]).astype(np.uint8)])
