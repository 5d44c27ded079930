"""gather(): all that bundles hold and know about themselves, joined by artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from msgspec import structs

from edgeclip.errors import BundleError, UsageError
from edgeclip.manifest import MANIFEST_FILE, Artifact, Bundle, Manifest
from edgeclip.progress import Progress, silent
from profiles.report.pareto import pareto_front
from profiles.report.stored import Check, Verified, read_profiles, read_verified
from profiles.report.words import clean
from profiles.results import Device, EstimatedRow, MeasuredRow, Profile

# Cosines are of float32 embeddings: differences below this are rounding, and no reason to prefer an artifact.
LEAST_ERROR = 1e-8
_LARGEST_BYTES = 2**50


@dataclass(frozen=True)
class Item:
    """One artifact with what `verify` and `inspect` say of it. bundle: its name on the page. contents: as `inspect` has it."""

    bundle: str
    model: str
    artifact: Artifact
    checks: tuple[Check, ...] = ()
    contents: dict[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """`coreml`, `executorch/xnnpack`."""
        return f"{self.artifact.target}/{self.artifact.backend}" if self.artifact.backend else self.artifact.target

    @property
    def size_mb(self) -> float:
        """In 1e6 bytes."""
        return self.artifact.size_bytes / 1e6

    @property
    def worst(self) -> Check | None:
        """The check that came out worst, of several runtimes'; one without a figure is worse than any."""
        return min(self.checks, key=_goodness, default=None)

    @property
    def error(self) -> float | None:
        """1 - the smallest cosine to the original, over all samples and runtimes; at least 0."""
        check = self.worst
        return None if check is None or check.cosine_min is None else max(0.0, 1.0 - check.cosine_min)

    @property
    def shown_error(self) -> float | None:
        """As `error`, not below what float32 resolves."""
        return None if self.error is None else max(self.error, LEAST_ERROR)

    @property
    def passed(self) -> bool | None:
        """Whether it passed every check; None if it was not verified, or nothing could run it."""
        results = {check.passed for check in self.checks}
        return False if False in results else None if not results or None in results else True


def _goodness(check: Check) -> tuple[bool, float]:
    return check.passed is not False, -2.0 if check.cosine_min is None else check.cosine_min


@dataclass(frozen=True)
class Timing:
    """One artifact's time on one device: a measurement or an estimate."""

    item: Item
    device: Device
    row: MeasuredRow | EstimatedRow

    @property
    def estimated(self) -> bool:
        return isinstance(self.row, EstimatedRow)

    @property
    def reference(self) -> bool:
        """Of a runtime that checks numbers, whose times are no speeds."""
        return isinstance(self.row, MeasuredRow) and self.row.reference

    @property
    def noisy(self) -> tuple[str, ...]:
        return self.row.noisy if isinstance(self.row, MeasuredRow) else ()

    @property
    def p50_ms(self) -> float:
        return self.row.latency_ms.p50

    def preference(self) -> tuple[bool, float]:
        """Smallest for the timing that stands for others of its artifact: quiet ones first, then the fastest."""
        return bool(self.noisy), self.p50_ms

    @property
    def how(self) -> str:
        """Runtime, if it is not the target's own, and threads: `mil, 2 threads`."""
        runtime = [self.row.runtime] if isinstance(self.row, MeasuredRow) and self.row.runtime != self.row.target else []
        threads = [] if self.row.threads is None else [f"{self.row.threads} thread{'s' * (self.row.threads != 1)}"]
        return ", ".join(runtime + threads)

    @property
    def flags(self) -> tuple[str, ...]:
        """What has to stand beside its figures."""
        said = {
            "estimated": self.estimated,
            "emulated": self.device.emulated,
            "reference, not a speed": self.reference,
            "noisy": bool(self.noisy),
        }
        return tuple(name for name, holds in said.items() if holds)


@dataclass(frozen=True)
class Shown:
    """One bundle. stale: results of artifacts that it no longer holds; missing: commands that would add to the page."""

    name: str
    path: Path
    manifest: Manifest
    verified: Verified | None
    profiles: tuple[Profile, ...]
    stale: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that is shown, of every bundle in the order given."""

    bundles: tuple[Shown, ...]
    items: tuple[Item, ...]
    timings: tuple[Timing, ...]

    @property
    def devices(self) -> tuple[Device, ...]:
        """Those with figures that are not stale: devices, emulated ones, estimates. The same of several bundles is one."""
        known = {device_key(timing.device): timing.device for timing in self.timings}
        return tuple(sorted(known.values(), key=lambda device: (device.kind == "estimated", device.emulated)))

    def on(self, device: Device) -> list[Timing]:
        """All timings on a device."""
        return [timing for timing in self.timings if device_key(timing.device) == device_key(device)]

    def best(self, item: Item, device: Device) -> Timing | None:
        """The timing that stands for an artifact on a device; never a reference's."""
        found = [timing for timing in self.on(device) if timing.item is item and not timing.reference]
        return min(found, key=Timing.preference, default=None)

    def groups(self) -> dict[tuple[str, str, str], list[Item]]:
        """Artifacts that do the same and so can be compared: (model, tower, embedding space) -> artifacts."""
        spaces = {shown.name: shown.manifest.embedding.space_id for shown in self.bundles}
        found: dict[tuple[str, str, str], list[Item]] = {}
        for item in self.items:
            found.setdefault((item.model, item.artifact.tower, spaces[item.bundle]), []).append(item)
        return found


