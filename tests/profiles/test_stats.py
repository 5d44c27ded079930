"""Percentiles, intervals of medians and of ratios, and the rule that stops timing."""

from __future__ import annotations

import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.stats import StopRule, drift, half_width, median, median_interval, mover, percentile

TIMES = st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=200)


@given(TIMES, st.floats(0, 100))
def test_percentiles_are_numpys(values, percent):
    assert percentile(sorted(values), percent) == pytest.approx(float(np.percentile(values, percent)), rel=1e-9)


@given(TIMES)
def test_median_is_the_standard_librarys(values):
    assert median(values) == pytest.approx(statistics.median(values))


@given(TIMES)
def test_the_interval_is_of_values_around_the_median(values):
    low, high = median_interval(sorted(values))
    assert {low, high} <= set(values)
    assert low <= median(values) <= high


@pytest.mark.parametrize(
    ("n", "rank"),
    # Ranks of 95 % intervals as tables of the sign test print them (Conover, table A3: the number below, plus one).
    [(1, 1), (5, 1), (6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (25, 8), (30, 10), (40, 14), (50, 18), (100, 40)],
)
def test_ranks_are_those_of_the_sign_test(n, rank):
    assert median_interval(range(1, n + 1)) == (rank, n + 1 - rank)


@pytest.mark.parametrize("n", [6, 7, 19, 60, 333])
def test_ranks_hold_what_they_promise_and_no_more(n):
    """By exact integer arithmetic, where the code adds logarithms."""
    k = int(median_interval(range(1, n + 1))[0])

    def missed(k):
        return 2 * sum(math.comb(n, j) for j in range(k)) / 2**n

    assert missed(k) <= 0.05
    assert missed(k + 1) > 0.05


@pytest.mark.parametrize("draw", [random.Random(1).expovariate, lambda rate: random.Random(0).random()], ids=["tail", "stuck"])
def test_an_interval_never_leaves_its_values(draw):
    values = sorted(draw(1.0) for _ in range(50))
    low, high = median_interval(values)
    assert values[0] <= low <= high <= values[-1]


@pytest.mark.parametrize("n", [10, 21, 100])
def test_the_interval_has_the_true_median_at_least_95_times_in_100(n):
    """Of a lopsided distribution, as times are: exponential above a floor, with median 1 + log 2."""
    drawn = random.Random(n)
    trials, truth = 4000, 1 + math.log(2)
    held = 0
    for _ in range(trials):
        low, high = median_interval(sorted(1 + drawn.expovariate(1) for _ in range(n)))
        held += low <= truth <= high
    assert 0.94 < held / trials < 0.99


@given(st.floats(0.01, 1e4), st.integers(1, 50))
def test_half_width_and_drift_of_a_constant_are_nothing(value, n):
    assert half_width([value] * n) == 0
    assert drift([value] * n) == 0


def test_drift_is_of_the_later_half():
    assert drift([1, 1, 1, 1.5, 1.5, 1.5]) == pytest.approx(0.5)


def _run(rule, time_ms):
    """A run on a clock of our own -> times, seconds."""
    times, spent, look = [], 0.0, rule.least
    while not rule.over(len(times), spent):
        if len(times) >= look:
            if rule.enough(times, spent):
                break
            look = rule.next_look(len(times))
        times.append(time_ms())
        spent += times[-1] / 1e3
    return times, spent


@given(st.integers(0, 2**32), st.floats(0.01, 30_000), st.floats(0, 3), st.floats(0.01, 20))
def test_timing_ends_whatever_the_times_are(seed, middle_ms, sigma, most_s):
    drawn = random.Random(seed)
    rule = StopRule(most_s)
    times, spent = _run(rule, lambda: middle_ms * math.exp(drawn.gauss(0, sigma)))
    assert 1 <= len(times) <= rule.most
    assert spent - times[-1] / 1e3 <= most_s  # over by no more than one inference


def test_steady_times_stop_as_soon_as_they_may():
    rule = StopRule(20.0)
    times, spent = _run(rule, lambda: 10.0)
    assert rule.least_s <= spent < rule.least_s * 1.2
    assert rule.enough(times, spent)


def test_wild_times_go_on_to_the_bound():
    drawn = random.Random(0)
    rule = StopRule(5.0, most=10**6)
    times, spent = _run(rule, lambda: 100 * math.exp(drawn.gauss(0, 2)))
    assert spent >= 5.0
    assert not rule.enough(times, spent)


def test_the_interval_of_a_ratio_has_the_truth():
    """Of medians of two runs whose true ratio is 1.25, about 19 times in 20."""
    drawn = random.Random(3)
    held, trials = 0, 1500
    for _ in range(trials):
        one, other = (sorted(m * math.exp(drawn.gauss(0, 0.1)) for _ in range(60)) for m in (5.0, 4.0))
        sides = []
        for values in (one, other):
            low, high = median_interval(values)
            sides.append((low, median(values), high))
        low, high = mover(sides[0][1] / sides[1][1], *sides)
        held += low <= 1.25 <= high
    assert 0.93 < held / trials < 0.99


def test_a_ratio_of_exact_figures_is_exact():
    assert mover(2.0, (4, 4, 4), (2, 2, 2)) == (2.0, 2.0)
    low, high = mover(2.0, (3.6, 4, 4.4), (2, 2, 2))
    assert (low, high) == pytest.approx((1.8, 2.2))
