"""How far a difference of two shares, measured on the same pictures, can be trusted.

R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions based on paired data, Statistics
in Medicine 17, 2635 (1998), method 10: Wilson's intervals of both shares, joined with regard to their correlation. Unlike the
normal approximation and the bootstrap it says something where both are right on the same pictures: not 0, but at most so much.

Several queries of one picture are not independent. They count as fewer ones: J. N. K. Rao and A. J. Scott, A simple method for
the analysis of clustered binary data, Biometrics 48, 577 (1992).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
METHOD = "Newcombe 1998, method 10 (paired)"

Interval = tuple[float, float]


def paired_interval(both: float, first: float, second: float, neither: float, confidence: float = CONFIDENCE) -> Interval:
    """The interval of (share of the first) - (share of the second), in [-1, 1].

    both, first, second, neither: how many queries both, only the first, only the second, and neither of them has right.
    """
    n = both + first + second + neither
    share1, share2 = (both + first) / n, (both + second) / n
    low1, high1 = wilson(share1, n, confidence)
    low2, high2 = wilson(share2, n, confidence)
    phi = _correlation(both, first, second, neither)

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))

    difference = share1 - share2
    return difference - reach(share1 - low1, high2 - share2), difference + reach(high1 - share1, share2 - low2)


def wilson(share: float, n: float, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a share of n (Newcombe's method 3 of 1998, Statistics in Medicine 17, 857)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = share + z**2 / (2 * n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = (middle - reach) / (1 + z**2 / n), (middle + reach) / (1 + z**2 / n)
    return min(max(0.0, low), share), max(min(1.0, high), share)


def _correlation(both: float, first: float, second: float, neither: float) -> float:
    """Pearson's phi of the two, with Newcombe's correction for continuity where it is positive."""
    product = (both + first) * (second + neither) * (both + second) * (first + neither)
    if product <= 0:
        return 0.0
    n = both + first + second + neither
    cross = both * neither - first * second
    return (max(cross - n / 2, 0.0) if cross > 0 else cross) / math.sqrt(product)


def difference_interval(first: np.ndarray, second: np.ndarray, clusters: np.ndarray | None = None) -> Interval:
    """The interval of mean(first) - mean(second), of hits (N,) bool on the same queries.

    clusters: of each query, which others it belongs with; by default each query stands for itself.
    """
    counts = [np.sum(first & second), np.sum(first & ~second), np.sum(~first & second), np.sum(~first & ~second)]
    effect = 1.0 if clusters is None else design_effect(first.astype(float) - second, clusters)
    both, only_first, only_second, neither = (float(count) / effect for count in counts)
    return paired_interval(both, only_first, only_second, neither)


def design_effect(values: np.ndarray, clusters: np.ndarray) -> float:
    """How many times larger the variance of the mean is than if the values (N,) were independent; 1 at least.

    Where all values are equal nothing can be said, and all of a cluster count as one.
    """
    _, index, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    if np.ptp(values) == 0:
        return float(len(values) / len(sizes))
    rest = values - values.mean()
    residuals = np.bincount(index, weights=rest)
    count = len(sizes)
    clustered = count / max(count - 1, 1) * float(np.sum(residuals**2)) / len(values) ** 2
    return max(1.0, clustered / (float(np.sum(rest**2)) / len(values) ** 2))
