"""Published latencies of whole towers, and the few constants of a Neural Engine that explain them.

    latency_ms = dispatch_ms + gmacs * ms_per_gmac + weight_mb * ms_per_mb

Three parameters, each with a meaning: what it takes to hand a program to the Neural Engine; how fast it multiplies; how fast
weights come from memory. All are at least 0, and fitted so that the squares of the *relative* errors are least. The form is
the usual roofline with a sum in place of the maximum, which fits better (`scripts/calibrate_devices.py` prints both).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edgeclip.errors import InputError

PARAMETERS = ("dispatch_ms", "ms_per_gmac", "ms_per_mb")


class PublishedRow(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One tower on one device. weight_mb: float16, without token tables; activation_mb: if nothing were fused."""

    model: str
    tower: str
    latency_ms: float
    gmacs: float
    weight_mb: float
    activation_mb: float | None
    source: str

    @property
    def features(self) -> tuple[float, float, float]:
        """What the parameters are multiplied with."""
        return (1.0, self.gmacs, self.weight_mb)


class Published(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of latencies of one device."""

    device: str
    units: dict[str, str]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class Calibration:
    """Fitted constants, and the errors of each row in percent, left out of the fit that predicts it."""

    constants: tuple[float, float, float]
    errors_percent: tuple[float, ...]

    @property
    def mean_percent(self) -> float:
        return sum(map(abs, self.errors_percent)) / len(self.errors_percent)

    @property
    def worst_percent(self) -> float:
        return max(map(abs, self.errors_percent))


def read_published(path: Path) -> Published:
    """Raises InputError where the file is not such a table."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Published)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{path}: not a table of published latencies ({error})") from error


def calibrate(rows: Sequence[PublishedRow]) -> Calibration:
    """The constants from all rows, and every row's error by the constants from the others."""
    errors = []
    for left_out in range(len(rows)):
        row = rows[left_out]
        predicted = predict(fit([*rows[:left_out], *rows[left_out + 1 :]]), row)
        errors.append(100 * (predicted / row.latency_ms - 1))
    return Calibration(fit(rows), tuple(errors))


def predict(constants: Sequence[float], row: PublishedRow) -> float:
    return sum(constant * feature for constant, feature in zip(constants, row.features, strict=True))


def fit(rows: Sequence[PublishedRow]) -> tuple[float, float, float]:
    """Non-negative least squares of relative errors.

    With three parameters every set of those that are not 0 can be tried: the best of the solutions without a negative one.
    """
    import numpy as np

    scaled = np.array([[feature / row.latency_ms for feature in row.features] for row in rows])
    best: tuple[float, Any] = (float("inf"), None)
    for count in range(1, len(PARAMETERS) + 1):
        for used in combinations(range(len(PARAMETERS)), count):
            found, *_ = np.linalg.lstsq(scaled[:, used], np.ones(len(rows)), rcond=None)
            if (found < 0).any():
                continue
            whole = np.zeros(len(PARAMETERS))
            whole[list(used)] = found
            best = min(best, (float(((scaled @ whole - 1) ** 2).sum()), whole), key=lambda one: one[0])
    return tuple(float(constant) for constant in best[1])  # type: ignore[return-value]
