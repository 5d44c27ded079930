"""Interleaved timing: in each round every contender has a turn, in an order drawn anew."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from latency.contender import Encode

# Threads of one contender's pool keep spinning for a while after a run; this lets them go to sleep before the next one's turn.
PAUSE_S = 0.02


@dataclass(frozen=True)
class Turn:
    """One turn: the median latency of its timed runs, and processor time over wall time during them."""

    latency_ms: float
    busy_threads: float


def interleave(
    encoders: Mapping[str, Encode],
    sample: np.ndarray,
    rounds: int,
    runs: int,
    doing: Callable[[str], None] = lambda name: None,
    pause_s: float = PAUSE_S,
) -> dict[str, list[Turn]]:
    """`rounds` turns for each; what slows the machine for a while slows all alike.

    A turn is a run that does not count, which brings weights back into the caches and wakes the threads, then `runs` that do.
    Of these the median stands for the turn: one interruption does not count, and unlike a minimum it is not the better the
    more often one tries. `doing` is told whose turn comes.
    """
    turns: dict[str, list[Turn]] = {name: [] for name in encoders}
    order, drawn = list(encoders), random.Random(0)
    for _ in range(rounds):
        drawn.shuffle(order)
        for name in order:
            doing(name)
            time.sleep(pause_s)
            turns[name].append(_turn(encoders[name], sample, runs))
    return turns


def _turn(encode: Encode, sample: np.ndarray, runs: int) -> Turn:
    encode(sample)
    busy = time.process_time()
    times = [_seconds(encode, sample) for _ in range(runs)]
    busy = time.process_time() - busy
    return Turn(1e3 * statistics.median(times), busy / sum(times))


def _seconds(encode: Callable[[np.ndarray], object], sample: np.ndarray) -> float:
    started = time.perf_counter()
    encode(sample)
    return time.perf_counter() - started
