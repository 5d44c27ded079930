"""`--data demo`: procedural scenes, the same on every machine.

Classes are the 64 pairs of a colour and a shape. The pictures are the first of those that the demo models' own figures are from
(`edgeclip/models/demo/figures.json`: `seen_pairs_among_all` and `held_out_among_all`, by `scripts/train_demo.py`): of three
quarters the pair was in training, of one quarter it was not. For retrieval there are scenes with a sentence that names all they
show, in two wordings; no two share it.
"""

from __future__ import annotations

from edgeclip.data import scenes
from edgeclip.evaluation.datasets import CaptionedPictures, DrawnPicture, EvaluationData, LabelledPictures

DEMO = "demo"
_PARTS = (("seen", 10_001, scenes.SEEN_PAIRS, 750), ("held-out", 10_002, scenes.HELD_OUT_PAIRS, 250))
_CAPTIONED, _CAPTIONED_SEED = 200, 10_003
_WORDINGS = ("{}", "a drawing of {}")


def demo_data(size: int) -> EvaluationData:
    """Scenes of `size` x `size` pixels."""
    return EvaluationData(DEMO, labelled=_labelled(size), captioned=_captioned(size))


def _labelled(size: int) -> LabelledPictures:
    classes = tuple(scenes.phrase({"colour": colour, "shape": shape}) for colour, shape in scenes.ALL_PAIRS)
    pictures, labels = [], []
    for part, seed, pairs, count in _PARTS:
        for index, scene in enumerate(scenes.scenes(count, seed, pairs)):
            pictures.append(DrawnPicture(f"{part} scene {index}", scene, size))
            labels.append(scenes.ALL_PAIRS.index((scene.colour, scene.shape)))
    return LabelledPictures(classes, tuple((name,) for name in classes), tuple(pictures), tuple(labels))


def _captioned(size: int) -> CaptionedPictures:
    distinct: dict[str, scenes.Scene] = {}
    for scene in scenes.scenes(2 * _CAPTIONED, _CAPTIONED_SEED):
        distinct.setdefault(scenes.phrase({name: getattr(scene, name) for name in scenes.ATTRIBUTES}), scene)
    chosen = list(distinct.items())[:_CAPTIONED]
    pictures = tuple(DrawnPicture(f"captioned scene {index}", scene, size) for index, (_, scene) in enumerate(chosen))
    captions = tuple(wording.format(phrase) for phrase, _ in chosen for wording in _WORDINGS)
    return CaptionedPictures(pictures, captions, tuple(index for index in range(len(chosen)) for _ in _WORDINGS))
