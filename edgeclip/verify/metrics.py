"""Comparing two sets of embeddings of the same inputs. All arrays are (N, D)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_MOST_CANDIDATES = 500


@dataclass(frozen=True)
class Agreement:
    """How close embeddings are to the original's.

    cosine_min, cosine_mean: over samples, between an embedding and its original.
    max_abs_error: largest difference of one component.
    between_input_cosine: mean cosine between the original's embeddings of different inputs; near 1 nothing is proven.
    rank_agreement: see `rank_agreement`.
    length_error: largest distance of an embedding's length from 1, which a cosine does not see.
    """

    cosine_min: float
    cosine_mean: float
    max_abs_error: float
    between_input_cosine: float
    rank_agreement: float
    length_error: float


def compare(original: np.ndarray, converted: np.ndarray, candidates: np.ndarray) -> Agreement:
    """Compare embeddings (N, D) with the original's, ranking them against the other tower's original (M, D)."""
    original, converted = original.astype(np.float64), converted.astype(np.float64)
    cosine = cosines(original, converted)
    return Agreement(
        cosine_min=float(cosine.min()),
        cosine_mean=float(cosine.mean()),
        max_abs_error=float(np.abs(original - converted).max()),
        between_input_cosine=between_input_cosine(original),
        rank_agreement=rank_agreement(original, converted, candidates.astype(np.float64)),
        length_error=float(np.abs(np.linalg.norm(converted, axis=1) - 1).max()),
    )


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Row by row, (N,) float64; 0 where a row is zero or not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.sum(unit(first.astype(np.float64)) * unit(second.astype(np.float64)), axis=1)
    return np.where(np.isfinite(found), found, 0.0)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a zero row stays zero."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows = rows / np.where(largest > 0, largest, 1)  # squares of tiny values would vanish
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)


def between_input_cosine(rows: np.ndarray) -> float:
    """Mean cosine over all pairs of different rows; 1.0 for a single row, which cannot tell anything apart."""
    count = len(rows)
    if count < 2:
        return 1.0
    directions = unit(rows)
    total = float(np.sum(directions.sum(axis=0) ** 2)) - float(np.sum(directions**2))
    return total / (count * (count - 1))


def rank_agreement(original: np.ndarray, converted: np.ndarray, candidates: np.ndarray) -> float:
    """The share of (row, candidate pair) triples that keep their order: 1 is the same ranking, 0.5 is chance.

    Pairs that the original itself scores within 1e-6 have no order and do not count; without any other, the result is NaN.
    Of very many candidates, evenly spaced ones stand for all.
    """
    candidates = unit(candidates[:: -(-len(candidates) // _MOST_CANDIDATES)])
    first, second = np.triu_indices(len(candidates), k=1)
    same = total = 0
    for before, after in zip(unit(original) @ candidates.T, unit(converted) @ candidates.T, strict=True):
        wanted, got = before[first] - before[second], after[first] - after[second]
        ordered = np.abs(wanted) > 1e-6
        total += int(ordered.sum())
        same += int((np.sign(wanted) == np.sign(got))[ordered].sum())
    return same / total if total else float("nan")
