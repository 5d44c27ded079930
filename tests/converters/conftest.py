"""Fixtures of the conversion tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from edgeclip.calibration import Calibration
from edgeclip.verify.samples import texture
from tests.reference.packages import builder


@pytest.fixture(scope="session")
def calibration(tmp_path_factory):
    """Few samples, so that `auto` takes seconds."""
    folder = tmp_path_factory.mktemp("calibration")
    for seed in range(4):
        texture(96, 80, seed=seed).save(folder / f"{seed}.png")
    texts = folder / "texts.txt"
    texts.write_text("a red circle\ntwo small blue stars\na photo of a dog, running\nthe sea\n")
    return Calibration(folder, texts)


@pytest.fixture(scope="module")
def quick_collections() -> Iterator[None]:
    """`ct.convert` ends with `gc.collect()`, which takes half a second over all that coremltools and torch have loaded."""
    builder()
    gc.freeze()
    yield
    gc.unfreeze()
