"""profile(): ask a device for a bundle's figures, hold them against limits, and keep them in the bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from edgeclip.errors import InputError, UsageError
from edgeclip.manifest import Bundle
from edgeclip.plugins import DEVICES
from edgeclip.progress import Progress, silent
from edgeclip.registry import unknown
from profiles import text
from profiles.baseline import compared, read_baseline
from profiles.budgets import Limit, check, limits_of, read_budgets
from profiles.device import ComparingDevice, CountingDevice, ProfileDevice, Request
from profiles.estimates.device_file import names
from profiles.results import CountedProfile, Profile
from profiles.store import store

ESTIMATOR = "estimate"  # the plugin that serves every device which has a file


@dataclass(frozen=True)
class Outcome:
    """A profile, and what could not be done with it."""

    profile: Profile | CountedProfile
    warnings: tuple[str, ...] = ()

    def table(self) -> text.Table:
        """The rows for people."""
        return text.counted(self.profile) if isinstance(self.profile, CountedProfile) else text.table(self.profile)

    def notes(self) -> list[str]:
        """What has to be said below the table, a line each."""
        if isinstance(self.profile, CountedProfile):
            return text.counted_notes(self.profile)
        return text.notes(self.profile)


def profile(
    path: Path,
    device: str = "host",
    *,
    threads: Sequence[int] = (1,),
    runtimes: Sequence[str] = (),
    most_s: float = 20.0,
    runner: Path | None = None,
    against: Path | None = None,
    limits: Mapping[str, Sequence[str]] | None = None,
    budgets: Path | None = None,
    baseline: Path | None = None,
    tolerance: float = 0.05,
    progress: Progress = silent,
) -> Outcome:
    """Profile the bundle at `path` on `NAME[:ARGUMENT]`.

    limits: by quantity, what `--budget-QUANTITY` takes; budgets: a file of them. baseline: an earlier profile as JSON, of the
    same machine. against: another bundle to time in turns. What cannot be read or does not exist is said before anything is
    timed; limits that no row is held against, and a baseline of another machine, after it.
    """
    found, argument = find_device(device)
    asked = _limits(limits or {}, budgets)
    earlier = None if baseline is None else read_baseline(baseline)
    request = Request(
        bundle=Bundle.open(path),
        argument=argument,
        threads=threads,
        runtimes=runtimes,
        most_s=most_s,
        runner=runner,
        progress=progress,
    )
    if isinstance(found, CountingDevice):
        if asked or baseline is not None or against is not None:
            raise UsageError(f"--device {device} counts instructions: budgets, --baseline and --against are of milliseconds")
        return Outcome(structs.replace(found.count(request), bundle=str(path)))  # not kept: reports are of times
    if against is None:
        measured = found.profile(request)
    elif isinstance(found, ComparingDevice):
        measured = found.compare(request, Bundle.open(against))
    else:
        raise UsageError(f"--against: {device} cannot time two bundles in turns; profile each, or use --device host")
    measured = structs.replace(measured, bundle=str(path))
    warnings: list[str] = []
    try:
        if asked:
            measured = structs.replace(measured, budget=check(asked, measured))
        if baseline is not None and earlier is not None:
            measured = structs.replace(measured, baseline=compared(measured, earlier, tolerance, baseline))
    finally:  # minutes of timing are kept, whatever they cannot be held against
        if against is None:  # two bundles in turns are not what the next reader of this bundle expects
            warnings += _kept(path, measured)
    return Outcome(measured, tuple(warnings))


def _kept(path: Path, measured: Profile) -> Iterator[str]:
    """Keep a profile in its bundle; a place that cannot be written takes nothing from the result."""
    try:
        store(path, measured)
    except InputError as error:
        yield str(error)


def known_devices() -> tuple[str, ...]:
    """What `--device` takes, without what follows the colon: kinds of devices, and those that have a file."""
    return (*(name for name in DEVICES if name != ESTIMATOR), *(names() if ESTIMATOR in DEVICES else ()))


def find_device(text: str) -> tuple[ProfileDevice, str]:
    """The device that `NAME[:ARGUMENT]` means, and its argument. Devices with a file are the estimator's argument."""
    name, _, argument = text.partition(":")
    if name not in known_devices():
        raise unknown("device", name, known_devices())
    if name not in DEVICES:
        if argument:
            raise UsageError(f"--device {text}: {name} is estimated from its file and takes nothing after a colon")
        name, argument = ESTIMATOR, name
    device: ProfileDevice = DEVICES[name].load()
    return device, argument


def _limits(given: Mapping[str, Sequence[str]], file: Path | None) -> tuple[Limit, ...]:
    return (*limits_of(given), *(read_budgets(file) if file else ()))
