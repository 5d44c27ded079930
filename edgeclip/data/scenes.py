"""Procedural scenes: coloured shapes on a plain ground, with captions that are true of them.

The same generator draws the demo models' training data, the pictures that `verify` and the tests feed to every model, and the
README's examples, so all of them work offline. A scene is a value: equal scenes draw equal pixels at a given size.
"""

from __future__ import annotations

import colorsys
import itertools
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
COLOURS: dict[str, tuple[float, float, float]] = {  # hue, saturation, value
    "red": (0.0, 0.90, 0.86),
    "orange": (0.075, 0.95, 0.98),
    "yellow": (0.15, 0.92, 0.97),
    "green": (0.34, 0.80, 0.62),
    "cyan": (0.50, 0.80, 0.85),
    "blue": (0.62, 0.85, 0.85),
    "purple": (0.765, 0.75, 0.65),
    "pink": (0.92, 0.45, 0.98),
}
SIZES = ("small", "large")
COUNTS = ("one", "two", "three")
POSITIONS = {  # words, and the centre as a share of width and height
    "left": ("on the left", (0.24, 0.5)),
    "right": ("on the right", (0.76, 0.5)),
    "top": ("at the top", (0.5, 0.24)),
    "bottom": ("at the bottom", (0.5, 0.76)),
    "middle": ("in the middle", (0.5, 0.5)),
}
PATTERNS = ("solid", "striped", "dotted")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "count": COUNTS,
    "size": SIZES,
    "pattern": PATTERNS,
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "position": tuple(POSITIONS),
}

Pair = tuple[str, str]
ALL_PAIRS: tuple[Pair, ...] = tuple(itertools.product(COLOURS, SHAPES))
# Two colours of every shape and two shapes of every colour are never drawn or named in training.
HELD_OUT_PAIRS: tuple[Pair, ...] = tuple(
    (colour, shape) for (c, colour), (s, shape) in itertools.product(enumerate(COLOURS), enumerate(SHAPES)) if c % 4 == s % 4
)
SEEN_PAIRS: tuple[Pair, ...] = tuple(pair for pair in ALL_PAIRS if pair not in HELD_OUT_PAIRS)

_Point = tuple[float, float]
_SUPERSAMPLING = 4


@dataclass(frozen=True)
class Scene:
    """One drawing: one to three equal objects. `seed` decides ground, jitter and noise."""

    count: str
    size: str
    pattern: str
    colour: str
    shape: str
    position: str
    seed: int

    def matches(self, attributes: dict[str, str]) -> bool:
        """Whether a caption made of `attributes` is true of this scene."""
        return all(getattr(self, name) == value for name, value in attributes.items())


def random_scene(rng: random.Random, pairs: Iterable[Pair] = ALL_PAIRS) -> Scene:
    """Draw all attributes independently, colour and shape from `pairs`."""
    colour, shape = rng.choice(tuple(pairs))
    return Scene(
        count=rng.choice(COUNTS),
        size=rng.choice(SIZES),
        pattern=rng.choice(PATTERNS),
        colour=colour,
        shape=shape,
        position=rng.choice(tuple(POSITIONS)),
        seed=rng.getrandbits(32),
    )


def scenes(count: int, seed: int, pairs: Iterable[Pair] = ALL_PAIRS) -> list[Scene]:
    """`count` scenes of a seeded generator: the same arguments give the same scenes."""
    rng = random.Random(seed)
    pairs = tuple(pairs)
    return [random_scene(rng, pairs) for _ in range(count)]


def phrase(attributes: dict[str, str]) -> str:
    """Words for some attributes of a scene.

    >>> phrase({"colour": "orange", "shape": "star"})
    'an orange star'
    >>> phrase({"count": "two", "size": "small", "position": "left"})
    'two small shapes on the left'
    """
    count = attributes.get("count")
    words = [attributes[name] for name in ("size", "pattern", "colour") if name in attributes]
    noun = attributes.get("shape", "shape")
    plural = count in ("two", "three")
    words.append((noun + "es" if noun.endswith("ss") else noun + "s") if plural else noun)
    if count:
        words.insert(0, count)
    else:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    if "position" in attributes:
        words.append(POSITIONS[attributes["position"]][0])
    return " ".join(words)


