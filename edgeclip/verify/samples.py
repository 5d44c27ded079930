"""The inputs that `verify` feeds to everything: pictures that go wrong in practice, and texts that do.

Procedural pictures are written and read back through files' formats, so that rotation tags, palettes and transparency
are part of the test. Photographs come with scikit-learn and scikit-image where those are installed.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from edgeclip.data import scenes
from edgeclip.data.preprocess import IMAGE_SUFFIXES, as_rgb, load_image
from edgeclip.errors import InputError

_SEED = 40_000
_EXIF_ORIENTATION = 0x0112
MAX_TEXTS = 10_000
MAX_IMAGES = 2_000  # held as float32 at the model's size: 1.6 GB
MIN_SAMPLES = 2  # one alone cannot show that inputs are told apart

PHOTOGRAPHS = {
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "skimage": ("data/astronaut.png", "data/coffee.png", "data/chelsea.png", "data/camera.png", "data/coins.png"),
}

TEXTS = (
    "a photo of a dog",
    "a photo of a cat",
    "a red circle",
    "two small striped blue stars on the left",
    "a diagram",
    "a dog, running",
    "iphone 15",
    "iPhone 15 Pro Max, 256GB",
    "the Eiffel Tower at night",
    "A QUICK BROWN FOX JUMPS OVER THE LAZY DOG!",
    "it's we'll they've I'm you'd he's can't",
    "   leading,   inner\tand trailing   blanks \n",
    "",
    ".",
    "?!...;:-_()[]{}",
    "1234567890",
    "3.14159 x 2 = 6.28318",
    "naïve café, Größe, São Paulo, Ångström",
    "crème brûlée à la carte",
    "Привет, мир",
    "Καλημέρα κόσμε",
    "日本語の写真",
    "一只猫坐在沙发上",
    "사진 속의 강아지",
    "صورة كلب",
    "תמונה של חתול",
    "😀",
    "👩‍👩‍👧 family at the 🏖️ beach 🇫🇷",
    "a photo of a 🐶 and a 🐱",
    "&lt;b&gt;bold &amp;amp; bright&lt;/b&gt;",
    "https://example.com/photo.jpg?size=large",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "a very long caption that goes on and on, " * 20,
    "長い文章です。" * 40,
)


def default_images() -> Iterator[tuple[str, Image.Image]]:
    """Names and pictures: procedural ones in every shape and mode, then what photographs there are."""
    plain = scenes.scenes(6, seed=_SEED)
    for index, scene in enumerate(plain):
        yield f"scene {index}", scenes.draw(scene, (64, 96, 224, 256, 300, 512)[index])
    for name, make in _VARIANTS.items():
        yield name, _through_file(*make())
    for package, files in PHOTOGRAPHS.items():
        found = importlib.util.find_spec(package)
        for folder in found.submodule_search_locations or () if found else ():
            for file in files:
                path = Path(folder) / file
                if path.exists():
                    yield path.name, load_image(path)


def _through_file(picture: Image.Image, kind: str, exif_orientation: int | None = None) -> Image.Image:
    """Write and read a picture as a file of its kind, as a user's would be."""
    from PIL import ImageOps

    buffer = io.BytesIO()
    exif = Image.Exif()
    if exif_orientation:
        exif[_EXIF_ORIENTATION] = exif_orientation
    picture.save(buffer, kind, exif=exif) if exif_orientation else picture.save(buffer, kind)
    buffer.seek(0)
    return as_rgb(ImageOps.exif_transpose(Image.open(buffer)))


def texture(width: int, height: int, seed: int = _SEED) -> Image.Image:
    """A colourful picture with detail at every scale and no symmetry, (height, width)."""
    rng = np.random.RandomState(seed)
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(6):
        cells = 2 ** (octave + 1)
        small = Image.fromarray(rng.randint(0, 256, (cells, cells, 3)).astype(np.uint8), "RGB")
        total += np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32) / 2**octave
    low, high = total.min(), total.max()
    return Image.fromarray(((total - low) / (high - low) * 255).astype(np.uint8), "RGB")


def _scene(index: int, size: int = 256) -> Image.Image:
    return scenes.draw(scenes.scenes(index + 1, seed=_SEED + 1)[index], size)


def _with_alpha() -> tuple[Image.Image, str]:
    picture = _scene(0).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L"))
    return picture, "PNG"


_VARIANTS: dict[str, Callable[[], tuple[Image.Image, str] | tuple[Image.Image, str, int]]] = {
    "landscape": lambda: (texture(400, 180), "PNG"),
    "portrait": lambda: (texture(150, 420), "PNG"),
    "panorama": lambda: (texture(1200, 100), "PNG"),
    "tiny": lambda: (texture(20, 16), "PNG"),
    "grayscale": lambda: (texture(300, 240).convert("L"), "PNG"),
    "transparent": _with_alpha,
    "palette": lambda: (_scene(1).convert("P"), "GIF"),
    "rotated by EXIF": lambda: (texture(320, 200), "JPEG", 6),
    "mirrored by EXIF": lambda: (texture(320, 200), "JPEG", 2),
    "jpeg": lambda: (_scene(2), "JPEG"),
    "upside down": lambda: (_scene(3).rotate(180), "PNG"),
}


def images_below(folder: Path, option: str = "--images", most: int = MAX_IMAGES) -> Iterator[tuple[str, Image.Image]]:
    """The user's pictures, sorted by name. `option` is what errors name."""
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InputError(f"{option} {folder}: no pictures in it ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if not MIN_SAMPLES <= len(paths) <= most:
        raise InputError(f"{option} {folder}: {len(paths)} pictures; give {MIN_SAMPLES} to {most}")
    for path in paths:
        yield str(path.relative_to(folder)), load_image(path)


def texts_in(path: Path, option: str = "--texts", most: int = MAX_TEXTS) -> list[str]:
    """The user's texts, one a line, UTF-8. `option` is what errors name."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{option} {path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{option} {path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be read ({error.strerror})") from error
    if not MIN_SAMPLES <= len(lines) <= most:
        raise InputError(f"{option} {path}: {len(lines)} lines; give {MIN_SAMPLES} to {most}")
    return lines
