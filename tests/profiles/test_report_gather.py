"""What a report knows of bundles: joins, what is stale or missing, and files that are not what they should be."""

from __future__ import annotations

import dataclasses
import json
import shutil

import msgspec
import pytest

from edgeclip.errors import EdgeclipError, InputError, UsageError
from edgeclip.verify import compare
from profiles.report.gather import LEAST_ERROR, Report, front, gather
from profiles.report.stored import MAX_PROFILES, Check, Verified, read_profiles
from profiles.report.tables import budgets
from profiles.results import BudgetLine, Profile
from profiles.store import store
from tests.profiles.report_bundles import (
    EMULATOR,
    HOST,
    PHONE,
    SIX,
    artifact,
    check,
    estimated,
    measured,
    write_bundle,
    write_full,
    write_verified,
)


@pytest.fixture
def full(tmp_path):
    return write_full(tmp_path / "full")


def known(*paths) -> Report:
    return gather(paths, operations=False)


def test_results_are_joined_to_artifacts_by_their_hash(full):
    report = known(full)
    assert [item.artifact for item in report.items] == list(SIX)
    assert [item.error for item in report.items] == pytest.approx([1e-5, 1e-10, 3e-3, 5e-5, 1e-10, 5e-3], rel=1e-3)
    assert report.items[1].shown_error == LEAST_ERROR
    assert len(report.timings) == 14
    assert report.devices == (HOST, EMULATOR, PHONE)  # devices, then emulated ones, then estimates
    assert report.bundles[0].missing == report.bundles[0].stale == ()


def test_what_stands_for_an_artifact_is_quiet_and_no_reference(full):
    report = known(full)
    items = {item.artifact.label: item for item in report.items}
    best = report.best(items["executorch/xnnpack w8 text"], HOST)
    assert (best.p50_ms, best.how) == (3.0, "2 threads")  # not the noisy 2.0
    assert report.best(items["coreml fp16 text"], HOST) is None
    assert report.best(items["coreml fp16 text"], PHONE).flags == ("estimated",)
    assert report.best(items["executorch/xnnpack fp32 image"], EMULATOR).flags == ("emulated",)


def test_the_front_is_of_one_model_and_tower(full, tmp_path):
    other = write_bundle(tmp_path / "other", model="mobileclip-demo")
    write_verified(other, [check(entry, 1.0) for entry in SIX])
    report = known(full, other)
    groups = {key[:2]: items for key, items in report.groups().items()}
    assert set(groups) == {(model, tower) for model in ("tinyclip-demo", "mobileclip-demo") for tower in ("image", "text")}
    found = {item.artifact.scheme: best for item, _, best in front(report, groups["tinyclip-demo", "image"], None)}
    assert found == {"fp16": True, "fp32": True, "w8": True}
    exact = {item.artifact.scheme: best for item, _, best in front(report, groups["mobileclip-demo", "image"], None)}
    assert exact == {"fp16": False, "fp32": False, "w8": True}  # all equally exact, so the smallest
    timed = {item.artifact.scheme: best for item, _, best in front(report, groups["tinyclip-demo", "image"], HOST)}
    assert timed == {"fp32": True, "w8": True}


def test_one_artifact_alone_is_no_front(full):
    report = known(full)
    (_, _, best), *others = front(report, report.groups()[("tinyclip-demo", "image", "tinyclip-demo/0123456789abcdef")], PHONE)
    assert not best
    assert not others


def test_other_weights_are_no_alternative(full, tmp_path):
    embedding = {"dim": 128, "l2_normalized": True, "space_id": "tinyclip-demo/ffffffffffffffff"}
    other = write_bundle(tmp_path / "other", embedding=embedding)
    assert len(known(full, other).groups()) == 4


def test_results_of_artifacts_that_are_gone_are_stale(full):
    before = known(full)
    entry = artifact("image", "coreml", "fp16", 4_000_000, sha256="f" * 64)
    manifest = json.loads((full / "edgeclip.json").read_text())
    manifest["artifacts"][0] = msgspec.to_builtins(entry)
    (full / "edgeclip.json").write_text(json.dumps(manifest))
    after = known(full)
    assert after.items[0].checks == ()
    assert after.items[0].passed is None
    assert len(after.timings) == len(before.timings) - 2
    assert set(after.bundles[0].stale) == {
        "verify.json: coreml fp16 image",
        "profile of host: coreml fp16 image",
        "profile of phone-14: coreml fp16 image",
    }
    assert after.bundles[0].missing == (f"edgeclip verify {full}",)


def test_a_bundle_without_results_says_what_to_run(tmp_path):
    bundle = write_bundle(tmp_path / "a folder")
    report = known(bundle)
    assert report.bundles[0].missing == (f"edgeclip verify '{bundle}'", f"edgeclip profile '{bundle}'")
    assert report.devices == report.timings == ()


def test_the_worst_of_several_runtimes_counts(tmp_path):
    bundle = write_bundle(tmp_path / "b", SIX[:2])
    rows = [check(SIX[0], 0.999), check(SIX[0], 0.95, runtime="mil"), check(SIX[1], None, passed=None, error="no GPU here")]
    write_verified(bundle, rows)
    image, other = known(bundle).items
    assert (image.passed, image.worst.runtime, image.error) == (False, "mil", pytest.approx(0.05))
    assert (other.passed, other.error) == (None, None)


def test_bundles_of_one_name_are_told_apart(tmp_path):
    paths = [write_bundle(tmp_path / parent / "demo") for parent in ("a", "b")]
    assert [shown.name for shown in known(*paths).bundles] == ["a/demo", "b/demo"]
    with pytest.raises(UsageError, match="named twice"):
        known(paths[0], paths[0] / ".." / "demo")


