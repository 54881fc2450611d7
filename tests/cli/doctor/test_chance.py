"""Whether a difference between a few trials is more than chance."""

from itertools import combinations

import pytest

from resilient_transport.cli.doctor.chance import by_chance, leans


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        # Fisher's tea: C(4, 4) of C(8, 4).
        (((0, 4), (4, 4)), 1 / 70),
        (((0, 8), (5, 8)), 56 / 4368),
        (((0, 8), (0, 8)), 1.0),
        (((8, 8), (0, 8)), 1.0),
        (((3, 5),), 1.0),
    ],
)
def test_two_groups_are_compared_as_fisher_did(groups, expected):
    """The chance is a share of all the ways to spread the failures."""
    assert by_chance(groups) == pytest.approx(expected)


@pytest.mark.parametrize(
    "groups", [((0, 3), (1, 3), (2, 3)), ((1, 2), (0, 4), (3, 3)), ((2, 3), (1, 3), (1, 2))]
)
def test_a_trend_is_counted_like_all_its_ways(groups):
    """The sum over groups is what counting each way by itself gives."""
    scores = [number for number, (_, trials) in enumerate(groups) for _ in range(trials)]
    total = sum(failed for failed, _ in groups)
    seen = sum(number * failed for number, (failed, _) in enumerate(groups))
    ways = [sum(way) for way in combinations(scores, total)]

    assert by_chance(groups) == pytest.approx(sum(score >= seen for score in ways) / len(ways))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (((0, 8), (3, 8), (5, 8)), True),
        (((0, 8), (4, 8)), True),
        (((0, 8), (3, 8)), False),
        (((4, 8), (4, 8)), False),
        (((5, 8), (3, 8), (0, 8)), False),
        (((0, 2), (2, 2)), False),
        (((0, 20), (3, 12)), True),
        (((0, 20), (2, 12)), False),
    ],
)
def test_what_may_be_chance_is_not_believed(groups, expected):
    """A few failures more are no difference; the same share of more trials is one."""
    assert leans(groups) is expected
