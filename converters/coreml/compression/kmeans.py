"""k-means in one dimension, for look-up tables of weights."""

from __future__ import annotations

import numpy as np

_ROUNDS = 300
_BINS = 512  # of the histogram that stands for the density
_SMOOTH = 9


def lookup_table(weight: np.ndarray, entries: int) -> tuple[np.ndarray, np.ndarray]:
    """`entries` values that stand for all of `weight`, and for each element the number of its value.

    weight: any shape, float -> (entries,) of the same dtype, ascending; indices (weight.size,) uint8. Lloyd's algorithm on
    the sorted distinct values, where clusters are intervals: a round costs a binary search for each table entry, so
    millions of weights take no longer than sorting them. Begins at the points that are best for many entries, dense as the
    cube root of the values' density (Panter and Dite 1951), and at even steps, and keeps the better; the same weight always
    gives the same table.
    """
    flat = np.asarray(weight).reshape(-1)
    values, inverse, counts = np.unique(flat, return_inverse=True, return_counts=True)
    if len(values) <= entries:
        table = np.concatenate([values, np.full(entries - len(values), values[-1], values.dtype)])
        return table, inverse.reshape(-1).astype(np.uint8)
    points = values.astype(np.float64)
    weights = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(points * counts)])
    even = np.linspace(points[0], points[-1], entries)
    found = [_lloyd(points, weights, sums, start) for start in (_spread(points, counts, entries), even)]
    centres = min(found, key=lambda centres: _cost(points, counts, centres)).astype(weight.dtype)
    places = np.searchsorted(_borders(centres.astype(np.float64)), points)
    return centres, places[inverse.reshape(-1)].astype(np.uint8)


def _spread(points: np.ndarray, counts: np.ndarray, entries: int) -> np.ndarray:
    density, edges = np.histogram(points, _BINS, weights=counts.astype(np.float64))
    smooth = np.convolve(density, np.ones(_SMOOTH) / _SMOOTH, mode="same") + 1e-9 * density.sum()
    share = np.concatenate([[0.0], np.cumsum(np.cbrt(smooth))])
    return np.interp((np.arange(entries) + 0.5) / entries * share[-1], share, edges)


def _borders(centres: np.ndarray) -> np.ndarray:
    return (centres[1:] + centres[:-1]) / 2


def _lloyd(points: np.ndarray, weights: np.ndarray, sums: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """weights, sums: cumulative counts and sums, beginning with 0."""
    for _ in range(_ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(points, _borders(centres)), [len(points)]])
        count = np.diff(weights[edges])
        moved = np.where(count > 0, np.diff(sums[edges]) / np.maximum(count, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = np.sort(moved)
    return centres


def _cost(points: np.ndarray, counts: np.ndarray, centres: np.ndarray) -> float:
    nearest = centres[np.searchsorted(_borders(centres), points)]
    return float((counts * (points - nearest) ** 2).sum())
