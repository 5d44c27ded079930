"""What a run found, as it is written to JSON and read back for tables and the plot."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from edgeclip.spec import Tower
from latency.rounds import Turn

SCHEMA = "edgeclip.latency/1"


class Latency(Struct, frozen=True, forbid_unknown_fields=True):
    """Milliseconds over `n` turns."""

    p25: float
    p50: float
    p75: float
    min: float
    n: int


class Row(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One contender on one tower with one number of threads: a latency, or the reason why there is none.

    busy_threads: processor time over wall time; about `threads` if that many were at work. The median over turns.
    """

    model: str
    tower: Tower
    threads: int
    contender: str
    label: str
    ours: bool
    cosine_min: float | None = None
    size_bytes: int | None = None
    latency_ms: Latency | None = None
    busy_threads: float | None = None
    failed: str | None = None


class Machine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where it was measured. load_before, load_after: the load averages over 1, 5 and 15 minutes."""

    cpu: str
    cores: int
    system: str
    load_before: tuple[float, float, float]
    load_after: tuple[float, float, float]


class Results(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run of the benchmark."""

    schema: str
    machine: Machine
    versions: dict[str, str]
    weights: str
    rounds: int
    runs: int
    notes: dict[str, str]
    rows: list[Row]

    def row(self, model: str, tower: str, threads: int, contender: str) -> Row | None:
        """The row of one cell, if it was measured."""
        wanted = (model, tower, threads, contender)
        return next((row for row in self.rows if (row.model, row.tower, row.threads, row.contender) == wanted), None)


def summary(turns: Sequence[Turn]) -> tuple[Latency, float]:
    """Quartiles of latency and the median of busy threads."""
    times = [turn.latency_ms for turn in turns]
    p25, p50, p75 = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    latency = Latency(p25=round(p25, 3), p50=round(p50, 3), p75=round(p75, 3), min=round(min(times), 3), n=len(times))
    return latency, round(statistics.median(turn.busy_threads for turn in turns), 2)


def to_json(results: Results) -> str:
    """Indented, to be kept beside the table."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1).decode()


def from_json(text: str) -> Results:
    """Raises msgspec.ValidationError for anything else than `to_json` writes."""
    return msgspec.json.decode(text, type=Results)
