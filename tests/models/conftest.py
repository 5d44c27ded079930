"""Models that several files here look at."""

from __future__ import annotations

import functools

import pytest

from edgeclip.models import MODELS
from edgeclip.models.seeded import seeded_pair


@pytest.fixture(scope="session")
def seeded():
    """`seeded(name)`: a model of the table with live weights of seed 0. Read-only, made once."""
    return functools.cache(lambda name: seeded_pair(MODELS[name], 0))
