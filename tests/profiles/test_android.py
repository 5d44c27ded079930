"""`android:SERIAL` against a stand-in for adb: what is measured, and that nothing is where something is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgeclip.errors import DeviceError, EdgeclipError, InputError, MissingPackageError, NotRunnableError, UsageError
from edgeclip.manifest import Bundle
from profiles.device import Request
from profiles.runners import adb, android, phone_row
from profiles.runners.adb import FAILURES, STATES
from tests.profiles import phones
from tests.profiles.phones import SERIAL, Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A phone in order, reached through the stand-in for adb."""
    monkeypatch.delenv(android.RUNNER_VARIABLE, raising=False)
    return phones.make_home(tmp_path / "home", monkeypatch)


@pytest.fixture
def request_(tmp_path: Path, home: Home) -> Request:
    """A bundle of one tower and a runner, to be run for a short time."""
    phones.write_phone_bundle(tmp_path / "bundle", home, towers=("text",))
    runner = phones.write_runner(tmp_path / "executor_runner")
    return Request(bundle=Bundle.open(tmp_path / "bundle"), argument=SERIAL, runner=runner, most_s=0.03)


def _with(request: Request, **changes) -> Request:
    return Request(**{**vars(request), **changes})


def test_both_towers_are_measured(home, request_, tmp_path):
    phones.write_phone_bundle(tmp_path / "both", home)
    profile = android.DEVICE.profile(_with(request_, bundle=Bundle.open(tmp_path / "both"), threads=(1, 2)))
    device = profile.device
    assert (device.id, device.kind, device.name, device.emulated) == (
        f"android:{SERIAL}",
        "measured",
        "samsung SM-G991B",
        False,
    )
    assert [(row.tower, row.threads) for row in profile.rows] == [("image", 1), ("image", 2), ("text", 1), ("text", 2)]
    for row in profile.rows:
        # The stand-in draws 5 ms for one thread, 2.5 ms for two, three times that for the first, and 36 to 44 ms to load.
        assert row.runtime == "executorch"
        assert row.latency_ms.p50 == pytest.approx(5.0 / row.threads, rel=0.006)
        assert row.latency_ms.min >= 4.97 / row.threads
        assert row.first_ms == pytest.approx(15.0 / row.threads, rel=0.006)
        assert 36 <= row.load_cold_ms <= 44
        assert 36 <= row.load_warm_ms <= 44
        assert row.peak_memory_mb == pytest.approx(151552 * 1024 / 1e6)
        assert row.operators_ms == pytest.approx({"Convolution (NHWC, F32) IGEMM": 0.0027, "embedding.out": 0.001})
        assert row.noisy == ()
    assert set(profile.not_run) == {"coreml fp32 image", "coreml fp32 text"}
    assert device.details["golden_cosine"] == {label: pytest.approx(1.0) for label in device.details["golden_cosine"]}
    assert device.details["before"]["battery_celsius"] == 27.4
    assert device.details["before"]["thermal_status"] == "none"
    assert device.details["pinned_to"] == {"1": [7], "2": [4, 5, 6, 7]}
    assert json.loads(json.dumps(profile.as_json()))["device"]["details"]["processor"] == "Samsung Exynos 2100"


def test_runs_are_pinned_to_the_fastest_cores(home, request_):
    android.DEVICE.profile(_with(request_, threads=(2,)))
    assert set(home.get("masks").split()) == {"80", "f0"}  # the trial, and the runs


def test_where_pinning_is_not_allowed_it_is_left_out(home, request_):
    home.set("scenario", "no-pinning")
    profile = android.DEVICE.profile(request_)
    assert profile.device.details["pinned_to"] == {"1": None}
    assert len(profile.rows) == 1


def test_a_release_without_a_line_per_iteration_is_read_too(home, request_):
    home.set("release", "1.3")
    rows = android.DEVICE.profile(request_).rows
    assert rows[0].latency_ms.p50 == pytest.approx(5.0, rel=0.006)
    assert 36 <= rows[0].load_cold_ms <= 44


