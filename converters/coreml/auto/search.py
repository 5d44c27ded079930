"""From measured sensitivities to the plan of a package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converters.coreml.auto.choose import Choice, Table, error_of, frontier, size_of, smallest
from converters.coreml.auto.sensitivity import SAMPLES, Trial, measure, open_state, stored
from converters.coreml.compression.forms import FORMS, at_least, lossless_entries
from converters.coreml.compression.weights import Weight
from edgeclip.errors import BudgetError
from edgeclip.manifest import size_bytes
from edgeclip.recipe import Goal, Recipe
from edgeclip.target import Context

FORMS_TRIED = ("pal2", "pal3", "pal4", "w4", "pal6", "w8", "fp16")
# A package's size beyond the weights: what the uncompressed one has, and this for the description of each compressed weight.
_DESCRIPTION_BYTES = 500


def search(package: Path, weights: Mapping[str, Weight], recipe: Recipe, context: Context, label: str) -> Choice:
    """A small plan, along the frontier, that holds the goal's floor; without one, the most exact of the goal's size.

    package: the tower in float16. Raises BudgetError where no form holds the floor.
    """
    assert recipe.min_os is not None
    samples, originals = context.samples(), context.originals()
    chosen = np.sort(np.random.RandomState(recipe.seed).permutation(len(samples))[:SAMPLES])
    forms = {name: _forms(weight, recipe) for name, weight in weights.items()}
    state = open_state(context.cache, package, samples[chosen], recipe.min_os)
    with context.progress(f"trying {sum(map(len, forms.values()))} forms of {len(weights)} weights: {label}") as task:
        table = measure(Trial(package, samples[chosen], originals[chosen]), weights, forms, recipe.min_os, state, task)
    goal = context.goal
    if goal.floor is None:
        besides = size_bytes(package) - sum(FORMS["fp16"].size(weight, recipe.min_os) for weight in weights.values())
        return _of_size(table, goal, besides + _DESCRIPTION_BYTES * len(weights))
    with context.progress(f"choosing forms: {label}"):
        measured = _Measured(Trial(package, samples, originals), weights, recipe.min_os)
        return _of_floor(table, measured, goal.floor, context.share)


def _forms(weight: Weight, recipe: Recipe) -> tuple[str, ...]:
    if lossless_entries(weight):
        return ("pal4",)  # stored in as few bits as it takes, exactly
    if weight.is_token_table and recipe.token_table is not None:
        return (recipe.token_table,)
    assert recipe.min_os is not None
    return tuple(form for form in FORMS_TRIED if at_least(recipe.min_os, FORMS[form].min_os))


class _Measured:
    """Smallest cosines of plans, each measured once."""

    def __init__(self, trial: Trial, weights: Mapping[str, Weight], min_os: str) -> None:
        self._trial = trial
        self._weights = weights
        self._min_os = min_os
        self._values: dict[tuple[str, str], np.ndarray] = {}
        self._known: dict[tuple[tuple[str, str], ...], float] = {}

    def __call__(self, plan: Choice) -> float:
        key = tuple(sorted(plan.items()))
        if key not in self._known:
            for pair in set(self._values) - set(key):
                del self._values[pair]
            for name, form in key:
                if form != "fp16" and (name, form) not in self._values:
                    self._values[name, form] = stored(self._weights[name], form, self._min_os)
            self._known[key] = float(self._trial.cosines({name: value for (name, _), value in self._values.items()}).min())
        return self._known[key]


def _of_floor(table: Table, measured: _Measured, floor: float, share: float) -> Choice:
    wanted = 1 - share * (1 - floor)
    most_exact = measured(frontier(table)[-1])
    if most_exact < wanted:
        wanted = floor  # there is no room to leave
    if most_exact < wanted:
        raise BudgetError(
            f"coreml: the most exact forms give cosine {most_exact:.6f}, below --min-cosine {floor:g}; try --scheme fp32"
        )
    best = smallest(table, lambda plan: measured(plan) >= wanted)
    for plan in _uniform(table):
        if size_of(table, plan) < size_of(table, best) and measured(plan) >= wanted:
            best = plan
    return best


def _uniform(table: Table) -> list[Choice]:
    """Plans with the same form everywhere, or as near to it as the weights allow."""
    return [
        {
            name: form if form in options else max(options, key=lambda f: options[f].size_bytes)
            for name, options in table.items()
        }
        for form in FORMS_TRIED
    ]


def _of_size(table: Table, goal: Goal, besides: int) -> Choice:
    """besides: bytes of the package that are no weights."""
    assert goal.max_mb is not None
    choices = [choice for choice in frontier(table) if size_of(table, choice) + besides <= goal.max_mb * 1e6]
    if not choices:
        smallest = (size_of(table, frontier(table)[0]) + besides) / 1e6
        raise BudgetError(f"coreml: this tower takes {smallest:.1f} MB at least; its part of --max-mb is {goal.max_mb:.1f}")
    return min(choices, key=lambda choice: error_of(table, choice))
