"""Pictures to the image tower's input, as the model's `Preprocess` says.

The pixels equal torchvision's `Resize` + `CenterCrop` + `ToTensor` on a PIL image, which is what open_clip and Apple's
MobileCLIP run; tests compare with it, bit for bit but for extreme panoramas.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edgeclip.errors import InputError
from edgeclip.spec import Preprocess

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_LONGEST = 8  # longer than this many times its width, a picture is cropped before it is scaled

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def load_image(path: Path) -> Image.Image:
    """Open a picture as a viewer shows it: EXIF rotation applied, transparency on white, 8-bit RGB."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path)
        picture.load()
        return as_rgb(ImageOps.exif_transpose(picture))
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: not an image that Pillow can read") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; scale it down first") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path}: broken image ({error})") from error


def as_rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow mode to RGB: 16-bit scaled rather than clipped, alpha laid on white."""
    if picture.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        values = np.asarray(picture).astype(np.int64)
        return Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8), "L").convert("RGB")
    if picture.mode == "F":
        values = np.nan_to_num(np.asarray(picture), nan=0.0)
        scale = 255.0 if values.max(initial=0.0) <= 1.0 else 1.0
        return Image.fromarray((values * scale).clip(0, 255).astype(np.uint8), "L").convert("RGB")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return picture.convert("RGB")


def preprocess_image(picture: Image.Image, spec: Preprocess) -> np.ndarray:
    """An RGB picture to (3, size, size) float32 in `spec.range`; mean and std are applied by the converted graph."""
    values = np.asarray(resize(picture, spec), np.float32).transpose(2, 0, 1) / 255.0
    low, high = spec.range
    return np.ascontiguousarray(values if (low, high) == (0.0, 1.0) else low + values * (high - low))


def resize(picture: Image.Image, spec: Preprocess) -> Image.Image:
    """Resize and crop to `size` x `size`."""
    width, height = picture.size
    size, resample = spec.size, _FILTERS[spec.interpolation]
    if spec.resize == "squash":
        return picture.resize((size, size), resample)
    # torchvision truncates the long side: int(size * long / short)
    short = min(width, height)
    scaled_width, scaled_height = int(size * width / short), int(size * height / short)
    left, top = round((scaled_width - size) / 2), round((scaled_height - size) / 2)
    if scaled_width * scaled_height <= _LONGEST * size * size:
        return picture.resize((scaled_width, scaled_height), resample).crop((left, top, left + size, top + size))
    # The same region in one step, equal but for rounding: at 20000 x 1 pixels the scaled picture would take gigabytes.
    step_x, step_y = width / scaled_width, height / scaled_height
    right, bottom = min((left + size) * step_x, float(width)), min((top + size) * step_y, float(height))
    return picture.resize((size, size), resample, box=(left * step_x, top * step_y, right, bottom))


def to_pixels(image: np.ndarray) -> np.ndarray:
    """(3, H, W) float32 in [0, 1] back to the (H, W, 3) uint8 picture that a pixel buffer holds; exact for k / 255."""
    pixels: np.ndarray = (image * 255.0).round().clip(0, 255).astype(np.uint8)
    return np.moveaxis(pixels, 0, 2)