def test_an_emulator_is_labelled(home, request_, tmp_path):
    phones.set_properties(home, phones.EMULATOR)
    for file in (home.path / "root/sys").rglob("*freq*/*"):
        file.unlink()
    (home.path / "dumpsys-thermalservice").unlink()
    device = android.DEVICE.profile(request_).device
    assert device.emulated
    assert device.name == "Google sdk_gphone64_arm64 (emulator)"
    assert device.details["pinned_to"] == {"1": None}
    assert device.details["before"]["thermal_status"] is None


def test_the_only_device_needs_no_serial(home, request_):
    assert android.DEVICE.profile(_with(request_, argument="")).device.id == f"android:{SERIAL}"


def test_several_devices_are_listed(home, request_):
    home.set("devices", f"{SERIAL}\tdevice\nemulator-5554\tdevice\n")
    with pytest.raises(UsageError, match=f"android:{SERIAL}, android:emulator-5554"):
        android.DEVICE.profile(_with(request_, argument=""))


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("offline", "reconnect the cable"),
        ("unauthorized", "Allow USB debugging"),
        ("authorizing", "Allow USB debugging"),
        ("no permissions (missing udev rules? user is in the plugdev group); see [http://developer.android.com/x]", "udev"),
        ("recovery", "boot Android"),
        ("somethingnew", "'somethingnew'"),
    ],
)
def test_a_device_that_is_not_ready(home, request_, state, says):
    home.set("devices", f"{SERIAL}\t{state}\n")
    with pytest.raises(DeviceError, match=re.escape(says)) as caught:
        android.DEVICE.profile(request_)
    assert f"android:{SERIAL}" in str(caught.value)


def test_no_device(home, request_):
    home.set("devices", "")
    with pytest.raises(DeviceError, match="sees no device"):
        android.DEVICE.profile(_with(request_, argument=""))
    with pytest.raises(DeviceError, match="sees no such device"):
        android.DEVICE.profile(request_)


def test_another_device(home, request_):
    with pytest.raises(DeviceError, match=f"no such device; it sees {SERIAL}"):
        android.DEVICE.profile(_with(request_, argument="X1"))


# What is wrong, and what the one line about it says.
BROKEN = {
    "no-server": (DeviceError, "cannot connect to daemon"),
    "disconnect": (DeviceError, "broke off or arrived garbled"),
    "cut": (DeviceError, "broke off or arrived garbled"),
    "flip": (DeviceError, "altered on the way"),
    "flip-push": (DeviceError, "arrived altered"),
    "flip-pull": (DeviceError, "altered on the way"),
    "nospace-push": (DeviceError, "no space left"),
    "readonly-push": (DeviceError, "does not let adb write"),
    "killed": (DeviceError, "want of memory"),
    "crash": (DeviceError, "crashed"),
    "no-backend": (NotRunnableError, "no XnnpackBackend"),
    "no-kernel": (NotRunnableError, "no kernel quantized_decomposed::embedding_byte.out"),
    "no-log": (DeviceError, "EXECUTORCH_ENABLE_LOGGING=ON"),
    "no-tracer": (InputError, "no --etdump_path"),
    "miscounted": (DeviceError, "instead of 3"),
    "two-clocks": (DeviceError, "disagree"),
    "wrong-numbers": (NotRunnableError, "computes something else there"),
}


@pytest.mark.parametrize("scenario", BROKEN)
def test_what_goes_wrong_is_one_clear_line_and_no_number(home, request_, scenario):
    home.set("scenario", scenario)
    kind, says = BROKEN[scenario]
    with pytest.raises(kind) as caught:
        android.DEVICE.profile(request_)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2
    if scenario != "disconnect":
        assert list(home.scratch.iterdir()) == []  # cleaned up
    else:
        assert f"{adb.SCRATCH}/edgeclip-" in str(caught.value)  # and where not, it is said


def test_a_device_that_does_not_answer(home, request_, monkeypatch):
    home.set("scenario", "deaf")
    monkeypatch.setattr(phone_row, "_START_S", 0.3)
    with pytest.raises(DeviceError, match="no answer within"):
        android.DEVICE.profile(request_)
    assert list(home.scratch.iterdir()) == []
    assert "dgeclip-" in home.get("killed")


