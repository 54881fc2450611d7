"""Starts of a program whose handshakes are reset half of the time: how long they take, and who comes through.

All calls are GETs, so that everybody may repeat them.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.contestants import HTTPX, OURS, RETRY, STOCK, in_order
from benchmarks.markdown import table as markdown
from benchmarks.quantities import COMPLETED, WALL, seconds
from benchmarks.rounds import Sample
from resilient_transport.testing import Fault, Moment, Rule, Script

#: How many starts, and how many calls each makes at once.
STARTS, CALLS = 40, 4
NAMES: Final = (STOCK, RETRY, HTTPX, OURS)
#: What is to be reached: seconds, in the median and at the worst.
MEDIAN, WORST = 0.1, 1.0

ABOUT: Final = (
    f"{STARTS} starts of {CALLS} GETs at once, each in a fresh process. Half of all connections are reset "
    "inside their handshake, for everybody at the same places. Times are of starts that came through whole:"
)


def coin(seed: int) -> Script:
    """Return what the server does to one start: it resets each connection with a probability of a half."""
    return Script((Rule(Fault(Moment.CLIENT_HELLO), probability=0.5),), seed=seed)


def times(samples: Sequence[Sample]) -> list[float]:
    """Return the seconds of the starts that came through."""
    return [sample[WALL] for sample in samples if sample[COMPLETED] == CALLS]


def said(found: Sequence[Mapping[str, Sequence[Sample]]]) -> str:
    """Return what is told of the runs."""
    return "\n\n".join(f"{ABOUT}\n\n{table(run)}" for run in found)


def table(found: Mapping[str, Sequence[Sample]]) -> str:
    """Return a row for each contestant, and one for what is to be reached."""
    rows = [["who", "starts that came through", "median", "worst"], ["---", *["---:"] * 3]]
    for name in in_order(found):
        took = times(found[name])
        figures = [seconds(statistics.median(took)), seconds(max(took))] if took else ["–", "–"]
        rows.append([name, f"{len(took)} of {len(found[name])}", *figures])
    return markdown([*rows, _goal(found)])


def _goal(found: Mapping[str, Sequence[Sample]]) -> list[str]:
    took = times(found.get(OURS, ()))
    median, worst = (statistics.median(took), max(took)) if took else (float("inf"),) * 2
    every = _judged(f"all {STARTS}", len(took) == STARTS)
    return [
        f"to reach by {OURS}",
        every,
        _judged(f"≤ {seconds(MEDIAN)}", median <= MEDIAN),
        _judged(f"≤ {seconds(WORST)}", worst <= WORST),
    ]


def _judged(goal: str, good: bool) -> str:
    return f"{goal}: yes" if good else f"{goal}: **no**"
