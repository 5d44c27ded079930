"""A bundle, scores, a label bank, search indexes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgeclip.apps.index import append_rows, read_index
from edgeclip.apps.label_bank import LabelBank, read_label_bank, write_label_bank
from edgeclip.classify import score
from edgeclip.data.prompts import DEFAULT_TEMPLATES
from edgeclip.data.tokenizer import load_tokenizer
from edgeclip.manifest import Bundle
from edgeclip.pipeline import convert
from edgeclip.plugins import RUNTIMES
from edgeclip.recipe import TargetOptions
from edgeclip.spec import Scoring, Tower
from edgeclip.text_classifier import class_embeddings, class_prompts

DIM, ROWS, QUERIES, TOP = 96, 3_000, 24, 10
_COLOURS = ("red", "blue", "green", "yellow", "purple", "orange")
_SHAPES = ("circle", "star", "heart", "moon", "square", "ring", "triangle")


def write_bundle(out: Path, made: Path | None = None) -> Bundle:
    """Write `bundle/`: the TinyCLIP demo for both targets, copied from where it was made before, or made."""
    if made is None:
        convert("tinyclip-demo", [TargetOptions("coreml"), TargetOptions("executorch")], out / "bundle", force=True)
    else:
        shutil.copytree(made, out / "bundle")
    return Bundle.open(out / "bundle")


def encode(bundle: Bundle, tower: Tower, batch: np.ndarray) -> np.ndarray:
    """A tower's embeddings in the runtime that phones have."""
    runtime = RUNTIMES["executorch"].load()
    artifact = next(one for one in bundle.manifest.artifacts if (one.tower, one.target) == (tower, "executorch"))
    with runtime.open(bundle, artifact, runtime.modes(artifact.scheme)[0]) as runner:
        found: np.ndarray = runner.encode(batch)
        return found


def write_scoring_vectors(out: Path) -> None:
    """Write `scoring.json`."""
    rng = np.random.RandomState(0)
    rules = [
        *(Scoring(kind="softmax", logit_scale=scale) for scale in (1.0, 14.2857, 100.0, 1e4)),
        *(Scoring(kind="sigmoid", logit_scale=117.3308, logit_bias=bias) for bias in (-12.9324, 0.0, None, 900.0)),
        Scoring(kind="sigmoid", logit_scale=1e4, logit_bias=-1e4),
    ]
    cosines = [
        rng.uniform(-1, 1, (5, 7)),
        rng.uniform(0.15, 0.35, (2, 1000)),
        np.array([[0.25]]),
        np.array([[0.3, 0.3, 0.3], [1.0, -1.0, 0.0], [-1.0, -1.0, -1.0]]),
    ]
    with np.errstate(over="ignore"):
        cases = [
            {"scoring": msgspec.to_builtins(rule), "cosines": rows.tolist(), "scores": score(rows, rule).tolist()}
            for rule in rules
            for rows in cosines
        ]
    _write(out / "scoring.json", cases)


def write_label_vectors(out: Path, bundle: Bundle) -> None:
    """Write `labels/`: a bank of the bundle's own text tower in float16, and the same in float32."""
    folder = out / "labels"
    folder.mkdir(exist_ok=True)
    labels = (*(f"a {colour} {shape}" for colour in _COLOURS for shape in _SHAPES), 'zwei "rote" Kreise', "红色的圆 🔴")
    prompts = class_prompts(labels, DEFAULT_TEMPLATES)
    embeddings = class_embeddings(
        encode(bundle, "text", load_tokenizer(bundle)(prompts)), [len(DEFAULT_TEMPLATES)] * len(labels)
    )
    manifest = bundle.manifest
    bank = LabelBank(manifest.embedding.space_id, labels, DEFAULT_TEMPLATES, manifest.scoring, embeddings.astype(np.float32))
    for name, dtype in (("bank", "F16"), ("bank-f32", "F32")):
        write_label_bank(folder / f"{name}.safetensors", bank, dtype)
        stored = read_label_bank(folder / f"{name}.safetensors")
        file = folder / ("expected.json" if dtype == "F16" else "expected-f32.json")
        _write(
            file,
            {
                "space_id": stored.space_id,
                "labels": stored.labels,
                "templates": stored.templates,
                "scoring": msgspec.to_builtins(stored.scoring),
                "embeddings": _floats(stored.embeddings),
            },
        )