def test_an_interrupt_cleans_up(home, request_, monkeypatch):
    def interrupted(path, executions):
        raise KeyboardInterrupt

    monkeypatch.setattr(phone_row, "read_etdump", interrupted)
    with pytest.raises(KeyboardInterrupt):
        android.DEVICE.profile(request_)
    assert list(home.scratch.iterdir()) == []


def test_too_little_space(home, request_):
    home.set("df", phones.DF.replace("64363136", "20480"))
    with pytest.raises(DeviceError, match="20 MB free"):
        android.DEVICE.profile(request_)
    assert "push" not in home.get("calls")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda home: home.set("dumpsys-thermalservice", phones.THERMAL.replace("Status: 0", "Status: 3")), "throttling"),
        (
            lambda home: home.set(
                "dumpsys-battery", phones.BATTERY.replace("USB powered: true", "USB powered: false").replace("87", "7")
            ),
            "7 %",
        ),
        (lambda home: phones.set_cores(home, phones.CLUSTERS, (*phones.CLUSTERS[:7], 1_420_800)), "cores 7 were held"),
    ],
)
def test_what_speaks_against_the_figures_is_in_every_row(home, request_, change, says):
    change(home)
    assert all(any(says in why for why in row.noisy) for row in android.DEVICE.profile(request_).rows)


def test_a_runner_is_asked_for_with_the_way_to_build_it(home, request_, monkeypatch):
    with pytest.raises(UsageError, match="--target executor_runner"):
        android.DEVICE.profile(_with(request_, runner=None))
    monkeypatch.setenv(android.RUNNER_VARIABLE, str(request_.runner))
    assert android.DEVICE.profile(_with(request_, runner=None)).rows


@pytest.mark.parametrize(("machine", "says"), [(62, "built for x86_64"), (40, "no program for Android")])
def test_a_runner_for_another_processor(home, request_, tmp_path, machine, says):
    with pytest.raises(InputError, match=says):
        android.DEVICE.profile(_with(request_, runner=phones.write_runner(tmp_path / "other", machine)))


def test_a_delegate_that_android_does_not_have(home, request_, tmp_path):
    phones.write_phone_bundle(tmp_path / "foreign", home, delegates=("CoreMLBackend",))
    with pytest.raises(NotRunnableError, match="no CoreMLBackend on Android"):
        android.DEVICE.profile(_with(request_, bundle=Bundle.open(tmp_path / "foreign")))


def test_an_altered_artifact_is_not_run(home, request_):
    (request_.bundle.path / "executorch/text.pte").write_bytes(b"other")
    with pytest.raises(EdgeclipError, match="hash"):
        android.DEVICE.profile(request_)


def test_adb_has_to_be_there(request_, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackageError, match="platform-tools"):
        android.DEVICE.profile(request_)


@pytest.mark.parametrize(
    ("said", "index"),
    [
        ("error: device 'X1' not found", 0),
        ("adb: device offline", 1),
        ("error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", 2),
        ("error: device still authorizing", 3),
        ("error: insufficient permissions for device: missing udev rules?", 5),
        ("adb: error: failed to copy 'a' to 'b': remote couldn't write file: No space left on device", 6),
        ("adb: error: failed to copy 'a' to 'b': remote couldn't create file: Permission denied", 7),
        ("adb: failed to check server version: cannot connect to daemon at tcp:5037: Connection refused", 8),
        ("error: closed", 9),
        ("adb: error: connect failed: device disconnected", 9),
        ("error: protocol fault (couldn't read status): Connection reset by peer", 9),
    ],
)
def test_what_adb_says_is_understood(said, index):
    assert adb.explained(said, FAILURES) == FAILURES[index][1]
    assert len({state for state, _ in STATES}) == len(STATES)


def test_the_command_line(home, request_, cli):
    words = [
        "profile",
        request_.bundle.path,
        "--device",
        f"android:{SERIAL}",
        "--runner",
        request_.runner,
        "--max-seconds",
        "0.03",
    ]
    said = cli(*words, "--json")
    assert said.status == 0
    assert said.json["device"]["id"] == f"android:{SERIAL}"
    assert [row["runtime"] for row in said.json["rows"]] == ["executorch"]
    home.set("scenario", "killed")
    said = cli(*words)
    assert (said.status, said.out) == (2, "")
    assert "want of memory" in said.error
