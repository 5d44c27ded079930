"""What tests of sweeps share."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture
def hears_ctrl_c():
    """SIGINT as a terminal's programs have it; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
