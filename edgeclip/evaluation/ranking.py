"""Where the right candidate comes among all, by cosine; softmax and sigmoid keep that order, so the scoring does not matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CELLS = 1 << 23  # cosines that are held at once


@dataclass(frozen=True)
class Ranking:
    """Of each query: how many candidates come before the first right one, (N,) int; and the best candidate, (N,) int."""

    ranks: np.ndarray
    best: np.ndarray

    def hits(self, k: int) -> np.ndarray:
        """Whether a right candidate is among the first k: (N,) bool."""
        found: np.ndarray = self.ranks < k
        return found


def rank(queries: np.ndarray, candidates: np.ndarray, wanted: np.ndarray, owners: np.ndarray) -> Ranking:
    """Rank unit candidates (M, D) for each unit query (N, D).

    A candidate m is right for the query n where owners[m] == wanted[n]; each query has one at least. Of equal cosines the
    earlier candidate comes first, so that embeddings which are all alike do not count as right.
    """
    rows = max(1, _CELLS // len(candidates))
    ranks, best = [], []
    for start in range(0, len(queries), rows):
        cosines = queries[start : start + rows] @ candidates.T
        right = owners[None, :] == wanted[start : start + rows, None]
        place = np.where(right, cosines, -np.inf).argmax(axis=1)
        value = np.take_along_axis(cosines, place[:, None], axis=1)
        earlier = (cosines == value) & (np.arange(len(candidates))[None, :] < place[:, None])
        ranks.append((cosines > value).sum(axis=1) + earlier.sum(axis=1))
        best.append(cosines.argmax(axis=1))
    return Ranking(np.concatenate(ranks), np.concatenate(best))


def mean_per_class(hits: np.ndarray, labels: np.ndarray) -> float:
    """The mean over classes of the share of hits; classes without a picture do not count."""
    _, index = np.unique(labels, return_inverse=True)
    shares: np.ndarray = np.bincount(index, weights=hits) / np.bincount(index)
    return float(shares.mean())
