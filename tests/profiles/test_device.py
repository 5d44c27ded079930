"""What a device is asked, and what it does not take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeclip.errors import UsageError
from profiles.device import Request, takes

PLAIN: Any = Request(bundle=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"threads": (1, 2)}, "--threads"),
        ({"runtimes": ("mil",)}, "--runtime"),
        ({"most_s": 5.0}, "--max-seconds"),
        ({"runner": Path("executor_runner")}, "--runner"),
    ],
)
def test_options_that_would_be_ignored_are_refused(changes, option):
    with pytest.raises(UsageError, match=f"{option}: --device iphone does not take it"):
        takes(replace(PLAIN, **changes), "iphone")
    takes(replace(PLAIN, **changes), "host", *changes)


def test_what_nobody_gave_is_not_refused():
    takes(replace(PLAIN, threads=[1], argument="pro"), "iphone")
