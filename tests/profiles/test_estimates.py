"""Estimates: calibration against the published table, files of devices, and what makes an estimate larger."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy.optimize import nnls

from edgeclip.errors import InputError, UsageError
from edgeclip.operations import Operation
from profiles.estimates.device_file import FOLDER, DeviceFile, names, read_device
from profiles.estimates.neural_engine import Constants, constants, estimate
from profiles.estimates.published import PARAMETERS, calibrate, fit, predict, read_published
from tests.profiles.report_bundles import SIX, write_bundle

TABLE = FOLDER / "published" / "iphone12pro.json"
PLAIN = Constants(
    dispatch_ms=0.5,
    ms_per_gmac=0.2,
    ms_per_mb=0.03,
    cpu_ms_per_gmac=10.0,
    cpu_ms_per_mb=0.03,
    load_ms_per_mb=1.0,
    error_percent=(5.0, 20.0),
)
CONV = Operation("conv", "ne", macs=10**9, weight_bytes=2 * 10**6, weight_values=10**6, activation_bytes=10**6)


@pytest.fixture(scope="module")
def rows():
    return read_published(TABLE).rows


def test_left_out_rows_are_predicted_within_the_bars(rows):
    found = calibrate(rows)
    assert len(rows) == len(found.errors_percent) == 11
    assert found.mean_percent <= 10
    assert found.worst_percent <= 25


def test_left_out_rows_are_indeed_left_out(rows):
    """By another solver, and by hand: the row that is predicted has no part in the fit."""
    scaled = np.array([[feature / row.latency_ms for feature in (1, row.gmacs, row.weight_mb)] for row in rows])
    for place, error in enumerate(calibrate(rows).errors_percent):
        others = np.delete(scaled, place, 0)
        expected = scaled[place] @ nnls(others, np.ones(len(others)))[0]
        assert error == pytest.approx(100 * (expected - 1), abs=1e-6)


def test_what_is_exact_is_found(rows):
    wanted = (0.4, 0.2, 0.0)
    made = list(rows)

    made = [msgspec.structs.replace(row, latency_ms=predict(wanted, row)) for row in made]
    assert fit(made) == pytest.approx(wanted, abs=1e-9)


def test_constants_are_physical(rows):
    """The Neural Engine is no faster than Apple says of the A14, and memory about as fast as LPDDR4X is."""
    dispatch, per_gmac, per_mb = fit(rows)
    assert 0.1 < dispatch < 1
    assert 5 < 2 / per_gmac < 11
    assert 25 < 1 / per_mb < 40


def test_files_hold_what_the_script_fits():
    done = subprocess.run(
        [sys.executable, "scripts/calibrate_devices.py", "--check"], cwd=FOLDER.parents[1], capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("name", names())
def test_files_can_be_read_and_have_sources(name):
    device = read_device(name)
    found = constants(device)
    assert found.error_percent[0] < found.error_percent[1]
    for constant in (device.neural_engine_tera_operations_per_s, device.memory_gb_per_s, device.storage_read_mb_per_s):
        assert "http" in constant.source or ".toml" in constant.source or "A14" in constant.source


def test_scaled_devices_are_less_certain():
    base, scaled = (constants(read_device(name)) for name in ("iphone-12-pro-max", "iphone-14-pro"))
    assert scaled.error_percent[1] == pytest.approx(2 * base.error_percent[1])
    assert scaled.ms_per_gmac == pytest.approx(base.ms_per_gmac * 11 / 17)
    assert scaled.ms_per_mb < base.ms_per_mb
    assert scaled.dispatch_ms == base.dispatch_ms


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('chip = "', 'color = "red"\nchip = "'),
        ("value = 11.0", 'value = "fast"'),
        ("value = 11.0", "value = -1.0"),
        ("value = 11.0\n", "value = 11.0\nsource2 = 'x'\n"),
        ("[calibrated]", "[fitted]"),
    ],
)
def test_files_are_strict(before, after, tmp_path):
    text = (FOLDER / "iphone-12-pro-max.toml").read_text("utf-8")
    assert before in text
    (tmp_path / "phone.toml").write_text(text.replace(before, after, 1), "utf-8")
    with pytest.raises(InputError, match=r"phone\.toml: not a description of a device"):
        read_device("phone", tmp_path)


def test_a_constant_without_a_source_is_refused(tmp_path):
    lines = (FOLDER / "iphone-12-pro-max.toml").read_text("utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("source"))
    del lines[first]
    (tmp_path / "phone.toml").write_text("\n".join(lines), "utf-8")
    with pytest.raises(InputError, match="source"):
        read_device("phone", tmp_path)


def test_an_unknown_device_lists_the_known():
    with pytest.raises(UsageError, match="iphone-12-pro-max"):
        read_device("iphone-12-pro")


def test_an_estimate_adds_up():
    found = estimate([CONV, CONV], ("ne",), PLAIN)
    assert found.latency_ms.p50 == pytest.approx(0.5 + 2 * 0.2 + 4 * 0.03)
    assert sum(found.bounds.values()) == pytest.approx(found.latency_ms.p50)
    assert sum(found.operators_ms.values()) == pytest.approx(found.latency_ms.p50)
    assert found.latency_ms.low < found.latency_ms.p50 < found.latency_ms.high


def test_more_work_takes_longer():
    times = [
        estimate([dataclasses.replace(CONV, macs=macs)], ("ne",), PLAIN).latency_ms.p50 for macs in (0, 10**6, 10**9, 10**10)
    ]
    assert times == sorted(set(times))


def test_what_the_neural_engine_refuses_raises_the_estimate():
    refused = dataclasses.replace(CONV, unit="cpu")
    whole, split = estimate([CONV, CONV], ("ne",), PLAIN), estimate([CONV, refused], ("ne", "cpu"), PLAIN)
    assert split.latency_ms.p50 > whole.latency_ms.p50 + 5
    assert split.bounds["fallback"] == pytest.approx(10.0)
    width = split.latency_ms.high / split.latency_ms.low
    assert width > whole.latency_ms.high / whole.latency_ms.low


def test_switching_widens_the_range():
    once, twice = (estimate([CONV], segments, PLAIN).latency_ms for segments in (("ne",), ("ne", "cpu", "ne")))
    assert twice.p50 == once.p50
    assert twice.high > once.high


def test_compressed_weights_may_not_help():
    """The range reaches up to what float16 weights would take."""
    packed = dataclasses.replace(CONV, weight_bytes=CONV.weight_bytes // 4)
    plain, small = estimate([CONV], ("ne",), PLAIN).latency_ms, estimate([packed], ("ne",), PLAIN).latency_ms
    assert small.p50 < plain.p50
    assert small.high == pytest.approx(plain.high)


def test_devices_are_part_of_the_wheel():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    assert '"profiles.devices" = ["*.toml", "published/*.json"]' in text
    assert isinstance(read_device("iphone-12-pro-max"), DeviceFile)


def test_the_range_holds_every_row_that_was_left_out(rows):
    """The one that is off most is at an end of its range, whether its estimate is too low or too high."""
    found = calibrate(rows)
    for place, row in enumerate(rows):
        fitted = dict(zip(PARAMETERS, fit([*rows[:place], *rows[place + 1 :]]), strict=True))
        device = dataclasses.replace(PLAIN, **fitted, error_percent=(found.mean_percent, found.worst_percent))
        weight = round(row.weight_mb * 1e6)
        tower = dataclasses.replace(CONV, macs=round(row.gmacs * 1e9), weight_bytes=weight, weight_values=weight // 2)
        latency = estimate([tower], ("ne",), device).latency_ms
        assert latency.low * (1 - 1e-6) <= row.latency_ms <= latency.high * (1 + 1e-6)


def test_an_estimator_without_a_range_is_refused():
    with pytest.raises(ValueError, match="gives no range"):
        dataclasses.replace(PLAIN, error_percent=(50.0, 100.0))


def test_where_nothing_can_be_estimated_it_is_an_error(cli, tmp_path):
    """And not a profile without rows, which would pass whatever it is held against."""
    bundle = write_bundle(tmp_path / "b", [entry for entry in SIX if entry.target == "executorch"])
    result = cli("profile", bundle, "--device", "iphone-12-pro-max")
    assert result.status == 2
    assert "nothing of it was estimated (executorch/xnnpack fp32 image: " in result.error
    assert not (bundle / "profile").exists()


def test_the_host_model_takes_no_argument(cli, tmp_path):
    result = cli("profile", write_bundle(tmp_path / "b"), "--device", "host-model:fast")
    assert result.status == 2
    assert "takes nothing after a colon" in result.error
