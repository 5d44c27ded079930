"""What a phone says about itself: texts as public sources record them, and those that no phone prints."""

from __future__ import annotations

import pytest

from edgeclip.errors import DeviceError
from profiles.runners import android_state
from profiles.runners.android_state import Condition, Core, disturbances, fastest, mask, parse_condition, parse_cores, parse_df
from tests.profiles.phones import BATTERY, DF, THERMAL


def _cores(*speeds: int | None) -> list[Core]:
    return [Core(number, speed, speed, "schedutil") for number, speed in enumerate(speeds)]


@pytest.mark.parametrize(
    ("speeds", "threads", "chosen"),
    [
        ((18, 18, 18, 18, 24, 24, 24, 28), 1, (7,)),
        ((18, 18, 18, 18, 24, 24, 24, 28), 2, (4, 5, 6, 7)),
        ((18, 18, 18, 18, 24, 24, 24, 28), 4, (4, 5, 6, 7)),
        ((18, 18, 18, 18, 24, 24, 24, 28), 5, ()),  # all of them: nothing to choose
        ((20, 20, 20, 20), 1, ()),
        ((20, 20, None, 30), 1, ()),
        ((25, 25, 18, 18), 2, (0, 1)),  # big cores first, as some chips number them
    ],
)
def test_the_fastest_cluster_that_is_large_enough(speeds, threads, chosen):
    assert fastest(_cores(*speeds), threads) == chosen


def test_masks_are_what_taskset_takes():
    for numbers in [(0,), (7,), (4, 5, 6, 7), (0, 9)]:
        assert [bit for bit in range(12) if int(mask(numbers), 16) >> bit & 1] == list(numbers)


def test_cores_without_cpufreq():
    assert parse_cores("0 - - -\n1 1800000 1500000 schedutil\n") == (
        Core(0, None, None, None),
        Core(1, 1_800_000, 1_500_000, "schedutil"),
    )


@pytest.mark.parametrize("text", ["", "0 fast - -\n", "0 - - -\n0 - - -\n", "0 1800000\n", "cat: not found\n"])
def test_cores_that_make_no_sense(text):
    with pytest.raises(DeviceError):
        parse_cores(text)


def test_battery_and_heat():
    found = parse_condition(BATTERY, THERMAL)
    assert found == Condition(battery_percent=87, battery_celsius=27.4, charging=True, powered=True, thermal_status=0)
    assert parse_condition(BATTERY.replace("scale: 100", "scale: 200"), "").battery_percent == 44
    assert parse_condition(BATTERY, "Can't find service: thermalservice\n").thermal_status is None


@pytest.mark.parametrize(
    ("battery", "thermal"),
    [
        ("", THERMAL),
        (BATTERY.replace("Current", "Other"), THERMAL),
        (BATTERY.replace("level: 87", "level: 187"), THERMAL),
        (BATTERY.replace("level: 87", "level: ?"), THERMAL),
        (BATTERY + "  level: 3\n", THERMAL),
        (BATTERY.replace("temperature: 274", "temperature: 2740"), THERMAL),
        (BATTERY.replace("status: 2", "status: 9"), THERMAL),
        (BATTERY.replace("scale: 100", "scale: 0"), THERMAL),
        (BATTERY, THERMAL.replace("Status: 0", "Status: 7")),
        (BATTERY, THERMAL * 2),
    ],
)
def test_what_no_battery_says(battery, thermal):
    with pytest.raises(DeviceError):
        parse_condition(battery, thermal)


@pytest.mark.parametrize(
    ("text", "free"),
    [
        (DF, 64363136 * 1024),
        ("Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/fuse 10 9 0 100% /storage/emulated\n", 0),
    ],
)
def test_free_space(text, free):
    assert parse_df(text) == free


@pytest.mark.parametrize(
    "text", ["", DF.splitlines()[0], DF.replace("1K-blocks", "Size"), DF + DF, "df: /data: Permission denied\n"]
)
def test_free_space_that_is_not_told(text):
    with pytest.raises(DeviceError):
        parse_df(text)


def test_a_quiet_phone_disturbs_nothing():
    quiet = parse_condition(BATTERY, THERMAL)
    assert disturbances(quiet, quiet, _cores(18, 28)) == ()


def test_a_phone_that_warms_up():
    before = parse_condition(BATTERY, THERMAL)
    after = parse_condition(BATTERY.replace("274", "331"), THERMAL.replace("Status: 0", "Status: 1"))
    assert [why.split(" (")[0] for why in disturbances(before, after, _cores(18, 28))] == [
        "it was throttling after the run",
        "its battery warmed from 27.4 to 33.1 degrees C",
    ]


def test_properties_are_those_that_were_asked_for():
    names = android_state.PROPERTIES
    text = "".join(f"{name}={'arm64-v8a' if 'abilist' in name else ''}\n" for name in names)
    assert android_state.parse_properties(text) == {"ro.product.cpu.abilist": "arm64-v8a"}
    for wrong in ("", text[5:], text.replace("arm64-v8a", ""), text + "more=1\n"):
        with pytest.raises(DeviceError):
            android_state.parse_properties(wrong)
