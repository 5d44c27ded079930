"""Metrics against values computed by hand, and their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeclip.verify.metrics import between_input_cosine, compare, rank_agreement, unit

E = np.eye(4)


def test_equal_embeddings_agree_perfectly():
    agreement = compare(E[:3], E[:3], E)
    assert agreement.cosine_min == agreement.cosine_mean == agreement.rank_agreement == 1.0
    assert agreement.max_abs_error == agreement.length_error == agreement.between_input_cosine == 0.0


def test_the_worst_sample_and_component_count():
    converted = np.array([[1, 0, 0, 0], [0.6, 0.8, 0, 0]])
    agreement = compare(E[:2], converted, E)
    assert agreement.cosine_min == pytest.approx(0.8)
    assert agreement.cosine_mean == pytest.approx(0.9)
    assert agreement.max_abs_error == pytest.approx(0.6)


def test_a_missing_normalisation_shows_only_in_the_length():
    agreement = compare(E[:2], 3 * E[:2], E)
    assert agreement.cosine_min == 1.0
    assert agreement.length_error == pytest.approx(2.0)


def test_between_input_cosine_is_the_mean_over_pairs():
    rows = np.array([[1, 0], [0, 2], [1, 1]])
    assert between_input_cosine(rows) == pytest.approx((0 + 2 * np.sqrt(0.5)) / 3)
    assert between_input_cosine(np.ones((5, 3))) == pytest.approx(1.0)
    assert between_input_cosine(rows[:1]) == 1.0


def test_rank_agreement_counts_ordered_pairs():
    candidates = np.eye(3)
    original = np.array([[3.0, 2.0, 1.0]])
    assert rank_agreement(original, np.array([[30.0, 20.0, 10.0]]), candidates) == 1.0
    assert rank_agreement(original, np.array([[2.0, 3.0, 1.0]]), candidates) == pytest.approx(2 / 3)
    assert rank_agreement(original, np.array([[1.0, 2.0, 3.0]]), candidates) == 0.0


def test_ties_of_the_original_do_not_count():
    assert np.isnan(rank_agreement(np.ones((1, 3)), np.array([[1.0, 2.0, 3.0]]), np.eye(3)))
    assert rank_agreement(np.array([[2.0, 2.0, 1.0]]), np.array([[1.0, 2.0, 0.0]]), np.eye(3)) == 1.0


def test_of_very_many_candidates_some_stand_for_all():
    candidates = np.random.RandomState(0).standard_normal((20_000, 3))
    assert rank_agreement(np.eye(3), np.eye(3), candidates) == 1.0


rows = hnp.arrays(np.float64, st.tuples(st.integers(2, 6), st.just(5)), elements=st.floats(-10, 10))


@given(rows=rows)
@example(rows=np.full((2, 5), 8.77e-161))
def test_metrics_stay_in_their_ranges(rows):
    agreement = compare(rows, rows[::-1], rows)
    assert -1.000001 <= agreement.cosine_min <= agreement.cosine_mean + 1e-9 <= 1.000002
    assert np.isnan(agreement.rank_agreement) or 0 <= agreement.rank_agreement <= 1  # NaN where there is no order
    assert agreement.max_abs_error >= 0
    assert np.isfinite(unit(rows)).all()
