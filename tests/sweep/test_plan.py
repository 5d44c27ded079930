"""What a sweep finds there, and what it makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeclip.calibration import Calibration
from edgeclip.data.tokenizer import tokenizer_class
from edgeclip.errors import InputError, UsageError
from edgeclip.models import MODELS
from edgeclip.recipe import Goal, TargetOptions
from edgeclip.sweep.plan import Plan, plan, servable
from tests.sweep import work
from tests.sweep.sweeps import sweep

ONE = {"models": ("tinyclip-demo",), "targets": ("coreml", "executorch")}


def _done(plan: Plan) -> Plan:
    for job in plan.jobs:
        work.make(job)
    return plan


def _whys(plan: Plan) -> dict[tuple[str, ...], str | None]:
    """For each job, its targets and what is wrong with what is there."""
    return {tuple(options.target for options in job.targets): job.why for job in plan.jobs}


def _change_manifest(bundle: Path, **artifact: object) -> None:
    path = bundle / "edgeclip.json"
    content = json.loads(path.read_text())
    for entry in content["artifacts"]:
        if entry["target"] == "coreml":
            entry.update(artifact)
    path.write_text(json.dumps(content))


def test_each_model_scheme_and_target_is_a_job_below_out(tmp_path):
    found = plan(sweep(tmp_path, targets=("coreml", "executorch"), schemes=("fp32", "w8")))
    assert [(job.model, job.out.name, [o.target for o in job.targets], job.targets[0].scheme) for job in found.jobs] == [
        (model, f"{model}-{scheme}", [target], scheme)
        for model in ("mobileclip-demo", "tinyclip-demo")
        for scheme in ("fp32", "w8")
        for target in ("coreml", "executorch")
    ]
    assert found.rows == ()
    assert {(job.weights, job.force, job.why) for job in found.jobs} == {("demo", False, None)}


def test_without_a_scheme_each_target_has_its_own_and_the_bundle_the_models_name(tmp_path):
    jobs = plan(sweep(tmp_path, **ONE)).jobs
    assert [(job.out, job.targets[0].scheme) for job in jobs] == [
        (tmp_path / "tinyclip-demo", "fp16"),
        (tmp_path / "tinyclip-demo", "fp32"),
    ]


def test_what_a_target_cannot_do_is_a_row_and_stops_nothing(tmp_path):
    found = plan(sweep(tmp_path, **ONE, schemes=("pal4", "w8")))
    assert [(job.targets[0].target, job.targets[0].scheme) for job in found.jobs] == [
        ("coreml", "pal4"),
        ("coreml", "w8"),
        ("executorch", "w8"),
    ]
    (row,) = found.rows
    assert (row.target, row.scheme, row.status) == ("executorch", "pal4", "unsupported")
    assert row.reason == "executorch has no scheme pal4; it has fp32, fp16, w8, w8a8, w4, auto"


def test_options_that_do_not_go_with_one_scheme_fail_that_row_alone(tmp_path):
    found = plan(
        sweep(tmp_path, TargetOptions("", token_table="w8"), **{**ONE, "targets": ("executorch",)}, schemes=("fp16", "w8"))
    )
    assert [row.status for row in found.rows] == ["failed"]
    assert "drop --token-table" in str(found.rows[0].reason)
    assert len(found.jobs) == 1


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"schemes": ("pal4",), "targets": ("executorch",)}, UsageError, "nothing to do: executorch has no scheme pal4"),
        ({"weights": "none.pt", "models": ("tinyclip-demo",)}, InputError, "--weights none.pt: neither a file nor one of"),
        ({"weights": "none.pt"}, UsageError, "a file holds the weights of one model; name one MODEL"),
        ({"calibration": Calibration(texts=Path("none.txt"))}, InputError, "none.txt: no such file"),
    ],
)
def test_what_cannot_begin_at_all_is_an_error(tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        plan(sweep(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ("tinyclip-deom",)}, "did you mean 'tinyclip-demo'"),
        ({"targets": ("corml",)}, "did you mean 'coreml'"),
        ({"schemes": ("w9",)}, "unknown scheme 'w9'"),
    ],
)
def test_unknown_names_are_errors(tmp_path, changes, said):
    with pytest.raises(UsageError, match=said):
        sweep(tmp_path, **changes)


def test_weights_may_be_in_a_folder_as_the_hub_lays_it_out(tmp_path):
    """As `convert` of one model takes them: one file, or an index of several."""
    one = {"models": ("tinyclip-demo",), "schemes": ("fp16", "w8"), "weights": str(tmp_path)}
    with pytest.raises(InputError, match="is a folder without"):
        plan(sweep(tmp_path / "out", **one))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert [job.weights for job in plan(sweep(tmp_path / "out", **one)).jobs] == [str(tmp_path)] * 2


def test_all_models_are_those_that_the_weights_can_serve():
    assert servable(None) == servable("seeded:0") == tuple(MODELS)
    assert servable("demo") == ("mobileclip-demo", "tinyclip-demo")
    assert set(servable("hub")) == {name for name, spec in MODELS.items() if spec.hub}
    with pytest.raises(UsageError, match="name it instead of --all"):
        servable("weights.pt")


def test_what_is_there_is_kept(tmp_path):
    _done(plan(sweep(tmp_path, **ONE)))
    again = plan(sweep(tmp_path, **ONE))
    assert again.jobs == ()
    assert [(row.target, row.scheme, row.status) for row in again.rows] == [
        ("coreml", "fp16", "kept"),
        ("executorch", "fp32", "kept"),
    ]
    assert all(row.size_bytes for row in again.rows)


def test_a_target_that_is_not_there_is_added(tmp_path):
    _done(plan(sweep(tmp_path, **{**ONE, "targets": ("coreml",)})))
    again = plan(sweep(tmp_path, **ONE))
    assert _whys(again) == {("executorch",): None}
    assert not again.jobs[0].force
    assert [row.target for row in again.rows] == ["coreml"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"layout": "plain"}, "image tower: made with --layout ane, not plain"),
        ({"min_os": "iOS18"}, "image tower: made with --min-os iOS17, not iOS18"),
        ({"token_table": "w8"}, "image tower: made with --token-table none, not w8"),
        ({"convention": "queryable"}, "image tower: made with --convention apple, not queryable"),
    ],
)
def test_another_recipe_is_made_again_and_says_why(tmp_path, given, why):
    one = {**ONE, "targets": ("coreml",)}
    _done(plan(sweep(tmp_path, **one)))
    again = plan(sweep(tmp_path, TargetOptions("", **given), **one))
    assert _whys(again) == {("coreml",): why}
    assert again.jobs[0].force
    _done(again)
    assert plan(sweep(tmp_path, TargetOptions("", **given), **one)).jobs == ()


@pytest.mark.parametrize(
    ("stated", "asked", "why"),
    [
        ({"calibration": "0" * 64}, {}, "made with other calibration samples"),
        ({"delegated_percent": 90.0}, {}, "90.0 % of it are in delegates, not 95"),
        ({"delegated_percent": 90.0}, {"min_delegated": 90}, None),
        ({"passes": ["-x"]}, {}, "made with graph passes -x, not none"),
        ({"scheme": "auto", "min_cosine": 0.995}, {"scheme": "auto"}, None),
        ({"scheme": "auto", "min_cosine": 0.99}, {"scheme": "auto"}, "made with --min-cosine 0.99, not 0.995"),
        (
            {"scheme": "auto", "min_cosine": 0.99},
            {"scheme": "auto", "goal": Goal(max_mb=9)},
            "what --max-mb it was made for is not recorded",
        ),
    ],
)
def test_what_the_manifest_says_of_an_artifact_is_held_against_the_options(tmp_path, stated, asked, why):
    from dataclasses import replace

    from edgeclip.models import MODELS
    from edgeclip.plugins import TARGETS
    from edgeclip.sweep.standing import Standing
    from edgeclip.target import resolved

    _done(plan(sweep(tmp_path, models=("tinyclip-demo",))))
    _change_manifest(tmp_path / "tinyclip-demo", **stated)
    options = replace(TargetOptions("coreml"), **asked)
    unchecked = replace(options, min_delegated=None)  # Core ML has none; the manifest is what is looked at here
    recipes = {tower: resolved(TARGETS["coreml"].load(), unchecked, "tinyclip-demo", "", tower) for tower in ("image", "text")}
    standing = Standing(tmp_path / "tinyclip-demo", MODELS["tinyclip-demo"], "demo", Calibration(), [("coreml", "image")])
    finding = standing.finding(options, recipes, force=False)
    assert (finding and finding.why) == (why and f"image tower: {why}")


def test_calibration_samples_are_recognized(tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("a dog\na cat\n")
    spec = MODELS["tinyclip-demo"]
    ours, others = Calibration(), Calibration(texts=texts)
    of = (spec.preprocess, lambda: tokenizer_class(spec.tokenizer).stand_in(spec.tokenizer))
    assert ours.sha256("text", *of) != others.sha256("text", *of)
    assert ours.sha256("image", *of) == others.sha256("image", *of)


def test_towers_that_lack_are_made_with_the_whole_target(tmp_path):
    _done(plan(sweep(tmp_path, models=("tinyclip-demo",), towers=("image",))))
    assert _whys(plan(sweep(tmp_path, models=("tinyclip-demo",)))) == {("coreml",): "lacks the text tower"}


def test_damaged_artifacts_are_made_again_together_and_whole_ones_kept(tmp_path):
    _done(plan(sweep(tmp_path, **ONE)))
    bundle = tmp_path / "tinyclip-demo"
    (bundle / "executorch_text").write_bytes(b"damaged")
    again = plan(sweep(tmp_path, **ONE))
    assert _whys(again) == {("executorch",): "executorch_text is damaged"}
    (bundle / "coreml_image").unlink()
    assert _whys(plan(sweep(tmp_path, **ONE))) == {("coreml", "executorch"): "coreml_image is missing"}


def test_a_damaged_golden_file_or_manifest_makes_all_again(tmp_path):
    _done(plan(sweep(tmp_path, **ONE)))
    bundle = tmp_path / "tinyclip-demo"
    (bundle / work.GOLDEN).write_bytes(b"x")
    assert _whys(plan(sweep(tmp_path, **ONE))) == {("coreml", "executorch"): "golden.npz is damaged"}
    (bundle / "edgeclip.json").write_text("{")
    again = plan(sweep(tmp_path, **ONE))
    assert _whys(again) == dict.fromkeys([("coreml",), ("executorch",)], "its edgeclip.json is damaged")
    assert all(job.force for job in again.jobs)


def test_other_weights_are_made_again_unless_that_loses_what_nobody_asked_to_replace(tmp_path):
    _done(plan(sweep(tmp_path, **ONE)))
    again = plan(sweep(tmp_path, **ONE, weights="seeded:1"))
    why = "its weights (demo) are not those of seeded:1"
    assert [(job.why, job.force) for job in again.jobs] == [(why, True), (why, True)]
    one = plan(sweep(tmp_path, **{**ONE, "targets": ("coreml",)}, weights="seeded:1"))
    assert [(job.why, job.force) for job in one.jobs] == [(why, False)]
    forced = plan(sweep(tmp_path, **{**ONE, "targets": ("coreml",)}, weights="seeded:1", force=True))
    assert [job.force for job in forced.jobs] == [True]


def test_force_makes_all_again(tmp_path):
    _done(plan(sweep(tmp_path, **ONE)))
    assert _whys(plan(sweep(tmp_path, **ONE, force=True))) == {("coreml",): "--force", ("executorch",): "--force"}


def test_weights_in_a_file_are_held_against_the_hash(tmp_path):
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"one")
    one = {"models": ("tinyclip-demo",), "weights": str(weights)}
    _done(plan(sweep(tmp_path / "out", **one)))
    assert plan(sweep(tmp_path / "out", **one)).jobs == ()
    weights.write_bytes(b"other")
    assert _whys(plan(sweep(tmp_path / "out", **one))) == {("coreml",): "its weights (file:w.pt) are not those of file:w.pt"}
