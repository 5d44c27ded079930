"""The results that `verify` and `profile` left in a bundle, read as strictly as the manifest: these files are untrusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from edgeclip.errors import InputError
from edgeclip.extending import RESULT_FILE
from edgeclip.manifest import Bundle
from edgeclip.spec import Tower
from profiles.results import EstimatedRow, Latency, Profile, Row, label
from profiles.store import FOLDER, MAX_BYTES, read_profile

MAX_PROFILES: Final = 64  # of one bundle


_LONGEST_MS: Final = 1e9  # eleven days
Cosine = Annotated[float, Meta(ge=-1.001, le=1.001)]  # with the rounding of sums
Count = Annotated[int, Meta(ge=0)]


class Threshold(Struct, frozen=True):
    """What a row was held against, as far as it is shown."""

    cosine_min: Cosine


class Check(Struct, frozen=True, kw_only=True):
    """A row of `verify.json`, as far as it is shown; `edgeclip.verify.rows.Row` has all of it."""

    tower: Tower
    target: str
    backend: str | None
    scheme: str
    sha256: str
    runtime: str
    mode: str
    samples: Count
    cosine_min: Cosine | None
    cosine_mean: Cosine | None
    max_abs_error: Annotated[float, Meta(ge=0)] | None
    rank_agreement: Annotated[float, Meta(ge=0, le=1)] | None
    threshold: Threshold
    passed: bool | None
    failures: tuple[str, ...] = ()
    error: str | None = None


class Verified(Struct, frozen=True, kw_only=True):
    """`verify.json`. contract: where the manifest states what is not so."""

    rows: tuple[Check, ...]
    contract: tuple[str, ...] = ()


def read_verified(bundle: Bundle) -> Verified | None:
    """What the last full `verify` of a bundle found; None if there was none."""
    path = bundle.path / RESULT_FILE
    if not path.exists():
        return None
    remedy = f"run `edgeclip verify {bundle.path}` again"
    _check_inside(bundle, path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than any result; {remedy}")
        return msgspec.json.decode(path.read_bytes(), type=Verified)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not a result of `edgeclip verify` of this version ({error}); {remedy}") from error


def read_profiles(bundle: Bundle) -> tuple[Profile, ...]:
    """All profiles stored in a bundle, by file name."""
    folder = bundle.path / FOLDER
    if not folder.is_dir():
        return ()
    files = sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
    if len(files) > MAX_PROFILES:
        raise InputError(f"{folder}: {len(files)} profiles; a report shows at most {MAX_PROFILES} of a bundle")
    profiles = []
    for path in files:
        _check_inside(bundle, path)
        profile = read_profile(path)
        for row in profile.rows:
            if why := _impossible(row):
                raise InputError(f"{path}: {label(row)}: {why}; profile again, or delete the file")
        profiles.append(profile)
    return tuple(profiles)


def _check_inside(bundle: Bundle, path: Path) -> None:
    if not path.resolve().is_relative_to(bundle.path.resolve()):
        raise InputError(f"{path}: leads out of the bundle; delete it")


def _impossible(row: Row) -> str | None:
    """What no clock or estimator can have given, in words."""
    spent = dict(row.operators_ms)
    latency = row.latency_ms
    orders: list[tuple[float, ...]]
    if isinstance(latency, Latency):
        low, high = latency.median_interval
        orders = [(latency.min, latency.p50, latency.p90, latency.p99), (low, latency.p50, high)]
    else:
        orders = [(latency.low, latency.p50, latency.high)]
    for order in orders:
        if order[0] < 0 or latency.p50 <= 0 or order[-1] > _LONGEST_MS or list(order) != sorted(order):
            return f"a median of {latency.p50:g} ms within {', '.join(f'{value:g}' for value in order)} ms"
    if isinstance(row, EstimatedRow):
        spent |= row.bounds
    return next((f"{name!r:.60} of {value:g} ms" for name, value in spent.items() if not 0 <= value <= _LONGEST_MS), None)