def write_index_vectors(out: Path) -> None:
    """Write `index/`: an index, one whose last append was interrupted, and one to be made of `append.json`."""
    folder, rng = out / "index", np.random.RandomState(1)
    folder.mkdir(exist_ok=True)
    rows = _unit(rng.standard_normal((ROWS, DIM)))
    rows[ROWS // 2] = rows[7]  # of equals, the earlier is first
    ids = [f"photos/{row:05}.jpg" for row in range(ROWS)]
    ids[1:4] = ["été à la plage.jpg", "日本 👩‍👩‍👧.heic", " leading and trailing blanks \t"]
    queries = np.concatenate([rows[[7, 0, ROWS - 1]], _unit(rng.standard_normal((QUERIES - 3, DIM)))])
    for name, tail in (("photos", b""), ("interrupted", b"\x7f rest of an append\nthat did not end")):
        path = folder / f"{name}.edgeindex"
        append_rows(path, "space of the vectors", ids[:1000], rows[:1000])
        append_rows(path, "space of the vectors", ids[1000:], rows[1000:])
        for file in ("embeddings.i8", "scales.f32", "ids.txt"):
            with (path / file).open("ab") as opened:
                opened.write(tail)
    index = read_index(folder / "photos.edgeindex")
    top = [[{"id": hit.id, "score": hit.score} for hit in index.search(query, TOP)] for query in queries]
    _check_gaps(index.embeddings(), queries)
    _write(folder / "expected.json", {"queries": _floats(queries), "top": top})
    _write_append(folder, rng)


def _check_gaps(embeddings: np.ndarray, queries: np.ndarray) -> None:
    """Neighbours in the list differ by more than sums in another order can, or not at all."""
    scores = np.sort(embeddings.astype(np.float64) @ queries.T.astype(np.float64), axis=0)[::-1][: TOP + 1]
    gaps = -np.diff(scores, axis=0)
    assert ((gaps > 1e-6) | (gaps == 0)).all()


def _write_append(folder: Path, rng: np.random.RandomState) -> None:
    """Batches of embeddings, with halves to round, and the index that they make."""
    halves = np.full((2, 8), 127.0, np.float32)
    halves[:, 1:] = [[0.5, 1.5, 2.5, -0.5, -1.5, 126.5, -126.5], [3.5, -127.0, 0.0, -0.0, 4.5, 63.5, -64.5]]
    batches = [
        {"ids": ["halves", "more halves"], "embeddings": halves},
        {"ids": ["café 😀"], "embeddings": rng.standard_normal((1, 8)) * 1e-3},
        {"ids": [], "embeddings": np.zeros((0, 8))},
        {"ids": [f"row {row}" for row in range(300)], "embeddings": _unit(rng.standard_normal((300, 8)))},
    ]
    stated = []
    for batch in batches:
        embeddings = np.asarray(batch["embeddings"], np.float32)
        append_rows(folder / "appended.edgeindex", "space of the vectors", batch["ids"], embeddings)
        stated.append({"ids": batch["ids"], "embeddings": _floats(embeddings)})
    _write(folder / "append.json", {"space_id": "space of the vectors", "dim": 8, "batches": stated})


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _floats(rows: np.ndarray) -> list[list[float]]:
    """float32 as the shortest decimals that are the same float32 again."""
    return [[float(str(value)) for value in row] for row in np.asarray(rows, np.float32)]


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")), "ascii")
