"""The Pareto front: what nothing else beats in everything."""

from __future__ import annotations

from collections.abc import Sequence


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether `one` is nowhere larger than `other`, and somewhere smaller. Smaller is better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))


def pareto_front(points: Sequence[Sequence[float]]) -> list[bool]:
    """For each point whether no other dominates it; equal points are on the front together. Smaller is better.

    >>> pareto_front([(1, 3), (2, 2), (3, 3)])
    [True, True, False]
    """
    return [not any(dominates(other, point) for other in points) for point in points]
