"""The vectors that the apps are tested with: they are what Python does, and Python refuses what the apps have to."""

from __future__ import annotations

import json
import shutil

import msgspec
import numpy as np
import pytest

from edgeclip.apps.index import read_index
from edgeclip.apps.label_bank import read_label_bank
from edgeclip.data.tokenizer import tokenizer_class
from edgeclip.errors import EdgeclipError
from edgeclip.golden_json import GOLDEN_JSON, decode_golden_json
from edgeclip.manifest import Bundle
from edgeclip.spec import Preprocess, Tokenizer
from tests.apps.kits import compare_images, compare_index
from tests.apps.other_vectors import write_index_vectors, write_scoring_vectors
from tests.apps.tables import differing
from tests.apps.token_vectors import MIN_TEXTS

pytestmark = pytest.mark.slow

TOKENIZERS = ("clip", "sentencepiece", "sentencepiece-bytes")


def _lines(path):
    return [json.loads(line) for line in path.read_text("ascii").split("\n") if line]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_line_is_what_the_bundled_tokenizer_makes(app_vectors, name):
    folder = app_vectors / "tokens"
    spec = msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=Tokenizer)
    rows = _lines(folder / f"{name}.jsonl")
    assert len(rows) == len({row["text"] for row in rows}) >= MIN_TEXTS
    assert all(len(row["ids"]) == spec.context_length for row in rows)
    some = rows[::97] + rows[-60:]
    found = tokenizer_class(spec).load(folder / name, spec)(row["text"] for row in some)
    np.testing.assert_array_equal(found, [row["ids"] for row in some])
    full = [row["ids"] for row in rows if row["ids"][-2] not in (spec.eot, spec.pad)]
    assert len(full) > 100
    assert all(ids[-1] == spec.eot for ids in full), "truncation keeps the end token"


def test_texts_are_of_all_kinds(app_vectors):
    texts = [row["text"] for row in _lines(app_vectors / "tokens" / "clip.jsonl")]
    assert "" in texts
    assert {10_000, 100_000} <= {len(text) for text in texts}
    assert all(
        any(mark in text for text in texts) for mark in ("&eacute;", "â€™", "\u200d", "\x1b[", "ﬁ", "ｶ", "’", "Σ", "\ufffd")
    )


def test_the_planes_are_swept(app_vectors):
    if differing():
        pytest.skip("another Unicode here: lines with characters that it changed are left out")
    seen = set("".join(row["text"] for row in _lines(app_vectors / "tokens" / "clip.jsonl")))
    for first, last in ((0, 0x3400), (0xA000, 0xAC00), (0xF900, 0x10000), (0x10000, 0x17000), (0x1F300, 0x1FB00)):
        assert {chr(code) for code in range(first, last) if not 0xD800 <= code < 0xE000} <= seen


def test_every_step_of_the_cleaning_does_something(app_vectors):
    rows = _lines(app_vectors / "cleaning.jsonl")
    assert len(rows) >= MIN_TEXTS
    for before, after in (("text", "ftfy"), ("ftfy", "unescaped"), ("unescaped", "lower"), ("lower", "canonicalize")):
        assert sum(row[before] != row[after] for row in rows) > 500, after


def test_pictures_and_rules_are_of_all_kinds(app_vectors):
    entries = json.loads((app_vectors / "images" / "index.json").read_text())
    shown = [entry for entry in entries if "error" not in entry]
    assert len(shown) == 200
    assert len(entries) == 205
    assert {entry["orientation"] for entry in shown} == set(range(1, 9))
    assert min(min(entry["width"], entry["height"]) for entry in shown) == 2
    rules = [msgspec.convert(rule["preprocess"], Preprocess) for entry in shown for rule in entry["expected"]]
    assert {rule.size for rule in rules} == {64, 224, 256, 384}
    assert {(rule.resize, rule.interpolation) for rule in rules} == {
        (resize, interpolation) for resize in ("shortest", "squash") for interpolation in ("bilinear", "bicubic")
    }
    for entry in shown:
        assert (app_vectors / "images" / entry["file"]).stat().st_size == entry["width"] * entry["height"] * 4


