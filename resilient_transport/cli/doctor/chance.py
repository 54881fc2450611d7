"""Whether a difference between a few trials is more than chance. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Final

#: Differences that come by chance less often than this are believed.
RARE: Final = 0.05


def by_chance(groups: Sequence[tuple[int, int]]) -> float:
    """How often failures lie so much in the later groups, if they strike all trials alike.

    The exact test for a trend, the groups' numbers being their scores; of two groups, Fisher's exact test,
    one-sided. All ways to spread so many failures over the trials are counted.

    Args:
        groups: of each the failures, and the trials among which they are.
    """
    seen = sum(number * failed for number, (failed, _) in enumerate(groups))
    total = sum(failed for failed, _ in groups)
    # By the failures so far and their score: in how many ways.
    ways = {(0, 0): 1}
    for number, (_, trials) in enumerate(groups):
        further: dict[tuple[int, int], int] = {}
        for (failed, score), count in ways.items():
            for more in range(min(trials, total - failed) + 1):
                place = (failed + more, score + number * more)
                further[place] = further.get(place, 0) + count * comb(trials, more)
        ways = further
    all_ways = comb(sum(trials for _, trials in groups), total)
    return sum(n for (failed, score), n in ways.items() if failed == total and score >= seen) / all_ways


def leans(groups: Sequence[tuple[int, int]]) -> bool:
    """Whether failures lie in the later groups, and not by chance.

    Args:
        groups: as in `by_chance`.
    """
    return by_chance(groups) < RARE
