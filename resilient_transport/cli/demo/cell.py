"""What a transport achieved under a scenario: its starts, and what the server saw of them. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...retry.stages import Stage
from .order import Outcome, Start
from .scenarios import Scenario

#: In these, no byte of the request has left.
_EARLY: Final = frozenset(stage.value for stage in Stage if stage.rank < Stage.REQUEST.rank)
#: The methods of a start, in the order in which they are told.
KINDS: Final = ("GET", "POST")


@dataclass(frozen=True, slots=True)
class Cell:
    """All starts of one transport under one scenario."""

    #: The scenario.
    scenario: Scenario
    #: The name of the transport.
    transport: str
    #: What came of each start.
    starts: tuple[Start, ...]
    #: TCP connections that the server accepted.
    connections: int
    #: How often the server executed each request.
    executions: Mapping[str, int]

    @property
    def failed_starts(self) -> int:
        """Starts that lost a request."""
        return sum(start.failed for start in self.starts)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """All requests of all starts."""
        return tuple(outcome for start in self.starts for outcome in start.outcomes)

    @property
    def lost(self) -> tuple[Outcome, ...]:
        """The requests for which the program got no whole and right answer."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)

    @property
    def needless(self) -> tuple[Outcome, ...]:
        """Those of them that might have been sent again without any risk."""
        return tuple(outcome for outcome in self.lost if may_be_repeated(outcome, self.executions))

    @property
    def had_run(self) -> tuple[Outcome, ...]:
        """The lost POSTs that the server had executed."""
        return tuple(each for each in self.lost if each.method == "POST" and self._runs(each))

    @property
    def run_twice(self) -> tuple[Outcome, ...]:
        """The POSTs, lost or not, that the server executed more than once."""
        return tuple(each for each in self.outcomes if each.method == "POST" and self._runs(each) > 1)

    @property
    def median(self) -> float | None:
        """Seconds that a start took which lost nothing; None when there is no such start."""
        good = [start.seconds for start in self.starts if not start.failed]
        return statistics.median(good) if good else None

    def to_plain(self) -> dict[str, Any]:
        """What `json.dumps` can write."""
        errors = Counter(f"{each.method}: {each.error} ({each.stage or 'no stage'})" for each in self.lost)
        return {
            "scenario": self.scenario.name,
            "transport": self.transport,
            "requests": by_method(self.outcomes),
            "lost": by_method(self.lost),
            "lost_needlessly": by_method(self.needless),
            "lost_posts_that_had_run": len(self.had_run),
            "posts_run_twice": len(self.run_twice),
            "starts": len(self.starts),
            "starts_failed": self.failed_starts,
            "connections": self.connections,
            "median_seconds": None if self.median is None else round(self.median, 4),
            "errors": dict(errors),
        }

    def _runs(self, outcome: Outcome) -> int:
        return self.executions.get(outcome.request_id, 0)


def by_method(outcomes: tuple[Outcome, ...]) -> dict[str, int]:
    """How many of them are of each method."""
    counted = Counter(outcome.method for outcome in outcomes)
    return {method: counted[method] for method in KINDS}


def may_be_repeated(outcome: Outcome, executions: Mapping[str, int]) -> bool:
    """Whether a request that was lost might have been sent again without any risk.

    There are three cases: a GET always may; of any other, the transport tells whether a byte of it had left;
    where it tells nothing, the server knows whether it has executed it.
    """
    if outcome.method == "GET":
        return True
    if outcome.stage is not None:
        return outcome.stage in _EARLY
    return not executions.get(outcome.request_id, 0)
