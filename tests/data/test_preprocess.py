"""Pictures are prepared as torchvision prepares them, whatever their shape and mode."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeclip.data.preprocess import as_rgb, load_image, preprocess_image, to_pixels
from edgeclip.errors import InputError
from edgeclip.models import MODELS
from edgeclip.models.torchvision_shim import declare_torchvision_ops
from edgeclip.spec import Preprocess

ONE_LEVEL = 1 / 255 + 1e-6


def _noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Detail at every scale: where a resampling differs, it shows."""
    values = np.random.RandomState(seed).randint(0, 256, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def _torchvision(picture: Image.Image, spec: Preprocess) -> np.ndarray:
    declare_torchvision_ops()
    from torchvision import transforms

    mode = transforms.InterpolationMode(spec.interpolation)
    resized = spec.size if spec.resize == "shortest" else (spec.size, spec.size)
    steps = [transforms.Resize(resized, interpolation=mode), transforms.CenterCrop(spec.size), transforms.ToTensor()]
    return transforms.Compose(steps)(picture).numpy()


@pytest.mark.parametrize("model", ["mobileclip-s0", "tinyclip-vit-8m-16"])
@settings(max_examples=40, deadline=None)
@given(short=st.integers(1, 500), ratio=st.floats(1, 7), upright=st.booleans())
def test_equals_torchvision_bit_for_bit(model, short, ratio, upright):
    spec = MODELS[model].preprocess
    long = int(short * ratio)
    picture = _noise(short, long) if upright else _noise(long, short)
    ours, theirs = preprocess_image(picture, spec), _torchvision(picture, spec)
    assert ours.shape == (3, spec.size, spec.size)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("size", [(3000, 200), (200, 3000), (4001, 301)])
def test_panoramas_nearly_equal_torchvision(size):
    """Pillow clips between its two passes, and may order them differently for a part: on noise, few pixels show it."""
    spec = MODELS["tinyclip-vit-8m-16"].preprocess
    picture = _noise(*size)
    difference = np.abs(preprocess_image(picture, spec) - _torchvision(picture, spec))
    assert np.quantile(difference, 0.97) <= ONE_LEVEL
    assert difference.max() < 0.1


def test_equals_open_clips_own_transform():
    declare_torchvision_ops()
    import open_clip

    spec = MODELS["tinyclip-vit-8m-16"].preprocess
    transform = open_clip.image_transform(spec.size, is_train=False, mean=spec.mean, std=spec.std)
    picture = _noise(500, 333)
    theirs = transform(picture).numpy()
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (spec.mean, spec.std))
    np.testing.assert_allclose((preprocess_image(picture, spec) - mean) / std, theirs, atol=ONE_LEVEL / min(spec.std))


@pytest.mark.parametrize("size", [(500, 333), (40, 700), (64, 64)])
def test_equals_open_clips_transform_for_siglip(size):
    """Its settings for SigLIP's weights, `_slpcfg`."""
    declare_torchvision_ops()
    import open_clip

    published = open_clip.pretrained.get_pretrained_cfg("ViT-B-16-SigLIP-256", "webli")
    names = ("mean", "std", "interpolation", "resize_mode")
    spec = MODELS["siglip-base-patch16-256"].preprocess
    transform = open_clip.image_transform(spec.size, is_train=False, **{name: published[name] for name in names})
    picture = _noise(*size)
    ours = (preprocess_image(picture, spec) - np.float32(spec.mean[0])) / np.float32(spec.std[0])
    np.testing.assert_allclose(ours, transform(picture).numpy(), atol=1e-6)


def test_squash_keeps_all_of_the_picture():
    spec = Preprocess(
        size=32, resize="squash", crop="none", interpolation="bilinear", antialias=True, mean=(0,) * 3, std=(1,) * 3
    )
    np.testing.assert_allclose(preprocess_image(_noise(100, 40), spec), _torchvision(_noise(100, 40), spec), atol=ONE_LEVEL)


@pytest.mark.parametrize("size", [(20_000, 30), (30, 20_000), (20_000, 1), (1, 1)])
def test_extreme_shapes_cost_no_more_than_a_square(size, monkeypatch):
    spec = MODELS["mobileclip-s0"].preprocess
    seen = []
    resize = Image.Image.resize
    monkeypatch.setattr(Image.Image, "resize", lambda self, to, *a, **k: seen.append(to) or resize(self, to, *a, **k))
    assert preprocess_image(Image.new("RGB", size, (10, 200, 30)), spec).shape == (3, 256, 256)
    assert seen == [(256, 256)]