def device_key(device: Device) -> tuple[str, str, str, bool]:
    """What makes two devices the same; details such as the load differ from run to run."""
    return device.id, device.name, device.kind, device.emulated


def front(report: Report, items: Sequence[Item], device: Device | None) -> list[tuple[Item, Timing | None, bool]]:
    """The artifacts of a group that have an error (and a time on the device), each with whether it is on the Pareto front.

    The front is of size and error, with a device of size, error and median latency. One artifact alone makes no front.
    """
    found: list[tuple[Item, Timing | None]] = []
    points: list[tuple[float, ...]] = []
    for item in items:
        timing = None if device is None else report.best(item, device)
        if item.shown_error is None or (device is not None and timing is None):
            continue
        found.append((item, timing))
        points.append((item.size_mb, item.shown_error, *(() if timing is None else (timing.p50_ms,))))
    return [(*pair, best and len(found) > 1) for pair, best in zip(found, pareto_front(points), strict=True)]


def gather(paths: Sequence[Path], progress: Progress = silent, operations: bool = True) -> Report:
    """Read bundles and the results stored in them.

    operations: also look into the artifacts, after their hashes were checked, for their operations and where these run.
    Raises BundleError or InputError where a file is not what it should be.
    """
    if len({path.resolve() for path in paths}) != len(paths):
        raise UsageError("a bundle is named twice")
    shown: list[Shown] = []
    items: list[Item] = []
    timings: list[Timing] = []
    for path, name in zip(paths, _names(paths), strict=True):
        bundle = Bundle.open(path)
        verified, profiles = read_verified(bundle), read_profiles(bundle)
        contents = _contents(path, bundle, progress) if operations else {}
        stale = []
        known: dict[tuple[object, ...], Item] = {}
        checks: dict[tuple[object, ...], list[Check]] = {}
        for check in verified.rows if verified else ():
            checks.setdefault(_key(check), []).append(check)
        for artifact in bundle.manifest.artifacts:
            if artifact.size_bytes > _LARGEST_BYTES:
                raise BundleError(f"{path / MANIFEST_FILE}: the size of {artifact.label} is more than any file's")
            key = _key(artifact)
            found = tuple(checks.pop(key, ()))
            inside = contents.get((artifact.path, artifact.method), {})
            known[key] = Item(name, bundle.manifest.model, artifact, found, inside)
        stale += [clean(f"verify.json: {_label(check)}") for rest in checks.values() for check in rest]
        current: list[Profile] = []
        for profile in profiles:
            gone = []
            for row in profile.rows:
                if item := known.get(_key(row)):
                    timings.append(Timing(item, profile.device, row))
                elif row.sha256 != bundle.manifest.weights.sha256:  # the original in torch is no artifact
                    gone.append(clean(f"profile of {profile.device.id}: {_label(row)}"))
            stale += gone
            current.append(structs.replace(profile, budget=None) if gone else profile)
        items += known.values()
        fresh = any(timing.item.bundle == name for timing in timings)
        missing = _missing(path, all(item.checks for item in known.values()), fresh)
        shown.append(Shown(name, path, bundle.manifest, verified, tuple(current), tuple(dict.fromkeys(stale)), missing))
    return Report(tuple(shown), tuple(items), tuple(timings))


def _names(paths: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parents as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    names = ["/".join(one[-1:]) for one in parts]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        twice = {name for name, count in Counter(names).items() if count > 1}
        names = ["/".join(one[-depth:]) if name in twice else name for one, name in zip(parts, names, strict=True)]
    return names


def _key(entry: Artifact | Check | MeasuredRow | EstimatedRow) -> tuple[object, ...]:
    """What identifies an artifact together with its content."""
    return entry.tower, entry.target, entry.backend, entry.scheme, entry.sha256


def _label(entry: Check | MeasuredRow | EstimatedRow) -> str:
    target = f"{entry.target}/{entry.backend}" if entry.backend else entry.target
    return f"{target} {entry.scheme} {entry.tower}"


def _contents(path: Path, bundle: Bundle, progress: Progress) -> dict[tuple[str, str], dict[str, Any]]:
    from edgeclip.inspection import inspect
    from edgeclip.plugins import PLACEMENTS

    artifacts = bundle.manifest.artifacts
    placed = any(artifact.target in PLACEMENTS for artifact in artifacts)
    found = inspect(path, progress, neural_engine=placed)["contents"]
    return {(artifact.path, artifact.method): entry for artifact, entry in zip(artifacts, found, strict=True)}


def _missing(path: Path, verified: bool, profiled: bool) -> tuple[str, ...]:
    wanted = {"verify": not verified, "profile": not profiled}
    return tuple(f"edgeclip {command} {quote(str(path))}" for command, lacks in wanted.items() if lacks)
