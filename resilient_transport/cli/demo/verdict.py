"""What a transport achieved under a scenario, and whether the adapter kept its promise. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...retry.stages import Stage
from .order import WRONG_BODY, Outcome, Start
from .scenarios import Scenario
from .transports import OURS

#: In these, no byte of the request has left.
_EARLY: Final = frozenset(stage.value for stage in Stage if stage.rank < Stage.REQUEST.rank)


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
        """Starts of which a request failed."""
        return sum(start.failed for start in self.starts)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """All requests of all starts."""
        return tuple(outcome for start in self.starts for outcome in start.outcomes)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The requests that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.error)

    @property
    def lost(self) -> tuple[Outcome, ...]:
        """Those of them that might have been sent again without any risk."""
        return tuple(outcome for outcome in self.failed if may_be_repeated(outcome, self.executions))

    @property
    def doubled(self) -> tuple[Outcome, ...]:
        """The POSTs that were executed more than once."""
        posts = (outcome for outcome in self.outcomes if outcome.method == "POST")
        return tuple(outcome for outcome in posts if self.executions.get(outcome.request_id, 0) > 1)

    @property
    def median(self) -> float:
        """Seconds that a start took, failed or not."""
        return statistics.median(start.seconds for start in self.starts)

    def to_plain(self) -> dict[str, Any]:
        """What `json.dumps` can write."""
        errors = Counter(f"{each.method}: {each.error} ({each.stage or 'no stage'})" for each in self.failed)
        return {
            "scenario": self.scenario.name,
            "transport": self.transport,
            "starts": len(self.starts),
            "starts_failed": self.failed_starts,
            "requests": len(self.outcomes),
            "requests_failed": len(self.failed),
            "requests_lost": len(self.lost),
            "connections": self.connections,
            "posts_doubled": len(self.doubled),
            "median_seconds": round(self.median, 4),
            "errors": dict(errors),
        }


def may_be_repeated(outcome: Outcome, executions: Mapping[str, int]) -> bool:
    """Whether a failed request might have been sent again without any risk.

    There are three cases: a GET always may; of any other, the transport tells whether a byte of it had left;
    where it tells nothing, the server knows whether it has executed it.
    """
    if outcome.method == "GET":
        return True
    if outcome.stage is not None:
        return outcome.stage in _EARLY
    return not executions.get(outcome.request_id, 0)


def broken_promises(cells: Iterable[Cell]) -> tuple[str, ...]:
    """What the adapter did that it never may, one sentence each; none is the good news."""
    found = []
    for cell in cells:
        if cell.transport != OURS:
            continue
        found += [f"lost {_told(cell, outcome)}, which may be repeated" for outcome in cell.lost]
        found += [f"executed {_told(cell, outcome)} more than once" for outcome in cell.doubled]
        wrong = (outcome for outcome in cell.failed if outcome.error == WRONG_BODY)
        found += [f"handed out a wrong body for {_told(cell, outcome)}" for outcome in wrong]
    return tuple(found)


def _told(cell: Cell, outcome: Outcome) -> str:
    how = f" ({outcome.error}, stage {outcome.stage}, {outcome.attempts} attempts)" if outcome.error else ""
    return f"{outcome.request_id} under {cell.scenario.name}{how}"
