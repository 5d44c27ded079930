"""Label banks: written, read back, read by the safetensors library, and refused where they are none."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeclip.apps import label_bank
from edgeclip.apps.label_bank import LabelBank, read_label_bank, write_label_bank
from edgeclip.data.prompts import DEFAULT_TEMPLATES
from edgeclip.errors import InputError
from edgeclip.spec import Scoring

LABELS = ("a dog", "ein Kätzchen", "狗", 'quoted "label"')


@pytest.fixture
def bank():
    rows = np.random.default_rng(0).standard_normal((len(LABELS), 24)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scoring = Scoring(kind="sigmoid", logit_scale=117.3, logit_bias=-12.9)
    return LabelBank("0123abcd", LABELS, ("{}", "a photo of {}"), scoring, rows)


@pytest.mark.parametrize(("dtype", "tolerance"), [("F16", 2**-12), ("F32", 0)])
def test_a_bank_reads_back(bank, tmp_path, dtype, tolerance):
    path = tmp_path / "labels.safetensors"
    write_label_bank(path, bank, dtype)
    found = read_label_bank(path)
    assert replace(found, embeddings=None) == replace(bank, embeddings=None)
    assert found.embeddings.dtype == np.float32
    np.testing.assert_allclose(found.embeddings, bank.embeddings, rtol=0, atol=tolerance)
    before = path.read_bytes()
    write_label_bank(path, bank, dtype)
    assert path.read_bytes() == before


def test_it_is_a_safetensors_file(bank, tmp_path):
    from safetensors import safe_open

    path = tmp_path / "labels.safetensors"
    write_label_bank(path, bank)
    with safe_open(path, "numpy") as other:
        assert json.loads(other.metadata()["labels"]) == list(LABELS)
        assert other.metadata()["space_id"] == bank.space_id
        np.testing.assert_array_equal(other.get_tensor("embeddings"), bank.embeddings.astype(np.float16))


def test_the_file_of_the_library_reads(bank, tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "labels.safetensors"
    scoring = {"kind": "softmax", "logit_scale": 50.0}
    metadata = {
        "schema": "edgeclip.labels/1",
        "space_id": "x",
        "labels": json.dumps(LABELS),
        "templates": '["{}"]',
        "scoring": json.dumps(scoring),
    }
    save_file({"embeddings": bank.embeddings}, path, metadata)
    assert read_label_bank(path).scoring == Scoring(kind="softmax", logit_scale=50.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": ()}, "needs labels"),
        ({"labels": ("a", "b", " ", "c")}, "none of them blank"),
        ({"labels": ("a", "b", "a", "c")}, "twice"),
        ({"labels": ("a", "b")}, "2 labels and embeddings of shape"),
        ({"templates": ("a photo",)}, "once each"),
        ({"templates": ()}, "once each"),
        ({"scoring": Scoring(kind="softmax", logit_scale=float("nan"))}, "no positive number"),
        ({"scoring": Scoring(kind="softmax", logit_scale=0.0)}, "no positive number"),
        ({"embeddings": np.full((4, 24), np.nan, np.float32)}, "length 1"),
        ({"embeddings": np.ones((4, 24), np.float32)}, "length 1"),
        ({"embeddings": np.zeros((4, 0), np.float32)}, "values each"),
    ],
)
def test_what_is_no_bank_is_not_written(bank, tmp_path, change, said):
    path = tmp_path / "labels.safetensors"
    with pytest.raises(InputError, match=rf"labels\.safetensors: not a label bank .*{said}"):
        write_label_bank(path, replace(bank, **change))
    assert list(tmp_path.iterdir()) == []


def _with_header(content, change):
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + content[8 + length :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:7],
        lambda content: content[:200],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: struct.pack("<Q", 2**63) + content[8:],
        lambda content: _with_header(content, lambda header: header.pop("__metadata__")),
        lambda content: _with_header(content, lambda header: header.update(other=header["embeddings"])),
        lambda content: _with_header(content, lambda header: header["__metadata__"].update(schema="edgeclip.labels/2")),
        lambda content: _with_header(content, lambda header: header["__metadata__"].update(labels="[1, 2, 3, 4]")),
        lambda content: _with_header(content, lambda header: header["__metadata__"].update(labels="[" * 100_000)),
        lambda content: _with_header(content, lambda header: header["embeddings"].update(shape=[2**40, 2**40])),
        lambda content: _with_header(content, lambda header: header["embeddings"].update(data_offsets=[0, 2**40])),
        lambda content: _with_header(content, lambda header: header["embeddings"].update(shape=[0, 24])),
        lambda content: _with_header(content, lambda header: header["embeddings"].update(dtype="I8")),
    ],
)
def test_damaged_files_are_refused(bank, tmp_path, damage):
    path = tmp_path / "labels.safetensors"
    write_label_bank(path, bank)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"labels\.safetensors: not a label bank \("):
        read_label_bank(path)


def test_a_bank_that_no_app_would_read_is_neither_written_nor_read(bank, tmp_path, monkeypatch):
    path = tmp_path / "bank.safetensors"
    write_label_bank(path, bank)
    monkeypatch.setattr(label_bank, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="over 100"):
        read_label_bank(path)
    path.unlink()
    with pytest.raises(InputError, match="apps read 100 and"):
        write_label_bank(path, bank)
    assert not path.exists()


def test_a_bank_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.safetensors: no such file; make a label bank with `edgeclip labels`"):
        read_label_bank(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        read_label_bank(tmp_path)


_IOS = "ios/EdgeClipKit/Sources/EdgeClipCore/LabelBank.swift"
_ANDROID = "android/edgeclip/src/main/kotlin/dev/edgeclip/core/LabelBank.kt"


@pytest.mark.parametrize("core", [_IOS, _ANDROID])
def test_apps_put_labels_into_the_templates_of_classify(core):
    assert json.dumps(DEFAULT_TEMPLATES)[1:-1] in (Path(__file__).parents[2] / "sample_apps" / core).read_text()
