"""SigLIP to both targets, verified and classifying by name, at a reduced size with everything that the published ones have."""

from __future__ import annotations

import pytest
from PIL import Image

from edgeclip.data import scenes
from edgeclip.models import MODELS
from tests.support.siglip import TINY_SIGLIP

pytestmark = pytest.mark.slow
NAME = TINY_SIGLIP.name


@pytest.fixture(scope="module", autouse=True)
def in_the_table():
    """The reduced model by name, as if it were one of the table's."""
    MODELS._items[NAME] = TINY_SIGLIP
    yield
    del MODELS._items[NAME]


def converted(cli, out, *options):
    result = cli("convert", NAME, "--weights", "seeded:0", "--out", out, "--json", *options)
    assert result.status == 0, result.err
    return {artifact["tower"]: artifact for artifact in result.json["artifacts"]}


def verified(cli, bundle):
    result = cli("verify", bundle, "--json")
    assert result.status == 0, result.out + result.err
    return result.json["rows"]


def gelu_modes(package):
    """What each `gelu` of a package is told to compute."""
    import coremltools as ct

    (block,) = ct.utils.load_spec(str(package)).mlProgram.functions["main"].block_specializations.values()
    strings = {
        op.outputs[0].name: op.attributes["val"].immediateValue.tensor.strings.values
        for op in block.operations
        if op.type == "const"
    }
    return [strings[op.inputs["mode"].arguments[0].name][0] for op in block.operations if op.type == "gelu"]


def test_core_ml_in_float32_has_the_gelu_by_tanh(cli, tmp_path):
    """Within 1e-6 of torch, where the exact GELU would be off by a hundred times that."""
    made = converted(cli, tmp_path / "b", "--target", "coreml", "--scheme", "fp32")
    rows = verified(cli, tmp_path / "b")
    assert {row["tower"] for row in rows} == {"image", "text"}
    assert all(row["max_abs_error"] < 2e-6 for row in rows)
    for artifact in made.values():
        assert set(gelu_modes(tmp_path / "b" / artifact["path"])) == {"TANH_APPROXIMATION"}


def test_executorch_is_one_delegate(cli, tmp_path):
    made = converted(cli, tmp_path / "b", "--target", "executorch")
    assert made["image"]["delegates"] == made["text"]["delegates"] == {"XnnpackBackend": 1}
    assert made["image"]["delegated_percent"] == 100
    rows = verified(cli, tmp_path / "b")
    assert all(row["max_abs_error"] < 1e-5 for row in rows)
    check_classify(cli, tmp_path)


@pytest.mark.parametrize(("target", "scheme"), [("coreml", "fp16"), ("coreml", "w8"), ("executorch", "w8a8")])
def test_smaller_schemes(cli, tmp_path, target, scheme):
    converted(cli, tmp_path / "b", "--target", target, "--scheme", scheme)
    verified(cli, tmp_path / "b")


def check_classify(cli, folder):
    """Each label has a probability of its own, and none need fit."""
    scenes.draw(scenes.scenes(1, seed=0)[0], 64).save(folder / "scene.png")
    Image.new("RGB", (40, 90), "white").save(folder / "blank.png")
    arguments = ("classify", folder / "b", folder / "scene.png", folder / "blank.png", "--labels", "a red circle,a blue star")
    result = cli(*arguments, "--json")
    assert result.status == 0, result.err
    for image in result.json["images"]:
        for score in image["scores"]:
            logit = 100 * score["cosine"] - 10
            assert score["score"] == pytest.approx(1 / (1 + 2.718281828459045**-logit), rel=1e-3)
        assert image["none_of_these"] is (max(score["score"] for score in image["scores"]) < 0.5)
    text = cli(*arguments).out
    assert text.count("none of these labels") == sum(image["none_of_these"] for image in result.json["images"])
