"""The embedded demo weights know what they were trained on, and what they were not: by zero-shot classification."""

from __future__ import annotations

import json

import pytest

from edgeclip.classify import classify
from edgeclip.data import scenes
from edgeclip.models import MODELS
from edgeclip.models.demo import FOLDER

pytestmark = pytest.mark.slow

DEMOS = [name for name, spec in MODELS.items() if spec.demo_weights]
COUNT = 600  # scenes of each kind; seeds far from the training's
# pairs drawn, seed, candidates, least top-1
CASES = {
    "seen_pairs_among_all": (scenes.SEEN_PAIRS, 77_001, scenes.ALL_PAIRS, 0.95),
    "held_out_among_held_out": (scenes.HELD_OUT_PAIRS, 77_002, scenes.HELD_OUT_PAIRS, 0.90),
    "held_out_among_all": (scenes.HELD_OUT_PAIRS, 77_002, scenes.ALL_PAIRS, 0.75),
}


def label(pair):
    colour, shape = pair
    return scenes.phrase({"colour": colour, "shape": shape})


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", DEMOS)
def test_zero_shot(name, case, request, tmp_path):
    bundle = request.getfixturevalue("tiny_bundle" if name.startswith("tiny") else "mobile_bundle")
    pairs, seed, candidates, least = CASES[case]
    chosen = scenes.scenes(COUNT, seed, pairs)
    paths = [tmp_path / f"{index}.png" for index in range(COUNT)]
    for scene, path in zip(chosen, paths, strict=True):
        scenes.draw(scene, MODELS[name].preprocess.size).save(path)
    result = classify(bundle, paths, [label(pair) for pair in candidates], runtime="executorch")
    right = [
        image.scores[0].label == label((scene.colour, scene.shape)) for image, scene in zip(result.images, chosen, strict=True)
    ]
    assert sum(right) / COUNT >= least


@pytest.mark.parametrize("name", DEMOS)
def test_no_pair_is_both_seen_and_held_out(name):
    assert not set(scenes.SEEN_PAIRS) & set(scenes.HELD_OUT_PAIRS)
    recorded = json.loads((FOLDER / "figures.json").read_text())[name]["zero_shot_top1_percent"]
    assert all(recorded[case] >= 100 * least for case, (*_, least) in CASES.items())


def test_the_weights_fit_the_repository():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) < 16e6
