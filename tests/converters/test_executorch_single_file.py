"""Both towers as methods of one `.pte`, held against the two files of the same model."""

from __future__ import annotations

import shutil

import msgspec
import numpy as np
import pytest

from edgeclip.errors import BundleError, UsageError
from edgeclip.golden import read_golden
from edgeclip.manifest import MANIFEST_FILE, Bundle, read_manifest
from edgeclip.pipeline import convert
from edgeclip.plugins import TARGETS
from edgeclip.recipe import TargetOptions
from edgeclip.reference.executorch_runtime import RUNTIME
from edgeclip.spec import TOWERS
from edgeclip.target import resolved
from edgeclip.verify.compare import verify

SINGLE = TargetOptions("executorch", single_file=True)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return convert("tinyclip-demo", [SINGLE], tmp_path_factory.mktemp("single") / "bundle").bundle


def _towers(bundle: Bundle):
    return {artifact.tower: artifact for artifact in bundle.manifest.artifacts if artifact.target == "executorch"}


@pytest.mark.slow
def test_two_artifacts_are_methods_of_one_file(single, tiny_bundle):
    bundle, apart = Bundle.open(single), _towers(Bundle.open(tiny_bundle))
    together = _towers(bundle)
    assert {tower: artifact.method for tower, artifact in together.items()} == {
        "image": "encode_image",
        "text": "encode_text",
    }
    assert {artifact.path for artifact in together.values()} == {"executorch/tinyclip_demo.pte"}
    assert len({(artifact.sha256, artifact.size_bytes) for artifact in together.values()}) == 1
    assert [path.name for path in (single / "executorch").iterdir()] == ["tinyclip_demo.pte"]
    assert together["image"].size_bytes < sum(artifact.size_bytes for artifact in apart.values()) + 4096
    for tower in TOWERS:
        assert together[tower].delegates == apart[tower].delegates
        assert together[tower].left == apart[tower].left


@pytest.mark.slow
@pytest.mark.parametrize("tower", TOWERS)
def test_methods_compute_what_the_files_compute(tower, single, tiny_bundle):
    given = read_golden(Bundle.open(single)).inputs(tower)
    embeddings = []
    for path in (single, tiny_bundle):
        bundle = Bundle.open(path)
        with RUNTIME.open(bundle, _towers(bundle)[tower], "native") as runner:
            embeddings.append(runner.encode(given))
    np.testing.assert_array_equal(*embeddings)


@pytest.mark.slow
def test_a_single_file_verifies_classifies_and_is_inspected(single, cli, tmp_path):
    assert verify(single).passed
    picture = tmp_path / "picture.png"
    from PIL import Image

    Image.new("RGB", (64, 64), "red").save(picture)
    classified = cli("classify", single, picture, "--labels", "a red circle,a blue star", "--json").json
    assert classified["runtime"] == "executorch"
    shown = cli("inspect", single)
    assert shown.status == 0
    assert "executorch/tinyclip_demo.pte encode_image" in shown.out
    assert "executorch/tinyclip_demo.pte encode_text" in shown.out
    ops = [entry["ops"] for entry in cli("inspect", single, "--json").json["contents"]]
    assert "embedding" not in ops[0]
    assert "embedding" in ops[1]


@pytest.mark.slow
def test_a_tower_that_is_replaced_leaves_the_other_in_its_file(single, tmp_path):
    out = tmp_path / "bundle"
    shutil.copytree(single, out)
    with pytest.raises(UsageError, match="already holds executorch/xnnpack fp32 text"):
        convert("tinyclip-demo", [TargetOptions("executorch")], out, towers=("text",))
    convert("tinyclip-demo", [TargetOptions("executorch")], out, towers=("text",), force=True)
    towers = _towers(Bundle.open(out))
    assert (towers["image"].path, towers["image"].method) == ("executorch/tinyclip_demo.pte", "encode_image")
    assert (towers["text"].path, towers["text"].method) == ("executorch/tinyclip_demo_text.pte", "forward")
    assert verify(out).passed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "encode_image"}, "two entries"),
        ({"sha256": "0" * 64}, "two entries"),
        ({"size_bytes": 1}, "two entries"),
        ({"target": "coreml"}, "two entries"),
    ],
)
def test_entries_of_one_file_that_disagree_are_refused(single, changes, message, tmp_path):
    manifest = Bundle.open(single).manifest
    artifacts = tuple(
        msgspec.structs.replace(artifact, **changes) if artifact.tower == "text" else artifact
        for artifact in manifest.artifacts
    )
    file = tmp_path / MANIFEST_FILE
    file.write_bytes(msgspec.structs.replace(manifest, artifacts=artifacts).to_json())
    with pytest.raises(BundleError, match=message):
        read_manifest(file)


@pytest.mark.slow
def test_a_method_that_the_file_lacks_is_an_error(single):
    bundle = Bundle.open(single)
    wrong = msgspec.structs.replace(bundle.manifest.artifacts[0], method="decode")
    with pytest.raises(BundleError, match="cannot load it"):
        RUNTIME.open(bundle, wrong, "native")
    with pytest.raises(BundleError, match="has no method 'decode'"):
        TARGETS["executorch"].load().inspect(single / wrong.path, "decode")


def test_one_file_holds_both_towers(tmp_path):
    with pytest.raises(UsageError, match="--single-file: it holds both towers"):
        convert("tinyclip-demo", [SINGLE], tmp_path / "bundle", towers=("image",))


def test_a_target_with_one_tower_a_file_refuses():
    with pytest.raises(UsageError, match="--single-file: a file of coreml holds one tower"):
        resolved(TARGETS["coreml"].load(), TargetOptions("coreml", single_file=True), "m", "w", "text")
