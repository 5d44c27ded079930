"""Whole evaluations of a converted demo model, against what other ways compute of the same pictures."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass, replace

import numpy as np
import pytest

from edgeclip.classify import classify
from edgeclip.data import scenes
from edgeclip.data.preprocess import load_image, preprocess_image
from edgeclip.errors import EdgeclipError
from edgeclip.evaluation.encoder import Contender
from edgeclip.evaluation.evaluate import EvalOptions, evaluate
from edgeclip.evaluation.intervals import paired_interval
from edgeclip.evaluation.workers import Workers
from edgeclip.manifest import MANIFEST_FILE, Bundle
from edgeclip.models.demo import FOLDER
from edgeclip.models.originals import load_original
from edgeclip.models.towers import build_tower
from edgeclip.progress import silent

pytestmark = pytest.mark.slow

COLOURS = tuple(scenes.COLOURS)
TEMPLATES = ("{}", "a drawing of {}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six drawings of each colour, below folders c0, c1, ...; of c0 one is in fact of another colour."""
    root = tmp_path_factory.mktemp("classes")
    every = [replace(scene, pattern="solid", size="large") for scene in scenes.scenes(6 * len(COLOURS), seed=90_001)]
    for index, scene in enumerate(every):
        label = index % len(COLOURS)
        true = COLOURS[3] if index == 0 else COLOURS[label]
        (root / f"c{label}").mkdir(exist_ok=True)
        scenes.draw(replace(scene, colour=true), 80).save(root / f"c{label}" / f"{index}.png")
    (root / "classnames.txt").write_text("".join(f"c{k}\ta {name} shape\n" for k, name in enumerate(COLOURS)))
    return root


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Twenty drawings with two captions each; of two more, one is broken and one is missing."""
    root = tmp_path_factory.mktemp("pairs")
    lines = []
    for index, scene in enumerate(scenes.scenes(20, seed=90_002)):
        scenes.draw(scene, 64).save(root / f"{index}.png")
        words = scenes.phrase({name: getattr(scene, name) for name in scenes.ATTRIBUTES})
        lines.append({"image": f"{index}.png", "captions": [words, f"a picture of {words}"]})
    (root / "broken.png").write_bytes((root / "0.png").read_bytes()[:200])
    lines[7:7] = [{"image": name, "captions": ["nothing"]} for name in ("broken.png", "missing.png")]
    (root / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def test_classes_in_every_runtime(cli, tiny_bundle, folder, tmp_path):
    templates = [option for template in TEMPLATES for option in ("--template", template)]
    options = ["--data", folder, *templates, "--min-top1", 100, "--max-drop", 50, "--confusion", tmp_path / "c.csv"]
    result = cli("eval", tiny_bundle, *options, "--json")
    assert result.status == 1, "one picture is in the wrong folder"
    found = result.json
    assert (found["classes"], found["images"], found["top5_k"], found["retrieval"]) == (8, 48, 5, None)
    rows = {row["runtime"]: row for row in found["rows"]}
    assert list(rows) == ["torch", "executorch", "mil"] or list(rows) == ["torch", "mil", "executorch"]
    assert [check["passed"] for check in found["checks"] if check["name"] == "min_top1"] == [False, False]
    assert [check["passed"] for check in found["checks"] if check["name"] == "max_drop_top1"] == [True, True]

    # The same by `classify`, which ranks each picture's labels.
    pictures = sorted(folder.glob("*/*.png"))
    labels = [f"a {name} shape" for name in COLOURS]
    wanted = [labels[int(path.parent.name[1:])] for path in pictures]
    first = {}
    for runtime, row in rows.items():
        images = classify(tiny_bundle, pictures, labels, templates=TEMPLATES, runtime=runtime).images
        places = np.array([[s.label for s in i.scores].index(w) for i, w in zip(images, wanted, strict=True)])
        first[runtime] = np.array([image.scores[0].label for image in images])
        assert row["top1"] == pytest.approx(100 * np.mean(places == 0))
        assert row["top5"] == pytest.approx(100 * np.mean(places < 5))
        by_class = {w: np.mean([p == 0 for p, v in zip(places, wanted, strict=True) if v == w]) for w in labels}
        assert row["per_class"] == pytest.approx(100 * np.mean(list(by_class.values())))
        assert row["class_top1"] == pytest.approx({f"c{k}": 100 * by_class[w] for k, w in enumerate(labels)})
    right = {runtime: chosen == np.array(wanted) for runtime, chosen in first.items()}
    for runtime in ("executorch", "mil"):
        row, these, those = rows[runtime], right[runtime], right["torch"]
        table = (these & those).sum(), (these & ~those).sum(), (~these & those).sum(), (~these & ~those).sum()
        assert row["agreement"] == pytest.approx(100 * np.mean(first[runtime] == first["torch"]))
        assert row["difference_percent"] == pytest.approx(row["top1"] - rows["torch"]["top1"])
        assert row["difference_interval"] == pytest.approx([100 * limit for limit in paired_interval(*map(int, table))])
    assert rows["torch"]["top1"] > 80

    with (tmp_path / "c.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["runtime"] == "torch"]
    assert sum(int(line["pictures"]) for line in lines) == 48
    assert sum(int(line["pictures"]) for line in lines if line["class"] == line["taken_for"]) == right["torch"].sum()


def test_captions_in_two_processes_and_unreadable_pictures(cli, tiny_bundle, pairs):
    refused = cli("eval", tiny_bundle, "--data", pairs, "--runtime", "executorch")
    assert refused.status == 2
    assert "2 of 22 pictures cannot be read (--skip-bad leaves them out)" in refused.error
    assert "broken.png: broken image" in refused.error
    assert "missing.png: no such image" in refused.error

    options = EvalOptions(runtimes=("executorch",), skip_bad=True)
    one, two = (evaluate(tiny_bundle, pairs, replace(options, jobs=jobs)) for jobs in (1, 2))
    assert [name for name, _ in one.bad] == ["broken.png", "missing.png"]
    assert (one.pairs_images, one.pairs_captions) == (20, 40)
    unlike = {"images_per_second": 0.0}
    assert [replace(row, **unlike) for row in one.retrieval] == [replace(row, **unlike) for row in two.retrieval]
    assert one.bad == two.bad

    # The original's recall once more, picture by picture and caption by caption.
    loaded = load_original(Bundle.open(tiny_bundle).manifest)
    from edgeclip.data.reference_tokenizer import reference_ids
    from edgeclip.reference.torch_runtime import TorchRunner

    lines = [line for line in map(json.loads, (pairs / "captions.jsonl").read_text().splitlines()) if "m" not in line["image"]]
    lines = [line for line in lines if line["image"] != "broken.png"]
    captions = [(caption, k) for k, line in enumerate(lines) for caption in line["captions"]]
    pixels = np.stack([preprocess_image(load_image(pairs / line["image"]), loaded.spec.preprocess) for line in lines])
    ids = reference_ids([caption for caption, _ in captions], loaded.tokenizer)
    towers = {tower: TorchRunner(build_tower(loaded.pair, loaded.spec, tower)) for tower in ("image", "text")}
    cosines = towers["image"].encode(pixels) @ towers["text"].encode(ids).T
    row = one.retrieval[0]
    for k in (1, 5, 10):
        texts = [any(captions[c][1] == i for c in np.argsort(-cosines[i], kind="stable")[:k]) for i in range(20)]
        images = [captions[c][1] in np.argsort(-cosines[:, c], kind="stable")[:k] for c in range(40)]
        assert row.image_to_text.recall[k] == pytest.approx(100 * np.mean(texts))
        assert row.text_to_image.recall[k] == pytest.approx(100 * np.mean(images))
    assert row.image_to_text.recall[10] > 60


def test_the_demo_agrees_with_the_recorded_figures(tiny_bundle):
    """The first half of the pictures that the weights' own figures are from, by the artifact."""
    result = evaluate(tiny_bundle, "demo", EvalOptions(original=False, runtimes=("executorch",)))
    (row,) = result.rows
    recorded = json.loads((FOLDER / "figures.json").read_text())["tinyclip-demo"]["zero_shot_top1_percent"]
    held_out = {scenes.phrase({"colour": colour, "shape": shape}) for colour, shape in scenes.HELD_OUT_PAIRS}
    for among, figure, count in ((True, "held_out_among_all", 250), (False, "seen_pairs_among_all", 750)):
        pictures = {name: 0 for name in row.class_top1 if (name in held_out) == among}
        right = 0
        for (name, chosen), many in row.confusion.items():
            if name in pictures:
                pictures[name] += many
                right += many * (name == chosen)
        assert sum(pictures.values()) == count
        share = recorded[figure] / 100
        assert abs(right / count - share) < 3 * (share * (1 - share) / count) ** 0.5
    assert (row.agreement, row.difference_percent, result.original_missing) == (None, None, "left out by --no-torch")
    assert result.retrieval[0].text_to_image.recall[10] > 50, "of 200 pictures"


