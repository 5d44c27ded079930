"""The Pareto front by its definition, and what it must not depend on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from profiles.report.pareto import dominates, pareto_front

NUMBERS = st.integers(0, 6) | st.floats(0, 6, allow_nan=False)
POINTS = st.integers(1, 3).flatmap(lambda width: st.lists(st.tuples(*[NUMBERS] * width), max_size=12))


def _front(points):
    return [point for point, best in zip(points, pareto_front(points), strict=True) if best]


@given(POINTS)
def test_members_are_beaten_by_nothing_and_others_by_a_member(points):
    front = _front(points)
    assert bool(front) == bool(points)
    for point, best in zip(points, pareto_front(points), strict=True):
        beaten = [
            other
            for other in front
            if other != point and max(a - b for a, b in zip(other, point, strict=True)) <= 0  # nowhere larger
        ]
        assert best == (not beaten)


@given(POINTS, st.randoms())
def test_order_does_not_matter(points, random):
    shuffled = random.sample(points, len(points))
    assert sorted(_front(shuffled)) == sorted(_front(points))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_in_two_dimensions_it_is_a_staircase(points):
    """Along the front, less of one is more of the other; and it is what a sweep from the left finds."""
    lowest, stairs = float("inf"), set()
    for x, y in sorted(set(points)):
        if y < lowest:
            stairs.add((x, y))
            lowest = y
    assert set(_front(points)) == stairs


@given(POINTS)
def test_units_do_not_matter(points):
    assert pareto_front(points) == pareto_front([tuple(1000.0 * value for value in point) for point in points])


def test_equal_points_are_on_it_together():
    assert pareto_front([(1, 1), (1, 1), (1, 2)]) == [True, True, False]
    assert not dominates((1, 1), (1, 1))
