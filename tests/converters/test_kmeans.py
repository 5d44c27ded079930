"""Look-up tables against an exhaustive search and their properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from converters.coreml.compression.kmeans import lookup_table

half_floats = st.floats(-100, 100, width=16)


def _cost(values: np.ndarray, table: np.ndarray, indices: np.ndarray) -> float:
    return float(((values.astype(np.float64) - table.astype(np.float64)[indices]) ** 2).sum())


def _best_cost(values: np.ndarray, entries: int) -> float:
    """Of all ways to cut the sorted values into intervals."""
    ordered = np.sort(values.astype(np.float64))
    costs = []
    for cuts in itertools.combinations(range(1, len(ordered)), entries - 1):
        parts = np.split(ordered, cuts)
        costs.append(sum(float(((part - part.mean()) ** 2).sum()) for part in parts))
    return min(costs)


@given(hnp.arrays(np.float16, st.integers(1, 60), elements=half_floats), st.sampled_from([2, 4, 16]))
def test_every_value_gets_its_nearest_entry(values, entries):
    table, indices = lookup_table(values, entries)
    assert table.shape == (entries,)
    assert table.dtype == values.dtype
    assert indices.shape == values.shape
    assert indices.dtype == np.uint8
    distance = np.abs(values[:, None].astype(np.float64) - table[None].astype(np.float64))
    chosen = np.take_along_axis(distance, indices[:, None].astype(int), 1)[:, 0]
    np.testing.assert_allclose(chosen, distance.min(1), atol=1e-9)


@given(hnp.arrays(np.float16, st.integers(1, 200), elements=st.sampled_from([0.0, 0.25, -1.5, 3.0])))
def test_few_distinct_values_are_kept_exactly(values):
    table, indices = lookup_table(values, 4)
    np.testing.assert_array_equal(table[indices], values)


@pytest.mark.parametrize("seed", range(8))
def test_close_to_the_best_cut(seed):
    values = np.random.RandomState(seed).standard_normal(14).astype(np.float16)
    table, indices = lookup_table(values, 4)
    assert _cost(values, table, indices) <= 1.35 * _best_cost(values, 4) + 1e-4


def test_better_than_even_steps_on_weights():
    values = np.random.RandomState(0).standard_normal((64, 300)).astype(np.float16)
    table, indices = lookup_table(values, 16)
    even = np.linspace(values.min(), values.max(), 16)
    nearest = np.abs(values.reshape(-1, 1) - even[None]).argmin(1)
    assert _cost(values.reshape(-1), table, indices) < 0.55 * _cost(values.reshape(-1), even, nearest)


def test_the_same_weights_give_the_same_table():
    values = np.random.RandomState(1).standard_normal(5000).astype(np.float16)
    first, second = lookup_table(values, 16), lookup_table(values.copy(), 16)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