def test_without_the_original(cli, bundle_copy, folder):
    """Weights of a file that is not here: said, and an error where a difference is asked for."""
    file = bundle_copy / MANIFEST_FILE
    manifest = json.loads(file.read_text())
    manifest["weights"] |= {"source": "file:gone.pt", "sha256": "0" * 64}
    file.write_text(json.dumps(manifest))
    asked = ["eval", bundle_copy, "--data", folder, "--runtime", "executorch", "--per-class", 1]
    result = cli(*asked)
    assert result.status == 0
    assert "without the torch original, so without differences: the bundle was made from a file gone.pt" in result.out
    assert "8 pictures of 8 classes" in result.out
    assert "pass --weights FILE" in cli(*asked, "--max-drop", 1).error


@dataclass(frozen=True)
class Deadly:
    """A picture that ends the process which opens it, as running out of memory does."""

    name: str

    def open(self):
        os._exit(9)


def test_a_worker_that_dies_is_an_error(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    artifacts = {artifact.tower: artifact for artifact in bundle.manifest.artifacts if artifact.target == "executorch"}
    with (
        Workers(Contender(bundle, "executorch", artifacts), jobs=2) as workers,
        pytest.raises(EdgeclipError, match="--jobs 2: a worker process ended unexpectedly"),
    ):
        workers.pictures([Deadly("x")], silent)
