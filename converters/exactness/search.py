"""Which units get more exact than a scheme would have them, so that the embedding holds a floor.

The cosine that each unit's form costs is measured alone, on the samples that suffer most; losses are taken to add up (an
embedding moved by d loses d^2 / 2 of its cosine, and the moves of different units are nearly uncorrelated). Units are made
more exact in the order of what that gains per byte; how many it takes is found by bisection, which measures whole plans. What
that leaves of the floor is used up in the end: units return to what they were, those that gained least first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from edgeclip.errors import BudgetError
from edgeclip.progress import Task

_WORST = 2  # samples on which units are tried alone
_WATCHED = 6  # samples on which plans are compared; the others are looked at in the end
_TRIES = 6  # of plans with units that return to what they were
_SLOWER = 0.25  # bytes that a weight's slower kernel counts for, where its size stays the same


class Unit(Protocol):
    """What is decided on together. forms: how it can be stored, from the smallest to float, which costs nothing."""

    @property
    def name(self) -> str: ...

    @property
    def forms(self) -> tuple[str, ...]: ...

    @property
    def values(self) -> int:
        """How many weights it has."""

    def size_bytes(self, form: str) -> int:
        """Of its weights."""


U = TypeVar("U", bound=Unit)


class Simulation(Protocol[U]):
    """Says what plans cost; a `Replay` is one."""

    def cosines(self, plan: Mapping[U, str], which: Sequence[int] | None = None) -> np.ndarray:
        """With the originals, one for each sample. which: numbers of samples; None, all."""

    def record(self, which: Sequence[int]) -> None:
        """Get ready to look at these samples again and again."""


def uniform(units: Sequence[U], forms: Sequence[str]) -> dict[U, str]:
    """Each unit in the first of these forms that it can have."""
    return {unit: next(form for form in forms if form in unit.forms) for unit in units}


def refine(
    simulation: Simulation[U], plan: Mapping[U, str], forms: Sequence[str], floor: float, task: Task | None = None
) -> tuple[dict[U, str], float]:
    """The plan, with some units in later ones of the forms so that every cosine is at least `floor`; and the smallest cosine.

    forms: from the plan's own to the most exact. Gives the most exact plan where none holds the floor.
    """
    cosines = simulation.cosines(plan)
    if cosines.min() >= floor:
        return dict(plan), float(cosines.min())
    order = [int(number) for number in np.argsort(cosines)]
    losses = measure(simulation, plan, forms, order[:_WORST], task)
    steps = _steps(plan, losses)
    least, watched = 1, order[:_WATCHED]
    while True:
        count = _fewest(simulation, plan, steps, floor, least, watched)
        found = _taken(plan, steps[:count])
        cosines = simulation.cosines(found)
        if cosines.min() >= floor:
            break
        if count == len(steps):
            return found, float(cosines.min())
        least, watched = count + 1, [*watched, int(cosines.argmin())]
    lighter = _given_back(simulation, plan, steps[:count], losses, floor, watched)
    fewer = cosines if lighter == found else simulation.cosines(lighter)
    return (lighter, float(fewer.min())) if fewer.min() >= floor else (found, float(cosines.min()))


def most_exact_of_size(
    simulation: Simulation[U], plan: Mapping[U, str], forms: Sequence[str], most_bytes: float, label: str
) -> dict[U, str]:
    """The plan, with as many units in later forms as fit; raises BudgetError, labelled, where not even the plan itself does."""
    size = sum(unit.size_bytes(form) for unit, form in plan.items())
    if size > most_bytes:
        raise BudgetError(
            f"{label}: this tower's layers take {size / 1e6:.1f} MB at least; its part of --max-mb leaves them"
            f" {max(most_bytes, 0) / 1e6:.1f}"
        )
    order = [int(number) for number in np.argsort(simulation.cosines(plan))]
    found = dict(plan)
    for step in _steps(plan, measure(simulation, plan, forms, order[:_WORST])):
        more = _taken(found, [step])
        if sum(unit.size_bytes(form) for unit, form in more.items()) <= most_bytes:
            found = more
    return found


def measure(
    simulation: Simulation[U], plan: Mapping[U, str], forms: Sequence[str], which: Sequence[int], task: Task | None = None
) -> dict[U, dict[str, float]]:
    """The mean cosine that each form of each unit costs alone. which: numbers of samples."""
    simulation.record(which)
    losses: dict[U, dict[str, float]] = {}
    for number, (unit, first) in enumerate(plan.items()):
        if task is not None:
            task.advance(number, len(plan))
        own = [form for form in forms[forms.index(first) :] if form in unit.forms]
        losses[unit] = {
            form: 0.0 if form == unit.forms[-1] else 1 - float(simulation.cosines({unit: form}, which).mean()) for form in own
        }
    simulation.record(())
    return losses


def _steps(plan: Mapping[U, str], losses: Mapping[U, Mapping[str, float]]) -> list[tuple[U, str]]:
    """More exact forms of units, what gains most per byte first."""
    steps = []
    for unit, first in plan.items():
        for form, gain in _worthwhile(unit, first, losses[unit]):
            steps.append((-gain, unit.name, unit, form))
    return [(unit, form) for _, _, unit, form in sorted(steps, key=lambda step: step[:2])]


def _worthwhile(unit: U, first: str, known: Mapping[str, float]) -> list[tuple[str, float]]:
    """Forms to go through from the first, each with what the step gains per byte: less than the step before it."""
    costs = {form: unit.size_bytes(form) + _SLOWER * unit.values * number for number, form in enumerate(known)}
    path, gains = [first], [float("inf")]
    for form in list(known)[1:]:
        while True:
            gain = (known[path[-1]] - known[form]) / (costs[form] - costs[path[-1]])
            if gain < gains[-1]:
                break
            del path[-1], gains[-1]
        if gain > 0:
            path.append(form)
            gains.append(gain)
    return list(zip(path[1:], gains[1:], strict=True))


def _taken(plan: Mapping[U, str], steps: Sequence[tuple[U, str]]) -> dict[U, str]:
    """The plan after some steps. A unit never gets less exact again."""
    found = dict(plan)
    for unit, form in steps:
        if unit.forms.index(form) > unit.forms.index(found[unit]):
            found[unit] = form
    return found


def _given_back(
    simulation: Simulation[U],
    plan: Mapping[U, str],
    steps: Sequence[tuple[U, str]],
    losses: Mapping[U, Mapping[str, float]],
    floor: float,
    watched: Sequence[int],
) -> dict[U, str]:
    """The plan after some steps, without those that the floor on the watched samples can do without."""
    found = _taken(plan, steps)
    left = float(simulation.cosines(found, watched).min()) - floor
    trust = 1.0  # how much of what is left may be spent by losses that are only taken to add up
    for _ in range(_TRIES):
        trial = _lighter(found, plan, steps, losses, left * trust)
        if trial == found:
            break
        leaves = float(simulation.cosines(trial, watched).min()) - floor
        if leaves >= 0:
            found, left = trial, leaves
        else:
            trust /= 2
    return found


def _lighter(
    found: Mapping[U, str],
    plan: Mapping[U, str],
    steps: Sequence[tuple[U, str]],
    losses: Mapping[U, Mapping[str, float]],
    budget: float,
) -> dict[U, str]:
    """The plan found, with the last steps of units undone, as far as their losses fit in a budget."""
    lighter = dict(found)
    for number in reversed(range(len(steps))):
        unit, form = steps[number]
        before = next((earlier for other, earlier in reversed(steps[:number]) if other is unit), plan[unit])
        loss = losses[unit][before] - losses[unit][form]
        if lighter[unit] == form and loss <= budget:
            lighter[unit] = before
            budget -= loss
    return lighter


def _fewest(
    simulation: Simulation[U],
    plan: Mapping[U, str],
    steps: Sequence[tuple[U, str]],
    floor: float,
    least: int,
    watched: Sequence[int],
) -> int:
    """The smallest number of steps found that holds the floor on the watched samples; all of them if none does."""
    low, high = min(least, len(steps)), len(steps)
    while low < high:
        middle = (low + high) // 2
        if simulation.cosines(_taken(plan, steps[:middle]), watched).min() >= floor:
            high = middle
        else:
            low = middle + 1
    return high
