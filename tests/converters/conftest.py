"""Fixtures of the conversion tests."""

from __future__ import annotations

import pytest

from edgeclip.calibration import Calibration
from edgeclip.verify.samples import texture


@pytest.fixture(scope="session")
def calibration(tmp_path_factory):
    """Few samples, so that `auto` takes seconds."""
    folder = tmp_path_factory.mktemp("calibration")
    for seed in range(4):
        texture(96, 80, seed=seed).save(folder / f"{seed}.png")
    texts = folder / "texts.txt"
    texts.write_text("a red circle\ntwo small blue stars\na photo of a dog, running\nthe sea\n")
    return Calibration(folder, texts)
