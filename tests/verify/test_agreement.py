"""Artifacts held against each other."""

from __future__ import annotations

import numpy as np
import pytest

from edgeclip.verify.agreement import Pair, agreement
from edgeclip.verify.rows import Ran, Row


def _ran(target, runtime, indices, embeddings, tower="image", mode="native", backend=None):
    row = Row(
        tower=tower,
        target=target,
        backend=backend,
        scheme="fp16",
        runtime=runtime,
        mode=mode,
        samples=len(indices),
        sha256="0" * 64,
        cosine_min=1.0,
        cosine_mean=1.0,
        max_abs_error=0.0,
        between_input_cosine=0.1,
        rank_agreement=1.0,
        length_error=0.0,
        threshold={},
        passed=True,
    )
    return Ran(row, 0, np.array(indices, int), np.array(embeddings, np.float32).reshape(-1, 2))


def test_pairs_are_held_against_each_other_where_both_were_run():
    first = _ran("coreml", "mil", [0, 1, 2, 3], [[1, 0], [0, 1], [1, 0], [0, 1]], mode="fp16")
    second = _ran("coreai", "coreai", [1, 3], [[0, 1], [0.6, 0.8]])
    third = _ran("executorch", "executorch", [0], [[1, 0]], backend="xnnpack")
    assert agreement([first, second, third]) == (
        Pair("image", "coreml fp16 in mil fp16", "coreai fp16", 2, pytest.approx(0.8), pytest.approx(0.6)),
        Pair("image", "coreml fp16 in mil fp16", "executorch/xnnpack fp16", 1, 1.0, 0.0),
    )


def test_towers_and_what_did_not_run_are_left_apart():
    image, text = _ran("a", "a", [0], [[1, 0]]), _ran("b", "b", [0], [[1, 0]], tower="text")
    assert agreement([image, text, _ran("c", "c", [], [])]) == ()
