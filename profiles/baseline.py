"""Has it become slower? A profile against an earlier one of the same machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeclip.errors import InputError, UsageError
from profiles.results import Change, Device, Latency, MeasuredRow, Profile, artifact_label, label
from profiles.stats import mover
from profiles.store import read_profile

# What makes a machine another one. Not its name: a container has a new one each time.
IDENTITY = ("cpu", "processor", "cores", "architecture", "system", "product")


def read_baseline(path: Path) -> Profile:
    """An earlier `profile --json`, if it was measured."""
    found = read_profile(path)
    if found.device.kind != "measured":
        raise UsageError(f"{path}: an estimate of {found.device.name}; a baseline has to be measured")
    for row in found.rows:
        if isinstance(row, MeasuredRow) and not 0 < row.latency_ms.median_interval[0] <= row.latency_ms.p50:
            raise InputError(f"{path}: {label(row)} has a median outside its interval")
    return found


def compared(now: Profile, before: Profile, tolerance: float, path: Path) -> tuple[Change, ...]:
    """Every row that both have, this to that; one fails if its whole interval is above 1 + tolerance.

    The ratio is that of the medians, its interval `stats.mover` of theirs. It knows what varied within the two runs, not from
    one process to the next, which the tolerance is for. Raises UsageError for another device or machine, no row in common, or
    an artifact that ran then and cannot now.
    """
    _same_machine(now.device, before.device, path)
    for row in before.rows:
        if why := now.not_run.get(artifact_label(row)):
            raise UsageError(f"{path}: holds {label(row)}, which could not be run now: {why}")
    earlier = {_key(row): row for row in before.rows if isinstance(row, MeasuredRow)}
    changes = []
    for row in now.rows:
        if not isinstance(row, MeasuredRow) or _key(row) not in earlier:
            continue
        this, that = row.latency_ms, earlier[_key(row)].latency_ms
        ratio = this.p50 / that.p50
        interval = mover(ratio, _limits(this), _limits(that))
        medians = (this.p50, that.p50)
        passed = interval[0] <= 1 + tolerance
        changes.append(Change(label=label(row), ratio=ratio, interval=interval, p50_ms=medians, passed=passed))
    if not changes:
        held = ", ".join(label(row) for row in before.rows) or "nothing"
        raise UsageError(f"{path}: no row in common with this run; it holds {held}")
    return tuple(changes)


def _key(row: MeasuredRow) -> tuple[object, ...]:
    """What has to agree for two rows to be one thing at two times; the artifact's bytes may differ."""
    return (row.model, row.tower, row.target, row.backend, row.scheme, row.runtime, row.threads)


def _limits(latency: Latency) -> tuple[float, float, float]:
    low, high = latency.median_interval
    return low, latency.p50, max(high, latency.p50)


def _same_machine(now: Device, before: Device, path: Path) -> None:
    here, there = _identity(now), _identity(before)
    if here != there:
        raise UsageError(f"{path}: measured on another machine ({_words(there)}), this is {_words(here)}; profile anew there")


def _identity(device: Device) -> dict[str, Any]:
    details: Mapping[str, Any] = device.details
    return {"device": device.id, **{name: details[name] for name in IDENTITY if name in details}}


def _words(identity: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in identity.items())
