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
_SMALLEST_SIDE, _LARGEST_SIDE = 2, 16_384  # no GPU texture of iOS devices is larger (Metal Feature Set Tables)
_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"})
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # no others: some of Pillow's start programs
_LONGEST = 8  # longer than this many times its width, a picture is cropped before it is scaled

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def load_image(path: Path) -> Image.Image:
    """Open a picture as a viewer shows it: EXIF rotation applied, transparency on white, 8-bit RGB.

    Raises InputError if it is no picture, or one that an app's decoder may well show otherwise (CMYK, 16 bits).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=_FORMATS)
        if reason := _refusal(picture):
            raise InputError(f"{path}: {reason}")
        picture.load()
        return as_rgb(ImageOps.exif_transpose(picture))
    except FileNotFoundError:
        raise InputError(f"{path}: no such image") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, not an image") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: not an image that Pillow can read") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(f"{path}: more than {Image.MAX_IMAGE_PIXELS} pixels; scale it down first") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path}: broken image ({error})") from error


def _refusal(picture: Image.Image) -> str | None:
    """Why a picture's colours or shape would be a guess, or None."""
    width, height = picture.size
    if min(width, height) < _SMALLEST_SIDE or max(width, height) > _LARGEST_SIDE:
        return f"{width} x {height} pixels; sides of {_SMALLEST_SIDE} to {_LARGEST_SIDE} are supported"
    if picture.mode in _EIGHT_BIT_MODES:
        # Pillow drops the low byte of 16-bit colour; the decoder's raw mode still tells.
        deep = any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))
        return "16 bits per channel; convert it to 8 first" if deep else None
    if picture.mode.startswith(("I", "F")):
        return "more than 8 bits per channel; convert it to 8 first"
    return f"{picture.mode} colours, which mean nothing without a profile; convert it to RGB first"


def as_rgb(picture: Image.Image) -> Image.Image:
    """8 bits per channel, in any of Pillow's modes of gray or RGB, to RGB; alpha is laid on white."""
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
    """Resize and crop to `size` x `size`. Raises InputError for rules that no model here has."""
    if not spec.antialias or (spec.resize, spec.crop) not in (("shortest", "center"), ("squash", "none")):
        raise InputError(
            f"preprocessing with resize {spec.resize}, crop {spec.crop}, antialias {spec.antialias} is not supported"
        )
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
    # The same region in one step, equal but for rounding: at 16384 x 2 pixels the scaled picture would take gigabytes.
    step_x, step_y = width / scaled_width, height / scaled_height
    right, bottom = min((left + size) * step_x, float(width)), min((top + size) * step_y, float(height))
    return picture.resize((size, size), resample, box=(left * step_x, top * step_y, right, bottom))


def to_pixels(image: np.ndarray) -> np.ndarray:
    """(3, H, W) float32 in [0, 1] back to the (H, W, 3) uint8 picture that a pixel buffer holds; exact for k / 255."""
    pixels: np.ndarray = (image * 255.0).round().clip(0, 255).astype(np.uint8)
    return np.moveaxis(pixels, 0, 2)
