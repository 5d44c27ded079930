"""`golden.npz` and its twin for apps: they say the same, and what they cannot say is refused."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from edgeclip.bundle_writer import BundleWriter
from edgeclip.errors import BundleError
from edgeclip.golden import Golden, read_golden, write_golden
from edgeclip.golden_json import GOLDEN_JSON, read_golden_json, write_golden_json
from edgeclip.manifest import Artifact, Bundle, Embedding, FileEntry, Manifest, Weights, file_sha256
from edgeclip.models import MODELS
from edgeclip.spec import Scoring
from edgeclip.verify.contract import twin_differences

DIM = 6


def _artifact(path, scheme, tower="image", **more):
    stated = {
        "target": "coreml",
        "backend": None,
        "sha256": "0" * 64,
        "size_bytes": 1,
        "inputs": (),
        "outputs": (),
        "min_os": None,
    }
    return Artifact(tower=tower, scheme=scheme, path=path, **stated, **more)


ARTIFACTS = (
    _artifact("coreml/image", "fp16"),
    _artifact("coreml/text", "auto", "text", min_cosine=0.97, layers={}),
    _artifact("executorch/both", "w8", method="image"),
    _artifact("executorch/both", "fp32", "text", method="text"),
)


@pytest.fixture
def golden():
    rng = np.random.default_rng(0)
    texts = np.array(["a dog", "", "👩‍👧 日本"])
    return Golden(
        images=rng.integers(0, 256, (2, 8, 8, 3), np.uint8),
        image_embeddings=rng.standard_normal((2, DIM)).astype(np.float32),
        texts=texts,
        text_ids=rng.integers(0, 49408, (3, 77)).astype(np.int32),
        text_embeddings=rng.standard_normal((3, DIM)).astype(np.float32),
    )


@pytest.fixture
def write(tmp_path, golden):
    """Write a bundle whose golden files are those given, or damaged ones: `write(twin=b"...")`."""

    def call(golden=golden, artifacts=ARTIFACTS, twin=None, files=("golden.npz", GOLDEN_JSON)):
        spec = MODELS["tinyclip-demo"]
        with BundleWriter(tmp_path / "bundle", force=True) as writer:
            write_golden(writer.folder / "golden.npz", golden)
            if twin is None:
                write_golden_json(writer.folder / GOLDEN_JSON, golden, artifacts)
            else:
                (writer.folder / GOLDEN_JSON).write_bytes(twin)
            paths = [writer.folder / name for name in files]
            manifest = Manifest(
                schema="edgeclip.bundle/1",
                model=spec.name,
                weights=Weights(source="demo", sha256="0" * 64, licence=spec.licence),
                image=spec.preprocess,
                text=spec.tokenizer,
                embedding=Embedding(dim=DIM, l2_normalized=True, space_id="x"),
                scoring=Scoring(kind="softmax", logit_scale=1.0),
                artifacts=ARTIFACTS,
                tools={},
                golden="golden.npz",
                files=tuple(FileEntry(path=p.name, sha256=file_sha256(p), size_bytes=p.stat().st_size) for p in paths),
            )
            writer.commit(manifest)
        return Bundle.open(tmp_path / "bundle")

    return call


def test_the_twin_says_the_same(write, golden):
    bundle = write()
    assert list(twin_differences(bundle, read_golden(bundle))) == []
    twin = json.loads((bundle.path / GOLDEN_JSON).read_text())
    assert twin["schema"] == "edgeclip.golden/1"
    for image, pixels, embedding in zip(twin["images"], golden.images, golden.image_embeddings, strict=True):
        rgb = np.frombuffer(base64.b64decode(image["rgb"]), np.uint8).reshape(image["height"], image["width"], 3)
        np.testing.assert_array_equal(rgb, pixels)
        np.testing.assert_array_equal(np.array(image["embedding"], np.float32), embedding)
    assert [text["text"] for text in twin["texts"]] == golden.texts.tolist()
    assert [text["ids"] for text in twin["texts"]] == golden.text_ids.tolist()


def test_the_twin_asks_what_verify_asks(write):
    assert read_golden_json(write()).min_cosine == {"coreml/image": 0.9995, "coreml/text": 0.97, "executorch/both": 0.99}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda twin: twin["texts"][0].update(ids=[0] * 77), "golden.json: texts are not those of golden.npz"),
        (lambda twin: twin["texts"][0]["embedding"].reverse(), "golden.json: texts are not those of golden.npz"),
        (lambda twin: twin["images"].pop(), "golden.json: images are not those of golden.npz"),
        (lambda twin: twin["images"][0].update(width=4, height=16), "golden.json: images are not those of golden.npz"),
        (lambda twin: twin["min_cosine"].pop("coreml/text"), "golden.json: min_cosine is of other artifacts"),
        (
            lambda twin: twin["min_cosine"].update({"coreml/image": 0.1}),
            "min_cosine of coreml/image is 0.1, its scheme's 0.9995",
        ),
    ],
)
def test_a_twin_of_something_else_is_told(write, change, said):
    twin = json.loads((write().path / GOLDEN_JSON).read_text())
    change(twin)
    bundle = write(twin=json.dumps(twin).encode())
    assert any(said in line for line in twin_differences(bundle, read_golden(bundle)))


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b'{"schema": "edgeclip.golden/2"}', b"\xff"])
def test_a_damaged_twin_is_named(write, content):
    bundle = write(twin=content)
    with pytest.raises(BundleError, match=r"golden\.json: damaged golden file .*; convert the model again"):
        read_golden_json(bundle)


def test_a_bundle_from_before_the_twin_is_still_one(write):
    bundle = write(files=("golden.npz",))
    assert read_golden_json(bundle) is None
    assert list(twin_differences(bundle, read_golden(bundle))) == []


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("text_embeddings", np.ones((2, DIM), np.float32)),
        ("text_ids", np.ones((1, 77), np.int32)),
        ("image_embeddings", np.ones(2, np.float32)),
        ("images", np.ones((2, 3, 8, 8), np.uint8)),
        ("images", np.ones((2, 8, 8, 3), np.float32)),
        ("texts", np.array([["a", "b", "c"]])),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(write, golden, name, wrong):
    with pytest.raises(BundleError, match=r"golden\.npz: damaged golden file \(arrays of "):
        read_golden(write(replace(golden, **{name: wrong}), twin=b"{}"))