def test_what_equals_python_passes_and_what_does_not_fails(app_vectors, tmp_path):
    """A kit's pictures, were they Python's own; with rounding; and with one that is wrong."""
    shutil.copytree(app_vectors / "images", tmp_path / "images")
    same = compare_images(app_vectors, tmp_path)
    assert (same.max_difference, same.differing, same.min_cosine) == (0, 0, 1)
    file = tmp_path / "images" / "003-0.rgb"
    pixels = np.frombuffer(file.read_bytes(), np.uint8)
    file.write_bytes(np.where(pixels < 255, pixels + 1, pixels).astype(np.uint8).tobytes())
    close = compare_images(app_vectors, tmp_path)
    assert close.max_difference == 1
    assert 0.9999 <= close.min_cosine < 1
    file.write_bytes(np.where(pixels < 254, pixels + 2, pixels).astype(np.uint8).tobytes())
    with pytest.raises(AssertionError, match=r"1 pictures differ by more than 1: 003-0\.rgb .*: 2 of 255"):
        compare_images(app_vectors, tmp_path)
    file.write_bytes(pixels.tobytes()[:-3])
    with pytest.raises(AssertionError, match="bytes, not 64 x 64 x 3"):
        compare_images(app_vectors, tmp_path)
    file.unlink()
    with pytest.raises(AssertionError, match="was not written"):
        compare_images(app_vectors, tmp_path)


def test_an_index_that_a_kit_wrote_is_compared(app_vectors, tmp_path):
    with pytest.raises(AssertionError, match="was not written"):
        compare_index(app_vectors, tmp_path)
    shutil.copytree(app_vectors / "index" / "appended.edgeindex", tmp_path / "appended.edgeindex")
    compare_index(app_vectors, tmp_path)
    rows = tmp_path / "appended.edgeindex" / "embeddings.i8"
    rows.write_bytes(rows.read_bytes()[:-1] + b"\x01")
    with pytest.raises(AssertionError, match=r"embeddings\.i8 differs"):
        compare_index(app_vectors, tmp_path)


@pytest.mark.parametrize("name", ["photos", "interrupted"])
def test_searches_find_what_is_expected(app_vectors, name):
    index = read_index(app_vectors / "index" / f"{name}.edgeindex")
    expected = json.loads((app_vectors / "index" / "expected.json").read_text())
    for query, top in zip(expected["queries"], expected["top"], strict=True):
        hits = index.search(np.array(query, np.float32), len(top))
        assert [hit.id for hit in hits] == [hit["id"] for hit in top]
    first = [hit["id"] for hit in expected["top"][0][:2]]
    assert first == [index.ids[7], index.ids[len(index.ids) // 2]], "of equals, the earlier is first"


def test_the_label_bank_is_the_bundles(app_vectors):
    bank = read_label_bank(app_vectors / "labels" / "bank.safetensors")
    assert bank.space_id == Bundle.open(app_vectors / "bundle").manifest.embedding.space_id
    expected = json.loads((app_vectors / "labels" / "expected.json").read_text())
    np.testing.assert_array_equal(np.array(expected["embeddings"], np.float32), bank.embeddings)
    assert tuple(expected["labels"]) == bank.labels


def _open_bundle(path):
    bundle = Bundle.open(path)
    for entry in (*bundle.manifest.artifacts, *bundle.manifest.files):
        bundle.verified_path(entry)


def _load_tokenizer(path):
    spec = msgspec.json.decode((path / "spec.json").read_bytes(), type=Tokenizer)
    tokenizer_class(spec).load(path, spec)


def _tokenize(path):
    from edgeclip.data.clip_bpe import ClipBpe
    from edgeclip.models.openclip import CLIP_BPE

    ClipBpe.published(CLIP_BPE)([path.read_text("utf-8")])


READERS = {
    "manifest": _open_bundle,
    "labels": read_label_bank,
    "index": read_index,
    "golden": decode_golden_json,
    "tokenizer": _load_tokenizer,
    "text": _tokenize,
}


def test_python_refuses_every_hostile_file(app_vectors):
    """Each with an error that users can act on; the sound ones they were made of are read."""
    folder = app_vectors / "hostile"
    cases = json.loads((folder / "cases.json").read_text())
    assert {case["kind"] for case in cases} == READERS.keys() | {"mangled"}
    assert len(cases) > 150
    passed = []
    for case in cases:
        assert (folder / case["path"]).exists() or case["name"].endswith("missing"), case
        if case["kind"] == "mangled":
            continue
        try:
            READERS[case["kind"]](folder / case["path"])
        except EdgeclipError:
            continue
        passed.append(case["name"])
    assert passed == []


def test_what_the_hostile_files_were_made_of_is_read(app_vectors):
    read_label_bank(app_vectors / "labels" / "bank.safetensors")
    read_index(app_vectors / "index" / "appended.edgeindex")
    _open_bundle(app_vectors / "bundle")
    decode_golden_json(app_vectors / "bundle" / GOLDEN_JSON)


def test_the_vectors_are_the_same_every_time(app_vectors, tmp_path):
    write_index_vectors(tmp_path)
    write_scoring_vectors(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (app_vectors / path.relative_to(tmp_path)).read_bytes(), path.name
