"""What a device is to `profile`: something that takes a bundle and gives rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol, runtime_checkable

from edgeclip.errors import NotRunnableError, UsageError
from edgeclip.manifest import Bundle
from edgeclip.progress import Progress, silent
from profiles.results import CountedProfile, Profile


@dataclass(frozen=True)
class Request:
    """What is asked for, the same for all devices.

    bundle: opened; nothing of it is run before its hash was checked. threads: each is a row. runtimes: empty, those that
    exist on the device. argument: what follows the device's name, such as the serial number of `android:SERIAL`.
    most_s: of timed inferences, for each row. runner: the benchmark program to push to a phone.
    """

    bundle: Bundle
    argument: str = ""
    threads: Sequence[int] = (1,)
    runtimes: Sequence[str] = ()
    most_s: float = 20.0
    runner: Path | None = None
    progress: Progress = silent


_OPTIONS = {"threads": "--threads", "runtimes": "--runtime", "most_s": "--max-seconds", "runner": "--runner"}


def takes(request: Request, device: str, *options: str) -> None:
    """Refuse what a device would ignore: options of a request, other than those named, that are not as they are by default."""
    for field in fields(Request):
        given = getattr(request, field.name)
        if (
            field.name in _OPTIONS.keys() - set(options)
            and (tuple(given) if field.name == "threads" else given) != field.default
        ):
            raise UsageError(f"{_OPTIONS[field.name]}: --device {device} does not take it")


def nothing_of(bundle: Bundle, done: str, not_run: Mapping[str, str]) -> NotRunnableError:
    """The error for a bundle of which nothing was done, and why, by artifact."""
    reasons = "; ".join(f"{label}: {why}" for label, why in not_run.items()) or "it has no artifacts"
    return NotRunnableError(f"{bundle.path}: nothing of it was {done} ({reasons})")


class ProfileDevice(Protocol):
    """A kind of device. Raises an `EdgeclipError` where it cannot be reached; never gives a number that was not measured."""

    def profile(self, request: Request) -> Profile:
        """Measure or estimate every artifact that the device can run; the others are in `not_run` with the reason."""
        ...


@runtime_checkable
class CountingDevice(Protocol):
    """A device that counts instead of timing: an emulator, whose times would mean nothing."""

    def count(self, request: Request) -> CountedProfile:
        """Count for every artifact that the device can run; the others are in `not_run` with the reason."""
        ...


@runtime_checkable
class ComparingDevice(ProfileDevice, Protocol):
    """A device that can also time two bundles in turns, so that what slows it for a while slows both."""

    def compare(self, request: Request, other: Bundle) -> Profile:
        """The rows of `request.bundle`, and in `against` each of its artifacts to the same tower's in `other`."""
        ...
