"""Ranks against sorting everything, one query at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.evaluation import ranking
from edgeclip.evaluation.ranking import mean_per_class, rank
from edgeclip.verify.metrics import unit


def brute_force(queries, candidates, wanted, owners):
    """Place of the first right candidate, and the first candidate, in a stable order by falling cosine."""
    ranks, best = [], []
    for query, right in zip(queries, wanted, strict=True):
        order = sorted(range(len(candidates)), key=lambda m: (-float(query @ candidates[m]), m))
        ranks.append(next(place for place, m in enumerate(order) if owners[m] == right))
        best.append(order[0])
    return ranks, best


@given(seed=st.integers(0, 2**32 - 1), queries=st.integers(1, 40), classes=st.integers(1, 12), per_class=st.integers(1, 4))
def test_ranks_are_those_of_sorting(seed, queries, classes, per_class):
    rng = np.random.default_rng(seed)
    owners = rng.permutation(np.repeat(np.arange(classes), per_class))
    wanted = rng.integers(0, classes, queries)
    # Small integers: cosines are exact, and many are equal.
    rows, columns = rng.integers(-2, 3, (queries, 3)).astype(float), rng.integers(-2, 3, (len(owners), 3)).astype(float)
    found = rank(rows, columns, wanted, owners)
    ranks, best = brute_force(rows, columns, wanted, owners)
    assert found.ranks.tolist() == ranks
    assert found.best.tolist() == best
    for k in (1, 2, 5):
        assert found.hits(k).tolist() == [place < k for place in ranks]


def test_blocks_make_no_difference(monkeypatch):
    rng = np.random.default_rng(0)
    queries, candidates = unit(rng.normal(size=(101, 16))), unit(rng.normal(size=(30, 16)))
    wanted, owners = rng.integers(0, 30, 101), np.arange(30)
    whole = rank(queries, candidates, wanted, owners)
    monkeypatch.setattr(ranking, "_CELLS", 100)
    blocks = rank(queries, candidates, wanted, owners)
    assert (whole.ranks == blocks.ranks).all()
    assert (whole.best == blocks.best).all()


def test_embeddings_that_are_all_alike_are_not_right():
    same = np.ones((8, 4)) / 2
    found = rank(same, same[:4], np.array([0, 1, 2, 3] * 2), np.arange(4))
    assert found.hits(1).mean() == 0.25, "chance"


def test_mean_per_class_counts_classes_alike():
    hits = np.array([True, True, True, False, False])
    labels = np.array([3, 3, 3, 3, 7])
    assert mean_per_class(hits, labels) == pytest.approx((0.75 + 0.0) / 2)
