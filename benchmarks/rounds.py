"""Rounds in alternation, and the figures that come of them. Knows nothing of servers or of `requests`.

pytest-benchmark runs one test after the other, so that a disturbance of a second hits one contestant and
spares the rest. Here all contestants run in every round, each a few milliseconds after the other, in an
order drawn anew for each round; a ratio is taken within a round, and the median of these ratios counts.
"""

import gc
import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from time import perf_counter, process_time
from typing import Final

from benchmarks.contestants import STOCK
from benchmarks.quantities import CPU, WALL

#: What one contestant took in one round, by quantity: seconds, a count, or bytes.
Sample = Mapping[str, float]
Action = Callable[[], Sample]

#: In units of sqrt(n), how many places from the middle the 95 % interval of a median ends: half of a standard
#: normal's 1.96. It is the interval of the sign test, which assumes nothing of how the figures are spread.
_PLACES: Final = 0.98


def timed(action: Callable[[], object], times: int = 1) -> dict[str, float]:
    """Return what one run of an action takes of this process's CPU and of the clock, in seconds."""
    wall, cpu = perf_counter(), process_time()
    for _ in range(times):
        action()
    return {CPU: (process_time() - cpu) / times, WALL: (perf_counter() - wall) / times}


def alternate(actions: Mapping[str, Action], rounds: int, *, warm: bool = True) -> dict[str, list[Sample]]:
    """Run all actions in every round, and before that once without looking if what they do is to be warm."""
    samples: dict[str, list[Sample]] = {name: [] for name in actions}
    order, shuffle = list(actions), random.Random(0).shuffle
    for action in actions.values() if warm else ():
        action()
    # What is there already is nobody's garbage; what one leaves behind is not collected at another's expense.
    gc.collect()
    gc.freeze()
    try:
        for _ in range(rounds):
            shuffle(order)
            for name in order:
                gc.collect()
                samples[name].append(actions[name]())
    finally:
        gc.unfreeze()
    return samples


@dataclass(frozen=True, slots=True)
class Estimate:
    """What many rounds say: the median of their figures."""

    #: The figure in the middle.
    value: float
    #: Half the width of its 95 % interval.
    margin: float


def estimate(figures: Iterable[float]) -> Estimate:
    """Sum up what rounds have given."""
    ordered = sorted(figures)
    place = max(0, int(len(ordered) / 2 - _PLACES * sqrt(len(ordered))))
    low, high = ordered[place], ordered[-1 - place]
    return Estimate(statistics.median(ordered), (high - low) / 2 if high > low else 0.0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured of one thing, all contestants in the same rounds."""

    #: What was done, as the table names it.
    title: str
    #: The server it was done with.
    site: str
    #: The samples of each contestant, round by round.
    samples: Mapping[str, Sequence[Sample]]
    #: Whom the others are compared with.
    reference: str = STOCK

    @property
    def quantities(self) -> tuple[str, ...]:
        """What was measured, the most telling first."""
        return tuple(next(iter(self.samples.values()))[0])

    def series(self, contestant: str, quantity: str) -> list[float]:
        """Return one contestant's figures, round by round."""
        return [sample[quantity] for sample in self.samples[contestant]]

    def median(self, contestant: str, quantity: str) -> float:
        """Return the figure in the middle."""
        return statistics.median(self.series(contestant, quantity))

    def ratio(self, contestant: str, reference: str, quantity: str) -> Estimate:
        """Compare two contestants, round by round: how many times as much one takes."""
        return estimate(
            [own / other if other else inf for own, other in self._pairs(contestant, reference, quantity)]
        )

    def difference(self, contestant: str, reference: str, quantity: str) -> Estimate:
        """Compare two contestants, round by round: how much more one takes."""
        return estimate([own - other for own, other in self._pairs(contestant, reference, quantity)])

    def own(self, contestant: str, quantity: str) -> Estimate:
        """Return one contestant's figure for itself."""
        return estimate(self.series(contestant, quantity))

    def _pairs(self, contestant: str, reference: str, quantity: str) -> Iterator[tuple[float, float]]:
        return zip(self.series(contestant, quantity), self.series(reference, quantity), strict=True)
