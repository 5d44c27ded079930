"""Where the labels of points go: beside them, on no other point and no other label."""

from __future__ import annotations

from collections.abc import Sequence

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in px

_CHARACTER, _HEIGHT = 7.4, 14.0  # px: names of schemes are short and of wide letters
_GAP = 7.0
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_STEPS = (1.0, 1.8, 2.6)  # how far out, in gaps and heights, before a label is let go


def place_labels(
    points: Sequence[tuple[float, float, float]], texts: Sequence[str], inside: Box, others: Sequence[Box] = ()
) -> list[tuple[float, float]]:
    """Centres of the labels of points (x, y, radius), all in px: for each the free place nearest to its point.

    A label for which there is none gets the least crowded place. others: what else is not to be covered.
    """
    taken = [*((x - r, y - r, x + r, y + r) for x, y, r in points), *others]
    centres = []
    for (x, y, radius), text in zip(points, texts, strict=True):
        half = len(text) * _CHARACTER / 2
        candidates = []
        for step in _STEPS:
            for right, up in _DIRECTIONS:
                dx = right * (radius + _GAP + half) if not up else right * (half + _GAP * step)
                dy = up * (radius + _GAP * step + _HEIGHT / 2 * step)
                candidates.append((x + dx * (step if not up else 1.0), y + dy))
        boxes = [(cx - half, cy - _HEIGHT / 2, cx + half, cy + _HEIGHT / 2) for cx, cy in candidates]
        costs = [sum(_overlap(box, other) for other in taken) + _outside(box, inside) for box in boxes]
        best = min(range(len(boxes)), key=lambda index: (costs[index], index))
        taken.append(boxes[best])
        centres.append(candidates[best])
    return centres


def _overlap(one: Box, other: Box) -> float:
    """Common area, px²."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)


def _outside(box: Box, inside: Box) -> float:
    """Area that lies outside, px²."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, inside)
