"""Conventions, single towers and token tables, through the command line."""

from __future__ import annotations

import pytest

from converters.coreml.target import TARGET
from edgeclip.manifest import Bundle
from edgeclip.models import MODELS
from edgeclip.pipeline import convert
from edgeclip.recipe import TargetOptions
from edgeclip.reference.mil.package import Package
from edgeclip.verify.compare import verify

pytestmark = pytest.mark.usefixtures("shared_programs")

MODEL = "tinyclip-demo"


def _names(path):
    description = Package(path).model.description
    return [f.name for f in description.input], [f.name for f in description.output]


@pytest.mark.slow
def test_queryable_finds_its_names(tmp_path):
    out = tmp_path / "bundle"
    convert(MODEL, [TargetOptions("coreml", convention="queryable")], out)
    folder = out / "coreml"
    assert sorted(path.name for path in folder.iterdir()) == [
        "ImageEncoder_tinyclip_demo.mlpackage",
        "TextEncoder_tinyclip_demo.mlpackage",
    ]
    assert _names(folder / "ImageEncoder_tinyclip_demo.mlpackage") == (["colorImage"], ["embOutput"])
    assert _names(folder / "TextEncoder_tinyclip_demo.mlpackage") == (["text"], ["text_embeddings"])
    for artifact in Bundle.open(out).manifest.artifacts:
        given, result = _names(out / artifact.path)
        assert ([t.name for t in artifact.inputs], [t.name for t in artifact.outputs]) == (given, result)
    assert verify(out).passed


def test_queryable_spells_mobileclip_its_way():
    assert TARGET.file_stem(MODELS["mobileclip-s0"], "image", "queryable") == "ImageEncoder_mobileCLIP_s0"
    assert TARGET.file_stem(MODELS["mobileclip-s0"], "text", "apple") == "mobileclip_s0_text"


@pytest.mark.slow
def test_towers_of_different_schemes_in_one_bundle(cli, tmp_path):
    out = tmp_path / "bundle"
    for tower, scheme in (("image", "fp16"), ("text", "pal6")):
        result = cli("convert", MODEL, "--target", "coreml", "--tower", tower, "--scheme", scheme, "--out", out)
        assert result.status == 0, result.err
    schemes = {artifact.tower: artifact.scheme for artifact in Bundle.open(out).manifest.artifacts}
    assert schemes == {"image": "fp16", "text": "pal6"}
    again = cli("convert", MODEL, "--target", "coreml", "--tower", "text", "--out", out)
    assert again.status == 2
    assert "already holds coreml pal6 text" in again.error
    result = cli("verify", out, "--json")
    assert result.status == 0, result.err
    assert {row["scheme"] for row in result.json["rows"]} == {"fp16", "pal6"}
    found = cli("classify", out, "tests/data/none.png", "--labels", "a,b")
    assert found.status == 2


@pytest.mark.slow
def test_classify_needs_both_towers(cli, tmp_path):
    from PIL import Image

    out, picture = tmp_path / "bundle", tmp_path / "p.png"
    Image.new("RGB", (80, 80), "red").save(picture)
    convert(MODEL, [TargetOptions("coreml", layout="plain")], out, towers=("text",))
    result = cli("classify", out, picture, "--labels", "red,blue")
    assert result.status == 2
    assert "has no image tower (it holds coreml fp16 text)" in result.error


@pytest.mark.slow
def test_the_token_table_is_stored_as_asked(tmp_path):
    sizes = {}
    for table in (None, "fp16", "pal4"):
        out = tmp_path / str(table)
        convert(MODEL, [TargetOptions("coreml", scheme="w8", token_table=table)], out, towers=("text",))
        (artifact,) = Bundle.open(out).manifest.artifacts
        assert artifact.token_table == table
        assert verify(out).passed
        sizes[table] = artifact.size_bytes
    rows, width = 49408, 96
    assert sizes["fp16"] - sizes[None] == pytest.approx(rows * width, rel=0.05)
    assert sizes[None] - sizes["pal4"] == pytest.approx(rows * width / 2, rel=0.1)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--layout", "nhwc", "unknown layout for coreml 'nhwc'"),
        ("--convention", "aple", "did you mean 'apple'"),
        ("--token-table", "w5", "unknown token table for coreml 'w5'"),
        ("--scheme", "pal5", "unknown scheme for coreml 'pal5'"),
        ("--calibration-images", "nowhere", "--calibration-images nowhere: no such folder"),
        ("--calibration-texts", "nowhere.txt", "--calibration-texts nowhere.txt: no such file"),
        ("--layers", "nowhere.json", "--layers nowhere.json: no such file or bundle"),
    ],
)
def test_wrong_options_are_one_line(option, value, message, cli, tmp_path):
    result = cli("convert", MODEL, "--target", "coreml", option, value, "--out", tmp_path / "bundle")
    assert result.status == 2
    assert message in result.error
    assert not (tmp_path / "bundle").exists()
