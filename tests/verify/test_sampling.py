"""Which samples a slow runtime is run on."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.reference.runtime import Runner
from edgeclip.verify.samples import MIN_SAMPLES
from edgeclip.verify.sampling import encode, spread


class Doubling(Runner):
    """Gives twice its input."""

    def encode(self, batch):
        return 2 * batch


GIVEN = np.arange(20.0).reshape(10, 2)


def test_without_a_limit_all_are_run():
    indices, embeddings = encode(Doubling(), GIVEN, None)
    assert indices.tolist() == list(range(10))
    np.testing.assert_array_equal(embeddings, 2 * GIVEN)


@pytest.mark.parametrize(("patience_s", "samples"), [(0.0, MIN_SAMPLES), (4.5, 6), (100.0, 10)])
def test_as_many_as_time_allows(patience_s, samples):
    seconds = count()  # the clock is looked at once before, and from the second sample on once for each
    indices, embeddings = encode(Doubling(), GIVEN, patience_s, lambda: float(next(seconds)))
    assert len(indices) == samples
    assert indices.tolist() == sorted(set(indices.tolist()))
    np.testing.assert_array_equal(embeddings, 2 * GIVEN[indices])


@given(st.integers(1, 300))
def test_every_index_comes_once_and_early_ones_are_far_apart(size):
    order = spread(size)
    assert sorted(order) == list(range(size))
    for first in (2, 4, 8):
        early = np.sort(order[:first])
        if len(early) == first < size:
            assert np.diff(early).min() >= size // (2 * first)
