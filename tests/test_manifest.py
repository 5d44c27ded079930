"""Manifests refuse whatever they do not know."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.errors import BundleError
from edgeclip.manifest import MANIFEST_FILE, Bundle, Manifest, content_sha256, read_manifest, tree_sha256

DIGEST = "0" * 64
TENSOR = {"name": "image", "shape": [1, 3, 64, 64], "dtype": "float32", "kind": "image"}
MANIFEST = {
    "schema": "edgeclip.bundle/1",
    "model": "tinyclip-demo",
    "weights": {
        "source": "demo",
        "sha256": DIGEST,
        "licence": {"name": "MIT", "url": "https://example.com", "commercial_use": True},
    },
    "image": {
        "size": 64,
        "resize": "shortest",
        "crop": "center",
        "interpolation": "bicubic",
        "antialias": True,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "color": "RGB",
        "range": [0.0, 1.0],
    },
    "text": {
        "tokenizer": "clip-bpe",
        "context_length": 77,
        "sot": 49406,
        "eot": 49407,
        "pad": 0,
        "vocab_size": 49408,
        "clean": "lower",
        "vocabulary": None,
    },
    "embedding": {"dim": 128, "l2_normalized": True, "space_id": "tinyclip-demo/0123456789abcdef"},
    "scoring": {"kind": "softmax", "logit_scale": 100.0, "logit_bias": None},
    "artifacts": [
        {
            "tower": "image",
            "target": "coreml",
            "backend": None,
            "scheme": "fp16",
            "path": "coreml/tinyclip_demo_image.mlpackage",
            "sha256": DIGEST,
            "size_bytes": 12,
            "inputs": [TENSOR],
            "outputs": [{"name": "final_emb_1", "shape": [1, 128], "dtype": "float32", "kind": "tensor"}],
            "min_os": "iOS17",
            "seed": 0,
            "layout": "ane",
            "token_table": None,
            "convention": "apple",
            "calibration": None,
            "min_cosine": None,
            "layers": None,
            "kept_fp32": [],
            "passes": [],
            "libraries": [],
            "method": "forward",
            "checked": "run",
            "delegates": {},
            "delegated_percent": None,
            "delegated_macs_percent": None,
            "left": [],
        }
    ],
    "tools": {"torch": "2.13.0"},
    "golden": "golden.npz",
    "files": [{"path": "golden.npz", "sha256": DIGEST, "size_bytes": 1}],
}


def _written(folder: Path, content: object) -> Path:
    path = folder / MANIFEST_FILE
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_what_is_written_reads_back_the_same(tmp_path):
    manifest = read_manifest(_written(tmp_path, MANIFEST))
    (tmp_path / MANIFEST_FILE).write_bytes(manifest.to_json())
    assert read_manifest(tmp_path / MANIFEST_FILE) == manifest
    assert json.loads(manifest.to_json()) == MANIFEST


def _changed(path: str, value: object) -> dict:
    content = copy.deepcopy(MANIFEST)
    *parents, last = path.split(".")
    place = content
    for key in parents:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("schema", "edgeclip.bundle/2", "schema"),
        ("model", 5, "model"),
        ("surprise", 1, "surprise"),
        ("image.surprise", 1, "surprise"),
        ("image.size", "64", "image.size"),
        ("image.size", -1, "image.size"),
        ("image.resize", "stretch", "image.resize"),
        ("image.mean", [0.0, 0.0], "image.mean"),
        ("text.tokenizer", "word2vec", "text.tokenizer"),
        ("scoring.kind", "argmax", "scoring.kind"),
        ("weights.sha256", "xyz", "weights.sha256"),
        ("weights.licence.commercial_use", "yes", "commercial_use"),
        ("artifacts.0.tower", "audio", "tower"),
        ("artifacts.0.size_bytes", -1, "size_bytes"),
        ("artifacts.0.inputs", None, "inputs"),
        ("tools.torch", 2.13, "tools"),
    ],
)
def test_unknown_or_wrong_values_are_named(tmp_path, path, value, named):
    with pytest.raises(BundleError) as error:
        read_manifest(_written(tmp_path, _changed(path, value)))
    assert named in str(error.value)
    assert str(tmp_path / MANIFEST_FILE) in str(error.value)


@pytest.mark.parametrize("field", sorted(set(MANIFEST) - {"files"}))
def test_a_missing_section_is_named(tmp_path, field):
    content = {key: value for key, value in MANIFEST.items() if key != field}
    with pytest.raises(BundleError, match=field):
        read_manifest(_written(tmp_path, content))


@pytest.mark.parametrize(
    "path",
    ["../other.pte", "/etc/passwd", "a/../../b", "C:\\x", "a\\b", "./a", "a//b", "", "a/", ".", "~/x:y", "a\0b"],
)
@pytest.mark.parametrize("field", ["artifacts.0.path", "golden", "files.0.path"])
def test_a_path_that_leaves_the_bundle_is_refused(tmp_path, field, path):
    with pytest.raises(BundleError, match="leaves the bundle or is not plain"):
        read_manifest(_written(tmp_path, _changed(field, path)))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00\x01", "[" * 100_000, '{"schema": NaN}'])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    with pytest.raises(BundleError):
        read_manifest(_written(tmp_path, content))


def test_two_entries_for_one_path_are_refused(tmp_path):
    content = copy.deepcopy(MANIFEST)
    content["artifacts"].append({**content["artifacts"][0], "scheme": "fp32"})
    with pytest.raises(BundleError, match="two entries"):
        read_manifest(_written(tmp_path, content))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(MANIFEST)), value=_json)
def test_any_value_anywhere_is_read_or_refused(tmp_path_factory, field, value):
    folder = tmp_path_factory.mktemp("any")
    try:
        manifest = read_manifest(_written(folder, {**MANIFEST, field: value}))
    except BundleError:
        return
    assert isinstance(manifest, Manifest)
    assert msgspec.to_builtins(manifest)[field] is not None


@given(cut=st.integers(0, 2000), byte=st.integers(0, 255))
def test_damaged_bytes_are_read_or_refused(tmp_path_factory, cut, byte):
    folder = tmp_path_factory.mktemp("bytes")
    content = bytearray(json.dumps(MANIFEST).encode())
    content[cut % len(content)] = byte
    (folder / MANIFEST_FILE).write_bytes(bytes(content))
    try:
        read_manifest(folder / MANIFEST_FILE)
    except BundleError:
        return


def test_a_link_out_of_the_bundle_is_refused(tmp_path):
    outside = tmp_path / "outside.npz"
    outside.write_bytes(b"x")
    folder = tmp_path / "bundle"
    folder.mkdir()
    _written(folder, MANIFEST)
    (folder / "golden.npz").symlink_to(outside)
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle.open(folder).locate("golden.npz")


def test_content_that_differs_from_its_hash_is_refused(tmp_path):
    _written(tmp_path, MANIFEST)
    (tmp_path / "golden.npz").write_bytes(b"x")
    with pytest.raises(BundleError, match=r"golden.npz: content differs from the hash in edgeclip.json"):
        Bundle.open(tmp_path).verified_file("golden.npz")
    with pytest.raises(BundleError, match="lists no file 'other'"):
        Bundle.open(tmp_path).verified_file("other")


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_what_is_no_bundle_is_said(tmp_path, name):
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle.open(tmp_path / name)


def test_a_folder_hash_covers_names_and_content(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    before = tree_sha256(tmp_path)
    (tmp_path / "two").rename(tmp_path / "three")
    renamed = tree_sha256(tmp_path)
    (tmp_path / "three").write_bytes(b"3")
    changed = content_sha256(tmp_path)
    assert len({before, renamed, changed}) == 3
    (tmp_path / "link").symlink_to(tmp_path / "three")
    with pytest.raises(BundleError, match="links are not allowed"):
        tree_sha256(tmp_path)
