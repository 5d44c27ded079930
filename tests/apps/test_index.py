"""Search indexes: rows as the apps store them, appends that were interrupted, damage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgeclip.apps.index import append_rows, quantized, read_index
from edgeclip.errors import InputError, UsageError

DIM = 24
FILES = ("embeddings.i8", "scales.f32", "ids.txt")


def _rows(count, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "photos.edgeindex"
    append_rows(path, "space", [f"photo {k}" for k in range(40)], _rows(40))
    return path


def test_rows_are_found_by_their_cosine(path):
    index, rows = read_index(path), _rows(40)
    assert index.space_id == "space"
    assert index.values.dtype == np.int8
    np.testing.assert_allclose(index.embeddings(), rows, atol=0.5 / 127)
    for row in (0, 17, 39):
        hits = index.search(rows[row], 5)
        assert (hits[0].id, hits[0].row) == (f"photo {row}", row)
        expected = np.argsort(-(index.embeddings().astype(np.float64) @ rows[row]))[:5]
        assert [hit.row for hit in hits] == expected.tolist()
        assert hits[0].score == pytest.approx(1, abs=0.01)
    assert len(index.search(rows[0], 1000)) == 40


def test_of_equals_the_earlier_is_first(tmp_path):
    rows = _rows(3)
    append_rows(tmp_path / "x", "space", list("abcdef"), np.concatenate([rows, rows]))
    assert [hit.id for hit in read_index(tmp_path / "x").search(rows[1], 2)] == ["b", "e"]


def test_appended_rows_are_behind_the_others(path):
    append_rows(path, "space", ["été 😀", "b c"], _rows(2, seed=1))
    index = read_index(path)
    assert index.ids[39:] == ("photo 39", "été 😀", "b c")
    np.testing.assert_array_equal(index.embeddings()[:40], _stored(_rows(40)))
    np.testing.assert_array_equal(index.embeddings()[40:], _stored(_rows(2, seed=1)))
    append_rows(path, "space", [], np.zeros((0, DIM)))
    assert len(read_index(path).ids) == 42


def _stored(rows):
    values, scales = quantized(rows)
    return values.astype(np.float32) * scales[:, None]


def test_an_interrupted_append_is_ignored_and_overwritten(path):
    before = {name: (path / name).read_bytes() for name in FILES}
    for name in FILES:
        (path / name).write_bytes(before[name] + b"garbage without an end")
    index = read_index(path)
    assert len(index.ids) == len(index.values) == len(index.scales) == 40
    append_rows(path, "space", ["new"], _rows(1, seed=1))
    assert read_index(path).ids[-1] == "new"
    for name in FILES:
        assert (path / name).read_bytes().startswith(before[name])
    assert (path / "embeddings.i8").stat().st_size == 41 * DIM
    assert (path / "ids.txt").read_text().endswith("photo 39\nnew\n")


def test_an_append_that_dies_before_the_commit_changes_nothing(path, monkeypatch):
    from edgeclip.apps import index as module

    def die(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_whole", die)
    with pytest.raises(InputError, match="cannot be written"):
        append_rows(path, "space", ["new"], _rows(1, seed=1))
    assert len(read_index(path).ids) == 40


def test_an_empty_index_has_no_hits(tmp_path):
    append_rows(tmp_path / "x", "space", [], np.zeros((0, DIM)))
    assert read_index(tmp_path / "x").search(np.ones(DIM), 3) == ()


@given(arrays.arrays(np.int16, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.integers(-1000, 1000)))
def test_a_row_is_its_values_by_its_scale(whole):
    rows = whole.astype(np.float32) / np.float32(300)
    if not whole.any(axis=1).all():
        with pytest.raises(UsageError, match="zero or not finite"):
            quantized(rows)
        return
    values, scales = quantized(rows)
    assert (np.abs(values.astype(int)).max(axis=1) == 127).all()
    assert (np.abs(values * scales[:, None] - rows) <= scales[:, None] * 0.5001).all()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e-44])
def test_what_no_search_would_find_is_refused(path, value):
    rows = _rows(2)
    rows[1] = value
    with pytest.raises(UsageError, match="zero or not finite"):
        append_rows(path, "space", ["a", "b"], rows)
    assert len(read_index(path).ids) == 40


@pytest.mark.parametrize(
    ("space", "ids", "rows", "said"),
    [
        ("other", ["a"], _rows(1), "is of space space, 24 values a row; these are of other, 24"),
        ("space", ["a"], _rows(1)[:, :5], "24 values a row; these are of space, 5"),
        ("space", ["a", "b"], _rows(1), "2 ids for embeddings"),
        ("space", ["a\nb"], _rows(1), "is no id"),
        ("space", [""], _rows(1), "is no id"),
        ("space", ["x" * 5000], _rows(1), "is no id"),
        ("space", ["\ud800"], _rows(1), "not Unicode text"),
        ("space", ["a"], _rows(1)[0], "embeddings of shape"),
    ],
)
def test_rows_of_something_else_are_refused(path, space, ids, rows, said):
    with pytest.raises(UsageError, match=rf"photos\.edgeindex: .*{said}"):
        append_rows(path, space, ids, rows)
    assert len(read_index(path).ids) == 40


@pytest.mark.parametrize("query", [np.ones(DIM - 1), np.full(DIM, np.nan), np.ones((1, DIM))])
def test_queries_of_something_else_are_refused(path, query):
    with pytest.raises(UsageError, match="24 finite values"):
        read_index(path).search(query, 3)
    with pytest.raises(UsageError, match="one row or more"):
        read_index(path).search(np.ones(DIM), 0)


def _restate(path, **changes):
    head = json.loads((path / "index.json").read_text())
    (path / "index.json").write_text(json.dumps(head | changes))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: _restate(path, rows=41), "has 960 bytes, 41 rows need 984"),
        (lambda path: _restate(path, rows=-1), "index.json"),
        (lambda path: _restate(path, rows=10**12), "index.json"),
        (lambda path: _restate(path, dim=0), "index.json"),
        (lambda path: _restate(path, schema="edgeclip.index/2"), "index.json"),
        (lambda path: _restate(path, more=1), "index.json"),
        (lambda path: (path / "index.json").write_text("[" * 60_000), "index.json"),
        (lambda path: (path / "index.json").write_bytes(b" " * 70_000), "larger than any"),
        (lambda path: (path / "scales.f32").write_bytes(b"\0" * 159), "scales.f32 has 159 bytes, 40 rows need 160"),
        (lambda path: (path / "scales.f32").write_bytes(b"\xff" * 160), "no positive number"),
        (lambda path: (path / "scales.f32").write_bytes(b"\0" * 160), "no positive number"),
        (lambda path: (path / "ids.txt").write_text("a\n" * 39), "no id for row 39"),
        (lambda path: (path / "ids.txt").write_text("a\n" * 39 + "b"), "no id for row 39"),
        (lambda path: (path / "ids.txt").write_text("a\n" * 38 + "\nb\n"), "no id for row 38"),
        (lambda path: (path / "ids.txt").write_text("a" * 9000 + "\n" * 40), "no id for row 0"),
        (lambda path: (path / "ids.txt").write_bytes(b"\xff\n" * 40), "not UTF-8"),
    ],
)
def test_damage_is_named(path, damage, said):
    damage(path)
    with pytest.raises(InputError, match=rf"photos\.edgeindex: damaged search index \(.*{said}.*; delete it and index again"):
        read_index(path)


@pytest.mark.parametrize("name", ["embeddings.i8", "scales.f32", "ids.txt"])
def test_a_missing_file_is_named(path, name):
    (path / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: cannot be read"):
        read_index(path)
    (path / "index.json").unlink()
    with pytest.raises(InputError, match=r"photos\.edgeindex: no search index \(no index\.json\)"):
        read_index(path)