def draw(scene: Scene, size: int) -> Image:
    """Draw `scene` as an RGB picture of `size` x `size` pixels."""
    from PIL import Image, ImageDraw

    rng = random.Random(scene.seed)
    canvas = size * _SUPERSAMPLING
    mask = Image.new("L", (canvas, canvas), 0)
    pen = ImageDraw.Draw(mask)
    for x, y, radius, angle in _placements(scene, rng):
        _draw_shape(pen, scene.shape, x * canvas, y * canvas, radius * canvas, angle)
    alpha = np.asarray(mask.resize((size, size), Image.Resampling.BOX), np.float32) / 255.0
    alpha = alpha * _pattern_alpha(scene.pattern, size, rng)

    hue, saturation, value = COLOURS[scene.colour]
    colour = colorsys.hsv_to_rgb(
        (hue + rng.uniform(-0.012, 0.012)) % 1.0,
        min(1.0, saturation * rng.uniform(0.92, 1.05)),
        min(1.0, value * rng.uniform(0.92, 1.05)),
    )
    ground = _ground(size, rng)
    picture = ground + (np.asarray(colour, np.float32) - ground) * alpha[..., None]
    noise = np.random.RandomState(scene.seed & 0x7FFFFFFF).standard_normal((size, size, 1)).astype(np.float32)
    picture = picture + 0.012 * noise
    return Image.fromarray((picture.clip(0, 1) * 255 + 0.5).astype(np.uint8), "RGB")


def _placements(scene: Scene, rng: random.Random) -> list[tuple[float, float, float, float]]:
    """Centre x, y and radius as shares of the picture, and the rotation in radians, for each object."""
    count = COUNTS.index(scene.count) + 1
    largest = (0.22, 0.19, 0.145)[count - 1]
    radius = rng.uniform(0.14, largest) if scene.size == "large" else rng.uniform(0.1, 0.115)
    _, (centre_x, centre_y) = POSITIONS[scene.position]
    step = max(0.3, 2.3 * radius)
    side_by_side = centre_x == 0.5
    places = []
    for index in range(count):
        offset = (index - (count - 1) / 2) * step
        x = centre_x + (offset if side_by_side else 0.0) + rng.uniform(-0.015, 0.015)
        y = centre_y + (0.0 if side_by_side else offset) + rng.uniform(-0.015, 0.015)
        places.append((x, y, radius, rng.uniform(-0.22, 0.22)))
    return places


def _ground(size: int, rng: random.Random) -> np.ndarray:
    """A light or dark, nearly grey ground with a slight gradient: (size, size, 3) in [0, 1]."""
    level = rng.uniform(0.82, 0.96) if rng.random() < 0.6 else rng.uniform(0.08, 0.22)
    tint = np.array([rng.uniform(-0.03, 0.03) for _ in range(3)], np.float32)
    slope_x, slope_y = rng.uniform(-0.06, 0.06), rng.uniform(-0.06, 0.06)
    axis = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    plane = level + slope_x * axis[None, :] + slope_y * axis[:, None]
    return plane[..., None] + tint


def _pattern_alpha(pattern: str, size: int, rng: random.Random) -> np.ndarray:
    """Where a pattern lets the ground shine through: (size, size) in [0, 1]."""
    phase = rng.random()
    if pattern == "solid":
        return np.ones((size, size), np.float32)
    axis = np.arange(size, dtype=np.float32) / size
    if pattern == "striped":
        wave = np.sin(2 * math.pi * (12 * (axis[None, :] + axis[:, None]) + phase))
        return (0.5 + 1.5 * (wave + 0.35)).clip(0.3, 1)
    wave = np.sin(2 * math.pi * (12 * axis[None, :] + phase)) * np.sin(2 * math.pi * (12 * axis[:, None] + phase))
    return (0.5 - 2.5 * (wave - 0.45)).clip(0.25, 1)


def _polygon(points: Iterable[_Point], x: float, y: float, radius: float, angle: float) -> list[_Point]:
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x + radius * (cos * u - sin * v), y + radius * (sin * u + cos * v)) for u, v in points]


def _ring_points(n: int, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    angles = (2 * math.pi * k / n - math.pi / 2 for k in range(n))
    return [(radii[k % len(radii)] * math.cos(a), radii[k % len(radii)] * math.sin(a)) for k, a in enumerate(angles)]


def _heart_points() -> list[tuple[float, float]]:
    # The classic parametric heart, scaled into the unit disc.
    points = []
    for k in range(48):
        t = 2 * math.pi * k / 48
        u = 16 * math.sin(t) ** 3
        v = -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
        points.append((u / 16.5, (v + 2) / 16.5))
    return points


_ARM = 0.36
_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)],
    "triangle": [(0.0, -1.0), (0.95, 0.78), (-0.95, 0.78)],
    "star": _ring_points(10, (1.08, 0.44)),
    "heart": _heart_points(),
    "cross": [
        (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
        (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
    ],
}  # fmt: skip


def _draw_shape(pen: object, shape: str, x: float, y: float, radius: float, angle: float) -> None:
    def disc(cx: float, cy: float, r: float, fill: int) -> None:
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)  # type: ignore[attr-defined]

    if shape in _OUTLINES:
        pen.polygon(_polygon(_OUTLINES[shape], x, y, radius, angle), fill=255)  # type: ignore[attr-defined]
        return
    disc(x, y, radius, 255)
    if shape == "ring":
        disc(x, y, radius * 0.52, 0)
    elif shape == "moon":
        disc(x + 0.55 * radius * math.cos(angle), y + 0.55 * radius * math.sin(angle), radius * 0.82, 0)
