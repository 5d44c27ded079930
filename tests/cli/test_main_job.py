"""Convert, verify, classify, inspect, from the command line, on the demo models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeclip.data.scenes import Scene, draw
from edgeclip.manifest import Bundle

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_programs")]

ARTIFACT_FIELDS = {"tower", "target", "backend", "scheme", "path", "sha256", "size_bytes", "inputs", "outputs", "min_os"}
ROW_FIELDS = {
    "tower", "target", "backend", "scheme", "runtime", "mode", "samples", "cosine_min", "cosine_mean", "max_abs_error",
    "between_input_cosine", "rank_agreement", "threshold", "passed",
}  # fmt: skip
LABELS = ["a red circle", "a blue star", "a green heart", "a yellow moon"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for index, (colour, shape) in enumerate([("red", "circle"), ("blue", "star"), ("green", "heart"), ("yellow", "moon")]):
        paths.append(folder / f"{colour}.png")
        draw(Scene("one", "large", "solid", colour, shape, "middle", index), 200).save(paths[-1])
    return paths


def test_without_a_model_the_demo_is_converted_and_said(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("convert", "--target", "coreml", "--json")
    assert result.status == 0
    assert "no MODEL given: converting the demo model mobileclip-demo" in result.err
    assert result.json.keys() == {"bundle", "artifacts", "wall_s", "peak_rss_mb"}
    assert result.json["bundle"] == "artifacts/mobileclip-demo"
    assert [(a["tower"], a["target"], a["scheme"]) for a in result.json["artifacts"]] == [
        ("image", "coreml", "fp16"),
        ("text", "coreml", "fp16"),
    ]
    assert all(a.keys() >= ARTIFACT_FIELDS for a in result.json["artifacts"])
    assert (tmp_path / "artifacts/mobileclip-demo/coreml/mobileclip_demo_image.mlpackage").is_dir()
    again = cli("convert", "--target", "coreml")
    assert again.status == 2
    assert "already holds coreml fp16 image; use --force" in again.error


def test_a_second_target_is_added_if_the_weights_agree(cli, tmp_path):
    out = tmp_path / "bundle"
    first = cli("convert", "tinyclip-demo", "--target", "coreml", "--out", out)
    assert first.status == 0
    assert "Apache-2.0 (commercial use allowed)" in first.out
    before = Bundle.open(out).manifest.artifacts
    other = cli("convert", "tinyclip-demo", "--target", "executorch", "--weights", "seeded:3", "--out", out)
    assert other.status == 2
    assert "holds tinyclip-demo with other weights (demo); use --force" in other.error
    assert Bundle.open(out).manifest.artifacts == before
    assert cli("convert", "tinyclip-demo", "--target", "executorch", "--out", out).status == 0
    after = Bundle.open(out)
    assert [artifact for artifact in after.manifest.artifacts if artifact.target == "coreml"] == list(before)
    assert len(after.manifest.artifacts) == 4
    for artifact in after.manifest.artifacts:
        after.verified_path(artifact)
    forced = cli("convert", "tinyclip-demo", "--target", "coreml", "--weights", "seeded:3", "--out", out, "--force")
    assert forced.status == 0
    assert [a.target for a in Bundle.open(out).manifest.artifacts] == ["coreml", "coreml"]


def test_verify_passes_and_writes_its_result(cli, tiny_bundle):
    result = cli("verify", tiny_bundle, "--json")
    assert result.status == 0, result.err
    content = result.json
    assert content == json.loads((tiny_bundle / "verify.json").read_text("utf-8"))
    assert content["passed"] is True
    assert content["first_divergence"] is None
    assert len(content["rows"]) == 4
    for row in content["rows"]:
        assert row.keys() >= ROW_FIELDS
        assert row["samples"] >= (16 if row["tower"] == "image" else 32)
        assert row["between_input_cosine"] < 0.9
        if row["scheme"] == "fp32":
            assert row["cosine_min"] >= 0.999999
            assert row["max_abs_error"] <= 1e-5
        else:
            assert row["cosine_min"] >= 0.9995
    assert {(row["target"], row["runtime"]) for row in content["rows"]} >= {("coreml", "mil"), ("executorch", "executorch")}


def test_verify_for_people(cli, mobile_bundle):
    result = cli("verify", mobile_bundle)
    assert result.status == 0
    assert "coreml fp16 image" in result.out
    assert result.out.rstrip().endswith("passed")


def test_verify_takes_the_users_own(cli, tiny_bundle, pictures, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(LABELS), "utf-8")
    result = cli("verify", tiny_bundle, "--images", pictures[0].parent, "--texts", texts, "--runtime", "mil", "--json")
    assert result.status == 0, result.err
    assert result.json["images"] == sorted(path.name for path in pictures)
    assert {row["runtime"] for row in result.json["rows"]} == {"mil"}
    assert {row["samples"] for row in result.json["rows"]} == {4}


def test_verify_in_the_other_mode(cli, tiny_bundle):
    rows = cli("verify", tiny_bundle, "--runtime", "mil", "--mode", "fp32", "--json").json["rows"]
    assert {row["mode"] for row in rows} == {"fp32"}
    assert all(row["cosine_min"] > 0.99999 for row in rows)


def test_a_degenerate_set_fails_by_itself(cli, tiny_bundle, pictures, tmp_path):
    folder = tmp_path / "same"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.png").write_bytes(pictures[0].read_bytes())
    result = cli("verify", tiny_bundle, "--images", folder, "--runtime", "mil")
    assert result.status == 1
    assert "maps all inputs to one embedding" in result.out


@pytest.mark.parametrize("runtime", ["torch", "executorch", "mil", None])
def test_classify_names_what_is_drawn(cli, tiny_bundle, pictures, runtime):
    chosen = ["--runtime", runtime] if runtime else []
    result = cli("classify", tiny_bundle, *pictures, "--labels", ",".join(LABELS), "--json", *chosen)
    assert result.status == 0, result.err
    content = result.json
    assert content["runtime"] == (runtime or "executorch")
    for path, label, image in zip(pictures, LABELS, content["images"], strict=True):
        assert image["path"] == str(path)
        assert image["scores"][0]["label"] == label
        assert image["scores"][0]["score"] > 0.9
        assert sum(score["score"] for score in image["scores"]) == pytest.approx(1)
        assert {"label", "score", "cosine"} == image["scores"][0].keys()


def test_classify_for_people_with_a_template(cli, mobile_bundle, pictures, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("red circle\nblue star\n\n", "utf-8")
    result = cli("classify", mobile_bundle, pictures[0], "--labels-file", labels, "--template", "a photo of a {}")
    assert result.status == 0, result.err
    assert result.out.splitlines()[2].split()[1:3] == ["red", "circle"]
    assert "runtime: executorch" in result.out


def test_inspect(cli, tiny_bundle):
    content = cli("inspect", tiny_bundle, "--json").json
    assert content["manifest"]["model"] == "tinyclip-demo"
    by_path = {entry["artifact"]: entry for entry in content["contents"]}
    package = by_path["coreml/tinyclip_demo_image.mlpackage"]
    assert package["ops"]["conv"] > 10
    assert package["weights"]["float16"]["values"] > 1_000_000
    program = by_path["executorch/tinyclip_demo_text.pte"]
    assert program["delegates"]["XnnpackBackend"] > 0
    assert 0 < program["delegated_percent"] <= 100
    assert program["weights"]["float32"]["values"] > 49408 * 96
    text = cli("inspect", tiny_bundle).out
    for word in ("tinyclip-demo", "XnnpackBackend", "pixel buffer", "final_emb_1", "float16", "coremltools 9.0"):
        assert word in text


def test_a_bundle_holds_what_an_app_needs(mobile_bundle):
    manifest = Bundle.open(mobile_bundle).manifest
    assert {entry.path for entry in manifest.files} == {
        "golden.npz",
        "golden.json",
        "LICENSE.txt",
        "tokenizer/vocab.json",
        "tokenizer/merges.txt",
    }
    assert "Apache License" in (mobile_bundle / "LICENSE.txt").read_text()
    image = next(a for a in manifest.artifacts if a.tower == "image" and a.target == "coreml")
    assert (image.inputs[0].name, image.inputs[0].kind, image.min_os) == ("image", "image", "iOS17")
    text = next(a for a in manifest.artifacts if a.tower == "text" and a.target == "executorch")
    assert (text.inputs[0].name, text.inputs[0].dtype, text.inputs[0].shape) == ("text", "int32", (1, 77))
    assert text.outputs[0].name == "final_emb_1"
    assert manifest.scoring.kind == "softmax"
    assert 1 < manifest.scoring.logit_scale <= 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scheme": "w8"}, "scheme of coreml/"),
        ({"min_cosine": 0.0}, "goes with scheme auto"),
        ({"token_table": "nonsense"}, "token_table of coreml/"),
        ({"layout": "nchw"}, "layout of coreml/"),
    ],
)
def test_a_manifest_that_asks_less_of_an_artifact_fails(changes, message, bundle_copy, cli):
    path = bundle_copy / "edgeclip.json"
    content = json.loads(path.read_text())
    for artifact in content["artifacts"]:
        if artifact["target"] == "coreml":
            artifact.update(changes)
    path.write_text(json.dumps(content))
    result = cli("verify", bundle_copy, "--runtime", "mil", "--json")
    assert result.status == 1
    assert any(message in line for line in result.json["contract"])
