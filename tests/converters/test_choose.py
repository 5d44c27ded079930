"""Choosing a form for each layer, against trying all combinations."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.coreml.auto.choose import Option, error_of, frontier, size_of, smallest

options = st.builds(Option, st.integers(1, 1000), st.floats(0, 1))
tables = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(st.sampled_from(["x", "y", "z"]), options, min_size=1), min_size=1
)


@given(tables)
def test_sizes_rise_and_errors_fall_along_the_frontier(table):
    choices = frontier(table)
    sizes, errors = [size_of(table, c) for c in choices], [error_of(table, c) for c in choices]
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert all(choice.keys() == table.keys() for choice in choices)


@given(tables)
def test_the_ends_are_the_smallest_and_the_most_exact(table):
    choices = frontier(table)
    assert size_of(table, choices[0]) == sum(min(o.size_bytes for o in row.values()) for row in table.values())
    best = sum(min(o.error for o in row.values()) for row in table.values())
    assert abs(error_of(table, choices[-1]) - best) < 1e-9


@given(tables, st.floats(0, 10))
def test_no_combination_is_better_by_more_than_one_step(table, share):
    """Whatever size is allowed: the frontier's best within it is as exact as any combination that is a largest step smaller."""
    layers = list(table)
    choices = frontier(table)
    low, high = size_of(table, choices[0]), size_of(table, choices[-1])
    allowed = low + (high - low) * min(share, 1)
    step = max((size_of(table, b) - size_of(table, a) for a, b in itertools.pairwise(choices)), default=0)
    ours = min(error_of(table, c) for c in choices if size_of(table, c) <= allowed)
    for forms in itertools.product(*(table[layer] for layer in layers)):
        other = dict(zip(layers, forms, strict=True))
        if size_of(table, other) <= allowed - step:
            assert ours <= error_of(table, other) + 1e-9


@given(tables, st.floats(0, 1))
def test_the_smallest_holds_and_is_no_larger_than_the_frontiers(table, share):
    choices = frontier(table)
    errors = [error_of(table, choice) for choice in choices]
    allowed = errors[-1] + share * (errors[0] - errors[-1])

    def holds(choice):
        return error_of(table, choice) <= allowed + 1e-12

    found = smallest(table, holds)
    assert holds(found)
    assert size_of(table, found) <= min(size_of(table, choice) for choice in choices if holds(choice))


def test_beside_a_layer_that_is_most_of_the_model_the_others_take_less():
    others = {name: {"small": Option(10, 0.01), "large": Option(20, 0.0)} for name in "abcdef"}
    table = {"vast": {"small": Option(1000, 0.05), "large": Option(2000, 0.0)}, **others}
    found = smallest(table, lambda choice: error_of(table, choice) <= 0.045)
    assert found["vast"] == "large"
    assert size_of(table, found) == 2000 + 4 * 10 + 2 * 20
    with pytest.raises(ValueError, match="most exact"):
        smallest(table, lambda choice: False)


def test_the_layer_that_gains_most_per_byte_goes_first():
    table = {
        "deaf": {"small": Option(10, 0.001), "large": Option(20, 0.0)},
        "touchy": {"small": Option(10, 0.5), "large": Option(20, 0.0)},
    }
    assert frontier(table) == [
        {"deaf": "small", "touchy": "small"},
        {"deaf": "small", "touchy": "large"},
        {"deaf": "large", "touchy": "large"},
    ]
