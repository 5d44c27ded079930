"""Scheme `auto`: holds its floor, resumes, takes its table back; float16 is left where it overflows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from converters.coreml.auto import sensitivity
from edgeclip.errors import BudgetError, InputError, UsageError
from edgeclip.layers import read_layers
from edgeclip.manifest import Bundle
from edgeclip.models import MODELS
from edgeclip.models.weights import load_model
from edgeclip.pipeline import convert
from edgeclip.recipe import Goal, TargetOptions
from edgeclip.verify.compare import verify

pytestmark = pytest.mark.usefixtures("shared_programs")

MODEL = "tinyclip-demo"


def _auto(**changes) -> TargetOptions:
    return TargetOptions("coreml", scheme="auto", min_os="iOS18", **{"goal": Goal(min_cosine=0.99), **changes})


@pytest.fixture(scope="module")
def chosen(tmp_path_factory, calibration):
    """The image tower with a floor of 0.99, and the folder where the measurements are kept."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECLIP_CACHE", str(cache))
        out = tmp_path_factory.mktemp("auto") / "bundle"
        convert(MODEL, [_auto()], out, towers=("image",), calibration=calibration)
    return Bundle.open(out), cache


@pytest.mark.slow
def test_the_floor_is_held_and_recorded(chosen, calibration):
    bundle, _ = chosen
    (artifact,) = bundle.manifest.artifacts
    assert artifact.min_cosine == 0.99
    assert artifact.calibration is not None
    assert len(set(artifact.layers.values())) > 1, "different layers get different forms"
    (row,) = verify(bundle.path, calibration.images, calibration.texts).rows
    assert row.passed
    assert row.threshold["cosine_min"] == 0.99


@pytest.mark.slow
def test_smaller_than_fixed_schemes_of_equal_error(chosen, tmp_path, calibration):
    bundle, _ = chosen
    ours = bundle.manifest.artifacts[0].size_bytes
    for scheme in ("pal6", "w8"):
        convert(MODEL, [TargetOptions("coreml", scheme=scheme, min_os="iOS18")], tmp_path / scheme, towers=("image",))
        fixed = Bundle.open(tmp_path / scheme)
        assert verify(fixed.path, calibration.images, calibration.texts).rows[0].cosine_min >= 0.99
        assert ours < fixed.manifest.artifacts[0].size_bytes


@pytest.mark.slow
def test_an_interrupted_measurement_goes_on_where_it_stopped(chosen, calibration, tmp_path, monkeypatch):
    bundle, cache = chosen
    monkeypatch.setenv("EDGECLIP_CACHE", str(cache))
    (state,) = (cache / "auto").glob("*.json")
    known = json.loads(state.read_text())
    kept = dict(list(known.items())[:-2])
    state.write_text(json.dumps(kept))
    measured = []
    stored = sensitivity.stored
    monkeypatch.setattr(sensitivity, "stored", lambda w, f, o: measured.append(w.name) or stored(w, f, o))
    convert(MODEL, [_auto()], tmp_path / "again", towers=("image",), calibration=calibration)
    assert set(measured) == known.keys() - kept.keys()
    assert Bundle.open(tmp_path / "again").manifest.artifacts == bundle.manifest.artifacts


@pytest.mark.slow
def test_the_table_can_be_passed_back(chosen, calibration, tmp_path, cli, monkeypatch):
    bundle, _ = chosen
    layers = read_layers(bundle.path, "coreml")
    assert layers == {"image": bundle.manifest.artifacts[0].layers}
    again = convert(MODEL, [_auto(layers=layers)], tmp_path / "again", towers=("image",), calibration=calibration)
    assert again.artifacts[0].sha256 == bundle.manifest.artifacts[0].sha256
    assert again.artifacts[0].layers == bundle.manifest.artifacts[0].layers
    plain = tmp_path / "plain"
    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path / "cache"))
    result = cli("convert", MODEL, "--target", "coreml", "--layers", bundle.path, "--tower", "image", "--out", plain)
    assert result.status == 0, result.err
    assert Bundle.open(plain).manifest.artifacts[0].sha256 == bundle.manifest.artifacts[0].sha256
    both = cli("convert", MODEL, "--target", "coreml", "--layers", bundle.path, "--out", tmp_path / "both")
    assert both.status == 2
    assert "has no table for the text tower; add --tower image" in both.error
    for wrong, message in (
        ({"no_such_weight": "w8"}, "has no weight 'no_such_weight'"),
        (dict.fromkeys(list(layers["image"])[1:], "pal3"), "the table lacks the weight"),
        (dict.fromkeys(layers["image"], "pal5"), "unknown form of weights 'pal5'"),
    ):
        with pytest.raises(UsageError, match=message):
            convert(MODEL, [_auto(layers={"image": wrong})], tmp_path / "wrong", towers=("image",), calibration=calibration)
        assert not (tmp_path / "wrong").exists()


