"""Models that several files here look at."""

from __future__ import annotations

import functools

import pytest

from edgeclip.models.seeded import seeded_pair
from tests.support.reduced import spec_of


@pytest.fixture(scope="session")
def seeded():
    """`seeded(name)`: a model of the table or a reduced one with live weights of seed 0. Read-only, made once."""
    return functools.cache(lambda name: seeded_pair(spec_of(name), 0))