def test_verify_writes_what_is_read():
    """Every field that is read is one that `verify` writes."""
    assert set(Check.__struct_fields__) <= {field.name for field in dataclasses.fields(compare.Row)}
    assert set(Verified.__struct_fields__) <= {field.name for field in dataclasses.fields(compare.VerifyResult)}


def _profile(change):
    """JSON of a profile with one row, changed."""
    found = Profile(device=HOST, rows=(measured(SIX[1], 10.0),)).as_json()
    change(found, found["rows"][0])
    return json.dumps(found)


WRONG_PROFILES = {
    "garbled": lambda: "{",
    "NaN": lambda: _profile(lambda whole, row: row.update(load_cold_ms=float("nan"))),
    "an unknown key": lambda: _profile(lambda whole, row: row.update(p50=1)),
    "an estimate under a measuring device": lambda: _profile(
        lambda whole, row: whole.update(rows=[msgspec.to_builtins(estimated(SIX[0], 1.0))])
    ),
    "a kind that does not exist": lambda: _profile(lambda whole, row: whole["device"].update(kind="guessed")),
    "a negative time": lambda: _profile(lambda whole, row: row["latency_ms"].update(min=-1.0)),
    "percentiles out of order": lambda: _profile(lambda whole, row: row["latency_ms"].update(p99=1.0)),
    "a median outside its interval": lambda: _profile(lambda whole, row: row["latency_ms"].update(median_interval=[11, 12])),
    "no time at all": lambda: _profile(lambda whole, row: row["latency_ms"].update(min=0, p50=0, median_interval=[0, 1])),
    "a time beyond any": lambda: _profile(lambda whole, row: row["latency_ms"].update(p99=1e300)),
    "a negative operation": lambda: _profile(lambda whole, row: row.update(operators_ms={"Conv2d": -1.0})),
    "too large": lambda: " " * (4 * 1024 * 1024 + 1),
    "deep": lambda: _profile(lambda whole, row: whole["device"].update(details={"a": "DEEP"})).replace(
        '"DEEP"', "[" * 100_000 + "]" * 100_000
    ),
}


@pytest.mark.parametrize("wrong", WRONG_PROFILES)
def test_a_profile_that_is_not_one_is_an_error_that_names_it(full, wrong):
    (full / "profile" / "host.json").write_text(WRONG_PROFILES[wrong]())
    with pytest.raises(InputError, match=r"host\.json: "):
        known(full)


WRONG_RESULTS = {
    "garbled": "{",
    "a cosine that none can be": json.dumps({"rows": [check(SIX[0], 5.0)]}),
    "no threshold": json.dumps({"rows": [check(SIX[0], 0.9, threshold={})]}),
    "a tower that does not exist": json.dumps({"rows": [check(SIX[0], 0.9, tower="audio")]}),
    "rows that are none": json.dumps({"rows": 3}),
}


@pytest.mark.parametrize("wrong", WRONG_RESULTS)
def test_a_result_that_is_not_one_is_an_error_that_names_it(full, wrong):
    (full / "verify.json").write_text(WRONG_RESULTS[wrong])
    with pytest.raises(InputError, match=r"verify\.json: .*run `edgeclip verify"):
        known(full)


@pytest.mark.parametrize("name", ["verify.json", "profile/host.json"])
def test_a_link_out_of_the_bundle_is_refused(full, tmp_path, name):
    (tmp_path / "secret.json").write_text("{}")
    (full / name).unlink()
    (full / name).symlink_to(tmp_path / "secret.json")
    with pytest.raises(InputError, match="leads out of the bundle"):
        known(full)


def test_sizes_and_counts_are_bounded(full, tmp_path):
    with pytest.raises(EdgeclipError, match="more than any file's"):
        known(write_bundle(tmp_path / "huge", [artifact("image", "coreml", "fp16", 10**400)]))
    for index in range(MAX_PROFILES + 1):
        store(full, Profile(device=msgspec.structs.replace(HOST, id=f"d{index}"), rows=()))
    with pytest.raises(InputError, match="at most"):
        read_profiles(type("B", (), {"path": full})())


def test_what_was_timed_of_the_original_is_not_stale(full):
    """`profile --runtime torch` keeps rows with the weights' hash: of no artifact, and of none that is gone."""
    weights = json.loads((full / "edgeclip.json").read_text())["weights"]["sha256"]
    original = measured(SIX[1], 9.0, runtime="torch", target="torch", backend=None, sha256=weights)
    store(full, Profile(device=HOST, rows=(measured(SIX[1], 8.0), original)))
    assert known(full).bundles[0].stale == ()


def test_budgets_go_with_the_artifacts_that_were_held_against_them(full):
    line = BudgetLine(limit="ms 20", unit="ms", most=20.0, found=8.0, passed=True, rows=("x",))
    kept, gone = measured(SIX[1], 8.0), measured(SIX[2], 8.0, sha256="f" * 64, scheme="w4\x1b[2J")
    store(full, Profile(device=HOST, rows=(kept,), budget=(line,)))
    assert len(budgets(known(full)).rows) == 1
    store(full, Profile(device=HOST, rows=(kept, gone), budget=(line,)))
    report = known(full)
    assert budgets(report).rows == ()
    assert report.bundles[0].stale == ("profile of host: executorch/xnnpack w4\ufffd[2J image",)


def test_a_profile_is_not_written_through_a_link(full, tmp_path):
    shutil.rmtree(full / "profile")
    (tmp_path / "elsewhere").mkdir()
    (full / "profile").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="leads out of the bundle"):
        store(full, Profile(device=HOST, rows=()))
    assert list((tmp_path / "elsewhere").iterdir()) == []