@pytest.mark.slow
def test_a_size_that_cannot_be_had_is_a_failed_check(calibration, tmp_path, chosen, monkeypatch, cli):
    _, cache = chosen
    monkeypatch.setenv("EDGECLIP_CACHE", str(cache))
    with pytest.raises(BudgetError, match=r"MB is the smallest found, over --max-mb 0\.3"):
        convert(MODEL, [_auto(goal=Goal(0.99, 0.3))], tmp_path / "small", towers=("image",), calibration=calibration)
    result = cli(
        "convert", MODEL, "--target", "coreml", "--scheme", "auto", "--max-mb", "0.1", "--tower", "image", "--min-os", "iOS18",
        "--calibration-images", calibration.images, "--calibration-texts", calibration.texts, "--out", tmp_path / "small",
    )  # fmt: skip
    assert result.status == 1
    assert "MB at least" in result.error
    assert "--max-mb" in result.error
    assert not (tmp_path / "small").exists()


@pytest.mark.slow
def test_with_a_size_alone_it_is_the_most_exact_of_that_size(calibration, tmp_path, chosen, monkeypatch):
    _, cache = chosen
    monkeypatch.setenv("EDGECLIP_CACHE", str(cache))
    sizes, cosines = [], []
    for most in (0.9, 1.2):
        out = tmp_path / str(most)
        convert(MODEL, [_auto(goal=Goal(max_mb=most))], out, towers=("image",), calibration=calibration)
        (artifact,) = Bundle.open(out).manifest.artifacts
        (row,) = verify(out, calibration.images, calibration.texts).rows
        assert row.passed
        sizes.append(artifact.size_bytes)
        cosines.append(row.cosine_mean)
        assert 0.7e6 * most < artifact.size_bytes <= 1e6 * most
    assert cosines[1] > cosines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scheme", "w8", "--max-mb", "3"), "goals of --scheme auto"),
        (("--scheme", "w8", "--seed", "3"), "--seed belongs to --scheme auto"),
        (("--scheme", "auto", "--min-cosine", "nan"), "--min-cosine nan: give a number"),
        (("--scheme", "fp32", "--token-table", "w8"), "fp32 stores every weight as it is"),
    ],
)
def test_goals_are_of_auto_only(options, message, cli):
    result = cli("convert", MODEL, "--target", "coreml", *options)
    assert result.status == 2
    assert message in result.error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "neither a bundle nor JSON"),
        ("[]", "wants"),
        ('{"picture": {}}', "wants"),
        ('{"image": {"w": 8}}', "wants"),
        ("{}", "wants"),
    ],
)
def test_tables_that_are_none(content, message, tmp_path):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_layers(tmp_path / "t.json", "coreml")


def test_a_bundle_without_tables_and_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_layers(tmp_path / "none.json", "coreml")


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory) -> Path:
    """The demo weights, with the values of one attention 200,000 times larger and the layer behind it as much smaller."""
    pair = load_model(MODELS[MODEL], "demo").pair
    state = pair.state_dict()
    block = "text.transformer.resblocks.1.attn"
    for name in (f"{block}.in_proj_weight", f"{block}.in_proj_bias"):
        state[name][-len(state[name]) // 3 :].mul_(2e5)  # queries and keys, then values
    state[f"{block}.out_proj.weight"].mul_(1 / 2e5)
    path = tmp_path_factory.mktemp("weights") / "overflowing.pt"
    torch.save(state, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["ane", "plain"])
def test_what_float16_ruins_stays_in_float32_and_is_named(overflowing, layout, tmp_path):
    out = tmp_path / "bundle"
    options = TargetOptions("coreml", scheme="fp16", layout=layout)
    convert(MODEL, [options], out, weights=str(overflowing), towers=("text",))
    (artifact,) = Bundle.open(out).manifest.artifacts
    assert 1 <= len(artifact.kept_fp32) <= 20
    (row,) = verify(out, weights=str(overflowing)).rows
    assert row.passed
    assert row.cosine_min > 0.9995


@pytest.mark.slow
def test_ordinary_weights_keep_nothing_in_float32(tiny_bundle):
    assert all(artifact.kept_fp32 == () for artifact in Bundle.open(tiny_bundle).manifest.artifacts)
