"""Two artifacts in turns: what slows the machine for a while slows both.

In each round both have a turn, in an order drawn anew; the ratio of a round is that of the medians of its two turns. The ratio
of all is the median over rounds, and its interval that median's, from order statistics (`stats.median_interval`): rounds are
compared with themselves, so that a clock that falls during the run widens nothing.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from profiles.machine import Others
from profiles.runners.host_messages import Timed, Turn
from profiles.runners.host_process import Worker
from profiles.stats import StopRule, median, median_interval

# Threads of a pool keep spinning for a while after a run; this lets them go to sleep before the other one's turn.
PAUSE_S = 0.02
TURN_MS = 30.0  # of timed runs in a turn, at least
LEAST_RUNS, MOST_RUNS = 3, 200
LEAST_ROUNDS = 30
WITHIN = 0.01  # half the interval of the ratio


@dataclass(frozen=True)
class Contest:
    """rounds: the medians of this and that turn, in ms. this: all timed runs of the first one, as if of one run."""

    rounds: list[tuple[float, float]]
    this: Timed
    medians: tuple[float, float]


def interleave(this: Worker, that: Worker, rule: StopRule) -> Contest:
    """Rounds until the ratio is known to 1 %, or the rule's time is over."""
    workers = (this, that)
    turns: tuple[list[Timed], list[Timed]] = ([], [])
    rounds: list[tuple[float, float]] = []
    runs = [LEAST_RUNS, LEAST_RUNS]
    drawn = random.Random(0)
    for k in (0, 1):  # not counted: warms up, and tells how many runs make a turn
        warm = median(workers[k].ask(Turn(LEAST_RUNS), Timed).times_ms)
        runs[k] = min(MOST_RUNS, max(LEAST_RUNS, math.ceil(TURN_MS / warm)))
    began = time.perf_counter()
    while not rounds or time.perf_counter() - began < rule.most_s:
        for k in drawn.sample((0, 1), 2):
            time.sleep(PAUSE_S)
            turns[k].append(workers[k].ask(Turn(runs[k]), Timed))
        rounds.append((median(turns[0][-1].times_ms), median(turns[1][-1].times_ms)))
        if len(rounds) >= LEAST_ROUNDS and len(rounds) % 5 == 0 and time.perf_counter() - began >= rule.least_s:
            low, high = ratio(rounds)[1]
            if (high - low) / 2 <= WITHIN * ratio(rounds)[0]:
                break
    medians = (median([one for one, _ in rounds]), median([other for _, other in rounds]))
    return Contest(rounds, _together(turns[0]), medians)


def ratio(rounds: Sequence[tuple[float, float]]) -> tuple[float, tuple[float, float]]:
    """The median of the rounds' ratios, this to that, and where it is with 95 % confidence."""
    ratios = sorted(this / that for this, that in rounds)
    return median(ratios), median_interval(ratios)


def _together(turns: Sequence[Timed]) -> Timed:
    elsewhere = [turn.elsewhere for turn in turns if turn.elsewhere is not None]
    return Timed(
        times_ms=[value for turn in turns for value in turn.times_ms],
        paces_ms=[value for turn in turns for value in turn.paces_ms],
        preempted=sum(turn.preempted for turn in turns),
        busy_threads=median([turn.busy_threads for turn in turns]),
        elsewhere=_mean(elsewhere) if elsewhere else None,
        peak_memory_mb=turns[-1].peak_memory_mb,
    )


def _mean(found: Sequence[Others]) -> Others:
    """The mean: a single turn is too short for the system's ticks."""
    return Others(fmean(one.processes for one in found), fmean(one.machines for one in found))
