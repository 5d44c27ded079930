"""Profiles as files, and an earlier one as a bar."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from edgeclip.errors import InputError, UsageError
from profiles.baseline import compared, read_baseline
from profiles.results import EstimatedProfile, MeasuredProfile
from profiles.store import read_profile, store
from tests.profiles.rows import HERE, estimated, measured, profile_of


def _written(tmp_path, profile):
    file = tmp_path / "before.json"
    file.write_text(json.dumps(profile.as_json()))
    return file


@pytest.mark.parametrize(
    ("now", "before", "spread", "tolerance", "passed"),
    [
        (10.0, 10.0, 0.01, 0.05, True),
        (10.9, 10.0, 0.01, 0.05, False),
        (10.9, 10.0, 0.05, 0.05, True),  # slower, but the intervals say little
        (10.9, 10.0, 0.01, 0.10, True),
        (5.0, 10.0, 0.01, 0.0, True),  # faster is no regression
        (10.2, 10.0, 0.001, 0.0, False),
    ],
)
def test_only_slower_beyond_doubt_fails(tmp_path, now, before, spread, tolerance, passed):
    file = _written(tmp_path, profile_of(measured(before, spread)))
    (change,) = compared(profile_of(measured(now, spread)), read_baseline(file), tolerance, file)
    assert change.ratio == pytest.approx(now / before)
    assert change.interval[0] < change.ratio < change.interval[1]
    assert change.passed is passed


def test_rows_are_matched_by_what_they_are(tmp_path):
    before = profile_of(measured(10.0), measured(6.0, threads=2), measured(4.0, tower="text"))
    file = _written(tmp_path, before)
    now = profile_of(measured(4.0, tower="text", sha256="d" * 64), measured(6.0, threads=2), measured(1.0, scheme="w8"))
    found = compared(now, read_baseline(file), 0.05, file)
    assert [(change.label, change.ratio) for change in found] == [
        ("executorch/xnnpack fp32 text 1 thread", 1.0),
        ("executorch/xnnpack fp32 image 2 threads", 1.0),
    ]


def test_nothing_in_common_is_an_error(tmp_path):
    file = _written(tmp_path, profile_of(measured(10.0, scheme="w8")))
    with pytest.raises(UsageError, match="no row in common with this run; it holds executorch/xnnpack w8 image"):
        compared(profile_of(measured(10.0)), read_baseline(file), 0.05, file)


def test_an_artifact_that_cannot_run_any_more_is_an_error(tmp_path):
    file = _written(tmp_path, profile_of(measured(10.0), measured(4.0, tower="text")))
    now = structs.replace(profile_of(measured(10.0)), not_run={"executorch/xnnpack fp32 text": "the worker died"})
    with pytest.raises(UsageError, match="fp32 text 1 thread, which could not be run now: the worker died"):
        compared(now, read_baseline(file), 0.05, file)


@pytest.mark.parametrize("other", [{"cpu": "Other 1"}, {"cores": 4}, {"architecture": "aarch64"}, {"system": "Darwin"}])
def test_another_machine_is_refused_and_both_are_named(tmp_path, other):
    file = _written(tmp_path, profile_of(measured(), details={**HERE, **other}))
    with pytest.raises(UsageError) as caught:
        compared(profile_of(measured()), read_baseline(file), 0.05, file)
    for value in (*other.values(), HERE[next(iter(other))]):
        assert str(value) in str(caught.value)


def test_what_changes_from_day_to_day_is_no_other_machine(tmp_path):
    file = _written(tmp_path, profile_of(measured(), details={**HERE, "load_average": [0.1, 0.2, 0.3], "python": "3.10.1"}))
    assert compared(profile_of(measured()), read_baseline(file), 0.05, file)


def test_another_device_is_refused(tmp_path):
    file = _written(tmp_path, profile_of(measured(), identifier="android-1"))
    with pytest.raises(UsageError, match=r"device android-1.*device host"):
        compared(profile_of(measured()), read_baseline(file), 0.05, file)


def test_an_estimate_is_no_baseline(tmp_path):
    file = _written(tmp_path, profile_of(estimated(2.0, 1.0, 3.0)))
    with pytest.raises(UsageError, match="has to be measured"):
        read_baseline(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.pop("rows"),
        lambda value: value["rows"].append({}),
        lambda value: value["rows"][0].update(extra=1),
        lambda value: value["rows"][0]["latency_ms"].update(p50="10"),
        lambda value: value["rows"][0]["latency_ms"].update(p50=None),
        lambda value: value["rows"][0]["latency_ms"].update(p50=-1.0),
        lambda value: value["rows"][0]["latency_ms"].update(median_interval=[0.0, 1.0]),
        lambda value: value["rows"][0]["latency_ms"].update(median_interval=[11.0, 12.0]),
        lambda value: value["rows"][0].update(latency_ms={"p50": 1.0, "low": 1.0, "high": 1.0}),
        lambda value: value["device"].update(kind="guessed"),
        lambda value: value["device"].update(kind="estimated"),
        lambda value: value.update(schema="edgeclip.profile/2"),
    ],
)
def test_files_that_say_something_else_are_errors(tmp_path, change):
    value = json.loads(json.dumps(profile_of(measured()).as_json()))
    change(value)
    file = tmp_path / "before.json"
    file.write_text(json.dumps(value))
    with pytest.raises((InputError, UsageError), match=r"before\.json"):
        read_baseline(file)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b" " * 5_000_000])
def test_files_that_are_nothing_are_errors(tmp_path, content):
    file = tmp_path / "before.json"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"before\.json"):
        read_baseline(file)


def test_a_folder_or_nothing_at_all(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path, tmp_path / "none.json", tmp_path / "pipe.json"):
        with pytest.raises(InputError, match="cannot be read"):
            read_baseline(path)


@given(st.floats(1e-3, 1e6), st.booleans())
def test_what_is_stored_reads_back(tmp_path_factory, p50, estimate):
    bundle = tmp_path_factory.mktemp("bundle")
    profile = profile_of(estimated(p50, p50 / 2, p50 * 2) if estimate else measured(p50))
    path = store(bundle, profile)
    assert path == bundle / "profile" / "host.json"
    found = read_profile(path)
    assert isinstance(found, EstimatedProfile if estimate else MeasuredProfile)
    assert found.as_json() == profile.as_json()
    assert [file.name for file in path.parent.iterdir()] == ["host.json"]


@pytest.mark.parametrize(
    ("identifier", "name"), [("android:R5/8", "android-R5-8.json"), ("../../x", "-..-x.json"), ("..", "device.json")]
)
def test_a_device_cannot_choose_another_folder(tmp_path, identifier, name):
    path = store(tmp_path, profile_of(measured(), identifier=identifier))
    assert path == tmp_path / "profile" / name


def test_a_bundle_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "profile").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        store(tmp_path, profile_of(measured()))
