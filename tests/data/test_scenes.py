"""Scenes are values: the same scene draws the same pixels, and its captions are true of it."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.data import scenes

scene_values = st.builds(
    scenes.Scene,
    **{name: st.sampled_from(values) for name, values in scenes.ATTRIBUTES.items()},
    seed=st.integers(0, 2**32 - 1),
)


@given(scene=scene_values, size=st.sampled_from([16, 64, 100]))
def test_drawing_is_deterministic_and_of_the_asked_size(scene, size):
    first, second = scenes.draw(scene, size), scenes.draw(scene, size)
    assert first.size == (size, size)
    assert first.mode == "RGB"
    assert first.tobytes() == second.tobytes()


@given(scene=scene_values)
def test_the_colour_is_in_the_picture(scene):
    plain = scenes.Scene(**{**vars(scene), "pattern": "solid", "size": "large"})
    pixels = np.asarray(scenes.draw(plain, 64).convert("HSV"), np.float32) / 255
    hue, saturation, _ = scenes.COLOURS[scene.colour]
    distance = np.abs((pixels[..., 0] - hue + 0.5) % 1 - 0.5)
    assert np.mean((distance < 0.06) & (pixels[..., 1] > 0.5 * saturation)) > 0.01


def test_pairs_are_split_evenly():
    assert len(scenes.ALL_PAIRS) == 64
    assert len(scenes.HELD_OUT_PAIRS) == 16
    assert set(scenes.SEEN_PAIRS) | set(scenes.HELD_OUT_PAIRS) == set(scenes.ALL_PAIRS)
    for colour in scenes.COLOURS:
        assert sum(pair[0] == colour for pair in scenes.HELD_OUT_PAIRS) == 2
    for shape in scenes.SHAPES:
        assert sum(pair[1] == shape for pair in scenes.HELD_OUT_PAIRS) == 2


def test_scenes_follow_their_seed_and_pairs():
    assert scenes.scenes(20, seed=3) == scenes.scenes(20, seed=3)
    assert scenes.scenes(20, seed=3) != scenes.scenes(20, seed=4)
    drawn = scenes.scenes(200, seed=5, pairs=scenes.SEEN_PAIRS)
    assert {(scene.colour, scene.shape) for scene in drawn} <= set(scenes.SEEN_PAIRS)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"colour": "red", "shape": "circle"}, "a red circle"),
        ({"colour": "orange"}, "an orange shape"),
        ({"count": "three", "shape": "cross"}, "three crosses"),
        ({"count": "one", "pattern": "dotted", "position": "middle"}, "one dotted shape in the middle"),
        (
            {"count": "two", "size": "large", "colour": "pink", "shape": "moon", "position": "top"},
            "two large pink moons at the top",
        ),
    ],
)
def test_phrases(attributes, words):
    assert scenes.phrase(attributes) == words


def test_matches_is_about_every_attribute():
    scene = scenes.random_scene(random.Random(0))
    assert scene.matches({"colour": scene.colour, "shape": scene.shape})
    assert not scene.matches({"colour": scene.colour, "shape": "none"})
