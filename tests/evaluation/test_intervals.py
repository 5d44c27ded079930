"""Intervals of paired differences: published examples, properties, and how often they hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.evaluation.intervals import design_effect, difference_interval, paired_interval, wilson

counts = st.integers(0, 400)
tables = st.tuples(counts, counts, counts, counts).filter(any)


@pytest.mark.parametrize(
    ("table", "interval"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),  # Newcombe 1998, Statistics in Medicine 17, 2635, method 10
        ((59, 6, 16, 80), (-0.1186, -0.0046)),  # Cavo et al. 2012, as the R package contingencytables 3.1 has it
        ((1, 1, 7, 12), (-0.5069, -0.0256)),  # Bentur et al. 2009, from the same book: Fagerland et al. 2017, chapter 8
    ],
)
def test_published_examples(table, interval):
    assert paired_interval(*table) == pytest.approx(interval, abs=5e-5)


def test_wilson_at_its_ends():
    # Of n equal answers the limit is z^2 / (n + z^2): with 1.96 and 100, 3.7 %.
    assert wilson(0.0, 100) == (0.0, pytest.approx(0.036994, abs=1e-6))
    assert wilson(1.0, 100) == (pytest.approx(1 - 0.036994, abs=1e-6), 1.0)


@given(table=tables)
def test_an_interval_holds_the_difference_and_turns_with_it(table):
    both, first, second, neither = table
    low, high = paired_interval(*table)
    difference = (first - second) / sum(table)
    assert low <= difference + 1e-12
    assert high >= difference - 1e-12
    assert -1 - 1e-9 <= low <= high <= 1 + 1e-9
    assert paired_interval(both, second, first, neither) == pytest.approx((-high, -low))
    assert paired_interval(neither, first, second, both) == pytest.approx((low, high)), "right and wrong are alike"


def test_equal_answers_still_leave_a_doubt_that_shrinks():
    small, large = paired_interval(90, 0, 0, 10), paired_interval(9000, 0, 0, 1000)
    assert small[1] == -small[0] > 0.01
    assert 0 < large[1] < 0.001


@pytest.mark.parametrize(
    "shares", [(0.70, 0.02, 0.03, 0.25), (0.95, 0.01, 0.01, 0.03), (0.4, 0.1, 0.15, 0.35), (0.90, 0.0, 0.005, 0.095)]
)
@pytest.mark.parametrize("n", [100, 1000])
def test_coverage(shares, n):
    """Of 4000 drawn tables, 95 % or nearly so have the true difference in their interval."""
    drawn = np.random.default_rng(7).multinomial(n, shares, size=4000)
    true = shares[1] - shares[2]
    found, times = np.unique(drawn, axis=0, return_counts=True)
    intervals = [paired_interval(*map(int, table)) for table in found]
    covered = sum(count for (low, high), count in zip(intervals, times, strict=True) if low <= true <= high)
    assert covered / len(drawn) >= 0.94


def test_a_query_of_its_own_is_no_cluster():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 300)) < 0.7
    assert difference_interval(first, second, np.arange(300)) == pytest.approx(difference_interval(first, second), abs=1e-3)


def test_copies_add_nothing():
    """Five captions of a picture that are always right or wrong together say as much as one."""
    rng = np.random.default_rng(1)
    first, second = rng.random((2, 200)) < np.array([[0.6], [0.7]])
    clusters = np.repeat(np.arange(200), 5)
    copied = difference_interval(np.repeat(first, 5), np.repeat(second, 5), clusters)
    assert copied == pytest.approx(difference_interval(first, second), rel=1e-2)
    same = difference_interval(np.repeat(first, 5), np.repeat(first, 5), clusters)
    assert same == pytest.approx(difference_interval(first, first)), "also where nothing differs"


def test_coverage_of_clusters():
    """Captions whose answers go with their picture: the interval holds, and one that takes them for independent does not."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(np.arange(200), 5)
    held = naive = 0
    for _ in range(400):
        flips = rng.random((2, 200)) < np.array([[0.10], [0.06]])  # pictures of which one contender loses most captions
        base = rng.random(1000) < 0.8
        first = base & ~(flips[0].repeat(5) & (rng.random(1000) < 0.9))
        second = base & ~(flips[1].repeat(5) & (rng.random(1000) < 0.9))
        true = 0.8 * 0.9 * (0.06 - 0.10)
        held += (lambda low, high: low <= true <= high)(*difference_interval(first, second, clusters))
        naive += (lambda low, high: low <= true <= high)(*difference_interval(first, second))
    assert held / 400 >= 0.92
    assert naive < held


def test_design_effect_of_equal_clusters_is_their_size():
    values = np.repeat([0.0, 1.0] * 50, 4)
    assert design_effect(values, np.repeat(np.arange(100), 4)) == pytest.approx(4 * 100 / 99)
    assert design_effect(np.tile([0.0, 1.0], 200), np.repeat(np.arange(100), 4)) == 1.0