def _saved(picture: Image.Image, folder: Path, name: str, **options: object) -> Path:
    path = folder / name
    picture.save(path, **options)
    return path


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    picture.paste((0, 0, 255), (20, 0, 40, 20))
    loaded = load_image(_saved(picture, tmp_path, "rotated.png", exif=exif))
    assert loaded.size == (20, 40)
    assert loaded.getpixel((10, 5)) == (255, 0, 0)
    assert loaded.getpixel((10, 35)) == (0, 0, 255)


def test_transparency_lies_on_white():
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (200, 100, 50, 255))
    flat = as_rgb(picture)
    assert flat.getpixel((0, 0)) == (255, 255, 255)
    assert flat.getpixel((1, 0)) == (200, 100, 50)


def test_a_transparent_palette_colour_lies_on_white(tmp_path):
    picture = Image.new("P", (2, 2))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    loaded = load_image(_saved(picture, tmp_path, "p.png", transparency=0))
    assert loaded.getpixel((0, 0)) == (255, 255, 255)
    assert loaded.getpixel((1, 0)) == (0, 255, 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "YCbCr"])
def test_every_mode_of_gray_and_rgb_becomes_rgb(mode):
    picture = Image.new(mode, (3, 2))
    assert as_rgb(picture).mode == "RGB"
    assert as_rgb(picture).size == (3, 2)


def _sixteen_bit_rgb() -> bytes:
    """A PNG of 4 x 4 pixels, 16 bits in each of three channels, which Pillow opens as RGB."""
    return _png(4, 4, bits=16, rows=(b"\x00" + bytes(range(24))) * 4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: Image.new("RGB", (1, 1)).save(path, "PNG"), "1 x 1 pixels; sides of 2 to 16384 are supported"),
        (lambda path: Image.new("RGB", (20_000, 30)).save(path, "PNG"), "20000 x 30 pixels; sides of 2 to 16384"),
        (lambda path: Image.new("RGB", (30, 20_000)).save(path, "PNG"), "30 x 20000 pixels; sides of 2 to 16384"),
        (lambda path: Image.new("CMYK", (9, 9)).save(path, "JPEG"), "CMYK colours"),
        (lambda path: Image.new("CMYK", (9, 9)).save(path, "TIFF"), "CMYK colours"),
        (lambda path: Image.new("I;16", (9, 9)).save(path, "PNG"), "more than 8 bits per channel"),
        (lambda path: Image.new("F", (9, 9)).save(path, "TIFF"), "more than 8 bits per channel"),
        (lambda path: path.write_bytes(_sixteen_bit_rgb()), "16 bits per channel"),
        (lambda path: Image.new("LAB", (9, 9)).save(path, "TIFF"), "LAB colours"),
    ],
)
def test_pictures_that_decoders_disagree_on_are_refused(tmp_path, make, said):
    path = tmp_path / "picture"
    make(path)
    with pytest.raises(InputError, match=said) as error:
        load_image(path)
    assert str(path) in str(error.value)


def _png(width: int, height: int, bits: int = 8, rows: bytes = b"") -> bytes:
    """A PNG of three channels; without rows, a few bytes that claim a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


_PNG = io.BytesIO()
_noise(30, 20).save(_PNG, "PNG")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an image"),
        (b"hello", "not an image"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (_PNG.getvalue()[:200], "broken image"),
        (_png(20_000, 20_000), "more than 89478485 pixels; scale it down first"),
        (_png(2_000_000_000, 1), "more than|broken image|not an image"),
    ],
)
def test_what_is_no_image_is_said(tmp_path, content, said):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        load_image(path)
    assert str(path) in str(error.value)


def test_formats_that_start_programs_are_not_opened(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="not an image that"):
        load_image(path)


def test_a_rule_that_no_model_has_is_refused():
    rule = Preprocess(
        size=8, resize="shortest", crop="none", interpolation="bilinear", antialias=True, mean=(0, 0, 0), std=(1, 1, 1)
    )
    with pytest.raises(InputError, match="crop none"):
        preprocess_image(Image.new("RGB", (9, 9)), rule)


def test_a_missing_image_and_a_folder_are_said(tmp_path):
    with pytest.raises(InputError, match="no such image"):
        load_image(tmp_path / "none.png")
    with pytest.raises(InputError, match=str(tmp_path)):
        load_image(tmp_path)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(_PNG.getvalue()) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_files_load_or_are_refused(tmp_path_factory, place, byte, cut):
    content = bytearray(_PNG.getvalue())
    content[place] = byte
    path = tmp_path_factory.mktemp("damaged") / "x.png"
    path.write_bytes(bytes(content[:place] if cut else content))
    with contextlib.suppress(InputError):
        assert load_image(path).mode == "RGB"


def test_pixels_come_back_exactly():
    values = np.arange(256, dtype=np.float32).reshape(1, 16, 16).repeat(3, axis=0) / 255
    np.testing.assert_array_equal(to_pixels(values)[..., 0].reshape(-1), np.arange(256))
