"""How many samples an artifact is run on, where a runtime is too slow for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from edgeclip.reference.runtime import Runner
from edgeclip.verify.samples import MIN_SAMPLES


def encode(
    runner: Runner, given: np.ndarray, patience_s: float | None, clock: Callable[[], float] = time.perf_counter
) -> tuple[np.ndarray, np.ndarray]:
    """Run a batch, or as much of it as `patience_s` allows, at least MIN_SAMPLES -> indices (n,) and embeddings (n, D).

    What is run is spread over the batch, and in its order.
    """
    if patience_s is None:
        return np.arange(len(given)), runner.encode(given)
    until = clock() + patience_s
    found: dict[int, np.ndarray] = {}
    for index in spread(len(given)):
        if len(found) >= MIN_SAMPLES and clock() >= until:
            break
        found[index] = runner.encode(given[index : index + 1])
    indices = sorted(found)
    return np.array(indices), np.concatenate([found[index] for index in indices])


def spread(count: int) -> list[int]:
    """All indices below `count`, each far from those before it (van der Corput, in base 2).

    >>> spread(6)
    [0, 4, 2, 1, 5, 3]
    """
    bits = max(count - 1, 1).bit_length()
    reversed_ = (int(f"{index:0{bits}b}"[::-1], 2) for index in range(1 << bits))
    return [index for index in reversed_ if index < count]
