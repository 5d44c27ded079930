"""Choosing one option for each layer: plain numbers, no models.

Errors are taken to add up: an embedding of unit length moved by d loses d^2 / 2 of its cosine, and the moves that different
layers cause are nearly uncorrelated, so their squares add. What a choice really costs is measured afterwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Choice = dict[str, str]
_LARGE_STEP = 0.02  # of a choice's size; a second search for less is not worth its measurements


@dataclass(frozen=True)
class Option:
    """One form of one layer: what it takes, and the cosine that it alone costs."""

    size_bytes: int
    error: float


Table = Mapping[str, Mapping[str, Option]]  # layer -> form -> option


def size_of(table: Table, choice: Mapping[str, str]) -> int:
    """Bytes of a choice."""
    return sum(table[layer][form].size_bytes for layer, form in choice.items())


def error_of(table: Table, choice: Mapping[str, str]) -> float:
    """The sum of the errors of a choice."""
    return sum(table[layer][form].error for layer, form in choice.items())


def frontier(table: Table) -> list[Choice]:
    """Choices from the smallest to the most exact; each step changes one layer, the one that gains most per byte.

    They are the optima of size + m x error for every multiplier m: no other choice is at once smaller and better than one
    of them by more than a single layer's step.
    """
    hulls = {layer: _hull(options) for layer, options in table.items()}
    choice = {layer: hull[0] for layer, hull in hulls.items()}
    steps = []
    for layer, hull in hulls.items():
        for rank, (first, second) in enumerate(itertools.pairwise(hull)):
            bytes_more = table[layer][second].size_bytes - table[layer][first].size_bytes
            gain = table[layer][first].error - table[layer][second].error
            steps.append((-gain / max(bytes_more, 1), layer, rank, second))
    choices = [dict(choice)]
    for _, layer, _, form in sorted(steps):
        choice[layer] = form
        choices.append(dict(choice))
    return choices


def smallest(table: Table, holds: Callable[[Choice], bool]) -> Choice:
    """The smallest choice found that holds. Raises ValueError if the most exact one does not.

    Bisects the frontier. Where one layer is most of the model, as a token table is, the step that made it hold may have been
    a large one, and the other layers are stored better than they need be: so that layer keeps its form, and the others are
    chosen again.
    """
    best: Choice | None = None
    while holds((choices := frontier(table))[-1]):
        low, high = 0, len(choices) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(choices[middle]) else (middle + 1, high)
        found, before = choices[high], choices[max(high - 1, 0)]
        if best is not None and size_of(table, found) >= size_of(table, best):
            break
        best = found
        if size_of(table, found) - size_of(table, before) <= _LARGE_STEP * size_of(table, found):
            break
        large = next(layer for layer, form in found.items() if before[layer] != form)
        table = {**table, large: {found[large]: table[large][found[large]]}}
    if best is None:
        raise ValueError("not even the most exact choice holds")
    return best


def _hull(options: Mapping[str, Option]) -> list[str]:
    """Forms on the lower convex hull of error over size, smallest first: along it the gain per byte only falls."""
    ordered = sorted(options, key=lambda form: (options[form].size_bytes, options[form].error, form))
    hull: list[str] = []
    for form in ordered:
        if hull and options[form].error >= options[hull[-1]].error:
            continue
        while len(hull) > 1 and _slope(options, hull[-2], hull[-1]) >= _slope(options, hull[-2], form):
            hull.pop()
        hull.append(form)
    return hull


def _slope(options: Mapping[str, Option], first: str, second: str) -> float:
    more = options[second].size_bytes - options[first].size_bytes
    return (options[second].error - options[first].error) / max(more, 1)
