"""What a list of times says: percentiles, and how far its median can be trusted. Plain Python, as workers load it.

Times of one process are not independent: clocks, caches and neighbours change slowly. An interval says how well this run
knows its own median; `drift` and runs in other processes say the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

CONFIDENCE = 0.95


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of sorted values, by linear interpolation between the two nearest (NumPy's default, type 7 of Hyndman and Fan 1996)."""
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of both middle values."""
    return percentile(sorted(values), 50)


def median_interval(ordered: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Where the median of what sorted values were drawn from is, with at least this confidence.

    The k-th smallest and the k-th largest value: a value falls below the median with probability 1/2, whatever the
    distribution, so the number of them that do is binomial (Conover, Practical Nonparametric Statistics, 3.2). Fewer than six
    values cannot give 95 %; then these are the smallest and the largest.
    """
    k = _rank(len(ordered), confidence)
    return ordered[k - 1], ordered[len(ordered) - k]


@lru_cache(maxsize=4096)
def _rank(n: int, confidence: float) -> int:
    """The largest k with P(k <= Binomial(n, 1/2) <= n - k) >= confidence; 1 if there is none.

    The interval of the k-th smallest and largest misses if fewer than k values are on one side: 2 P(Binomial < k).
    """
    missed, k = 0.0, 0
    while k < n // 2:
        missed += 2 * math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
        if missed > 1 - confidence:
            break
        k += 1
    return max(k, 1)


def half_width(ordered: Sequence[float]) -> float:
    """Half the interval of the median, as a share of the median."""
    low, high = median_interval(ordered)
    return (high - low) / 2 / percentile(ordered, 50)


def drift(values: Sequence[float]) -> float:
    """How far the median of the later half is from that of the earlier one, as a share of it."""
    half = len(values) // 2
    return median(values[half:]) / median(values[:half]) - 1 if half else 0.0


@dataclass(frozen=True)
class StopRule:
    """When enough is timed: once the median's interval is within `within` of it, after the least count and time.

    least_s: a machine's clock wanders over tenths of a second, so that a shorter run knows one moment very well. Whoever looks
    often stops too early, on an interval that is narrow by chance, so the look is repeated only after a tenth more values.
    """

    most_s: float
    within: float = 0.02
    least: int = 20
    least_s: float = 1.0
    most: int = 20_000

    def over(self, count: int, spent_s: float) -> bool:
        """Whether a bound is reached, whatever the values say."""
        return count > 0 and (count >= self.most or spent_s >= self.most_s)

    def enough(self, values: Sequence[float], spent_s: float) -> bool:
        """Whether the median is known well enough."""
        return len(values) >= self.least and spent_s >= self.least_s and half_width(sorted(values)) <= self.within

    def next_look(self, count: int) -> int:
        """How many values there have to be before the next look."""
        return max(self.least, count + max(1, count // 10))


def mover(ratio: float, this: tuple[float, float, float], that: tuple[float, float, float]) -> tuple[float, float]:
    """The interval of a ratio of two independent estimates, each (low, estimate, high) and positive.

    On logarithms, where the ratio is a difference: each limit lies off by the root of the sum of the squares of how far the two
    intervals reach that way (MOVER: Zou and Donner, Statistics in Medicine 27, 2008).
    """
    this_low, this_mid, this_high = (math.log(value) for value in this)
    that_low, that_mid, that_high = (math.log(value) for value in that)
    down = math.hypot(this_mid - this_low, that_high - that_mid)
    up = math.hypot(this_high - this_mid, that_mid - that_low)
    return ratio * math.exp(-down), ratio * math.exp(up)
