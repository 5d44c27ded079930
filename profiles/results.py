"""What a profile says. A measurement and an estimate are different types, so that none is taken for the other.

Field names are those of `profile --json`; units are in the names. The latest profile of a device is kept in its bundle, see
`profiles.store`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Struct

from edgeclip.manifest import Artifact
from edgeclip.spec import Tower
from profiles.stats import median_interval, percentile

SCHEMA: Literal["edgeclip.profile/1"] = "edgeclip.profile/1"


class Latency(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of n timed inferences, in milliseconds. median_interval: 95 % confidence, from order statistics."""

    p50: float
    p90: float
    p99: float
    min: float
    mean: float
    n: int
    median_interval: tuple[float, float]

    @classmethod
    def of(cls, times_ms: Iterable[float], digits: int | None = None) -> Latency:
        """What a list of times says. digits: behind the point, as far as the clock tells; None, as they are."""

        def kept(value: float) -> float:
            return value if digits is None else round(value, digits)

        ordered = [kept(value) for value in sorted(times_ms)]
        return cls(
            p50=kept(percentile(ordered, 50)),
            p90=kept(percentile(ordered, 90)),
            p99=kept(percentile(ordered, 99)),
            min=ordered[0],
            mean=kept(math.fsum(ordered) / len(ordered)),
            n=len(ordered),
            median_interval=median_interval(ordered),
        )


class EstimatedLatency(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A prediction in milliseconds, and the range that the estimator's errors give it."""

    p50: float
    low: float
    high: float


class _Row(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which artifact. delegates: how many of each kind; delegated_percent: of its operations."""

    model: str
    tower: Tower
    target: str
    backend: str | None
    scheme: str
    sha256: str
    size_bytes: int
    delegates: dict[str, int] = {}
    delegated_percent: float | None = None


class MeasuredRow(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One artifact on one runtime with a number of threads, timed.

    load_cold_ms: the first load in a fresh process, and where the system allows with the file out of its cache;
    load_warm_ms: the median of later loads; first_ms: the first inference. peak_memory_mb: resident, 1e6 bytes, of the whole
    process until the last inference; memory_before_mb: of the same process before it loaded the artifact, so of the runtime.
    threads: None where the runtime chooses by itself. noisy: why the figures are not to be relied on.
    reference: a runtime that exists to check numbers, so its times say nothing about a phone.
    """

    runtime: str
    threads: int | None
    load_cold_ms: float | None
    load_warm_ms: float | None
    first_ms: float | None
    latency_ms: Latency
    peak_memory_mb: float | None
    memory_before_mb: float | None = None
    reference: bool = False
    noisy: tuple[str, ...] = ()
    operators_ms: dict[str, float] = {}


class EstimatedRow(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One artifact on a device that is not here, predicted.

    error_percent: mean and worst error of the estimator where it was checked, or, where nothing checks it, what is assumed; the
    device's details say which.
    bounds: what the time goes to, in ms by cause (compute, memory, dispatch, fallback). operators_ms: by kind of operation.
    """

    latency_ms: EstimatedLatency
    error_percent: tuple[float, float]
    load_cold_ms: float | None = None
    threads: int | None = None
    bounds: dict[str, float] = {}
    operators_ms: dict[str, float] = {}


class CountedRow(_Row, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One artifact on an emulated processor: instructions of one inference, the median of n and the range. It has no time."""

    runtime: str
    cpu: str
    instructions: int
    instructions_range: tuple[int, int]
    n: int


class Device(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the figures are of. kind: of all its rows. emulated: an emulator or simulator, not the device it shows.

    details: the machine, its processor, governor, load average, thermal state ..., as the runner found them.
    """

    id: str
    kind: Literal["measured", "estimated", "counted"]
    name: str
    emulated: bool = False
    details: dict[str, Any] = {}


class BudgetLine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One limit and what it was held against. rows: labels of the artifacts that count.

    limit: as `--budget-NAME` takes it, `ms image=20`. found: of an estimate the high end of its range, so that it passes only
    if the whole range does.
    """

    limit: str
    unit: Literal["ms", "MB"]
    most: float
    found: float
    passed: bool
    rows: tuple[str, ...]


class Change(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An artifact against another, or against its earlier self: how many times as long this takes as that.

    ratio and its 95 % interval: how they are found is in `profiles.runners.host_rounds` (against another) and
    `profiles.baseline`. p50_ms: the medians of this and that. passed: None where no tolerance was asked for.
    """

    label: str
    ratio: float
    interval: tuple[float, float]
    p50_ms: tuple[float, float]
    passed: bool | None = None


Row: TypeAlias = MeasuredRow | EstimatedRow


class Profile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole of `profile --json`: rows are all measured or all estimated, as the device's kind says."""

    device: Device
    rows: tuple[MeasuredRow, ...] | tuple[EstimatedRow, ...]
    bundle: str = ""
    budget: tuple[BudgetLine, ...] | None = None
    against: tuple[Change, ...] | None = None
    baseline: tuple[Change, ...] | None = None
    not_run: dict[str, str] = {}  # artifacts that this device has no runtime for, and why
    tools: dict[str, str] = {}
    schema: Literal["edgeclip.profile/1"] = SCHEMA

    @property
    def passed(self) -> bool:
        """Whether everything that was held against a limit is within it."""
        within = all(line.passed for line in self.budget or ())
        return within and all(change.passed is not False for change in self.baseline or ())

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        found = msgspec.to_builtins(self)
        assert isinstance(found, dict)
        return found


class CountedProfile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`profile --json` of an emulated processor. No `Profile`, so that no count is taken for a time anywhere."""

    device: Device
    rows: tuple[CountedRow, ...]
    bundle: str = ""
    not_run: dict[str, str] = {}
    tools: dict[str, str] = {}
    schema: Literal["edgeclip.profile/1"] = SCHEMA

    passed: ClassVar[bool] = True  # nothing can be held against it

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dumps`."""
        found = msgspec.to_builtins(self)
        assert isinstance(found, dict)
        return found


class MeasuredProfile(Profile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A profile as it is read back: of a union of rows, msgspec could not tell which is meant."""

    rows: tuple[MeasuredRow, ...]


class EstimatedProfile(Profile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """As `MeasuredProfile`."""

    rows: tuple[EstimatedRow, ...]


def artifact_label(row: Row) -> str:
    """As `edgeclip.manifest.Artifact.label` of what it is a row of."""
    target = f"{row.target}/{row.backend}" if row.backend else row.target
    return f"{target} {row.scheme} {row.tower}"


def label(row: Row) -> str:
    """For people: `executorch/xnnpack w8 text`, with what else tells rows of one profile apart."""
    parts = [artifact_label(row)]
    if isinstance(row, MeasuredRow) and row.runtime != row.target:
        parts.append(f"in {row.runtime}")
    if row.threads is not None:
        parts.append(f"{row.threads} thread{'s' * (row.threads > 1)}")
    return " ".join(parts)


def described(artifact: Artifact, model: str) -> Mapping[str, Any]:
    """The fields of a row that the manifest knows."""
    return {
        "model": model,
        "tower": artifact.tower,
        "target": artifact.target,
        "backend": artifact.backend,
        "scheme": artifact.scheme,
        "sha256": artifact.sha256,
        "size_bytes": artifact.size_bytes,
        "delegates": artifact.delegates,
        "delegated_percent": artifact.delegated_percent,
    }
