"""Artifacts of one tower held against each other: what different converters and runtimes make of the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from edgeclip.spec import TOWERS, Tower
from edgeclip.verify.metrics import cosines
from edgeclip.verify.rows import Ran, Row


@dataclass(frozen=True)
class Pair:
    """Two results of one tower, over the samples that both were run on. first, second: as `name` has them."""

    tower: Tower
    first: str
    second: str
    samples: int
    cosine_min: float
    max_abs_error: float


def name(row: Row) -> str:
    """An artifact in a runtime, for people: `coreml fp16 in mil`, `executorch/xnnpack fp32`."""
    target = f"{row.target}/{row.backend}" if row.backend else row.target
    how = "" if row.mode == "native" else f" {row.mode}"
    runtime = f" in {row.runtime}{how}" if row.runtime != row.target or how else ""
    return f"{target} {row.scheme}{runtime}"


def agreement(ran: Sequence[Ran]) -> tuple[Pair, ...]:
    """Every pair of results that have samples in common, tower by tower."""
    found = []
    for tower in TOWERS:
        for first, second in combinations([one for one in ran if one.row.tower == tower], 2):
            _, here, there = np.intersect1d(first.indices, second.indices, return_indices=True)
            if not len(here):
                continue
            left, right = first.embeddings[here], second.embeddings[there]
            cosine, error = float(cosines(left, right).min()), float(np.abs(left - right).max())
            found.append(Pair(tower, name(first.row), name(second.row), len(here), cosine, error))
    return tuple(found)
