"""Scores: shares among the labels, or a probability for each."""

from __future__ import annotations

import numpy as np
import pytest

from edgeclip.classify import Score, _classified, score
from edgeclip.spec import Scoring

SIGMOID = Scoring(kind="sigmoid", logit_scale=117.33, logit_bias=-12.93)
SOFTMAX = Scoring(kind="softmax", logit_scale=100.0)
COSINES = np.array([[0.05, 0.12, -0.3], [0.0, 0.02, -1.0]], np.float32)


def test_each_probability_is_on_its_own():
    whole = score(COSINES, SIGMOID)
    alone = np.concatenate([score(COSINES[:, [k]], SIGMOID) for k in range(3)], axis=1)
    np.testing.assert_array_equal(whole, alone)
    assert whole[0, 1] == pytest.approx(1 / (1 + np.exp(12.93 - 117.33 * 0.12)), rel=1e-6)
    assert np.isfinite(whole).all()


def test_shares_add_up_to_one():
    np.testing.assert_allclose(score(COSINES, SOFTMAX).sum(1), 1)


@pytest.mark.parametrize(("scoring", "none"), [(SIGMOID, [False, True]), (SOFTMAX, [None, None])])
def test_none_of_these(scoring, none):
    best = [Score("a label", float(row.max()), 0.1) for row in score(COSINES, scoring)]
    assert [_classified("picture", (one,), scoring).none_of_these for one in best] == none
