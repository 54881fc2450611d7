"""What the process remembers of an origin: its retry quota, its counters and its circuits, and for how long.

Everything has one bound: the origins that were not called for longest are forgotten, but for those that a
circuit leaves alone now. An origin that was forgotten begins anew, with a full quota.
"""

from __future__ import annotations

from typing import Final

from ..retry.breaker import Breaker, Circuit
from ..retry.budget import Quota
from ..telemetry.counters import Counters
from ..telemetry.stats import read_counters_of
from ..util import atomic
from ..util.bounded_dict import BoundedDict
from ..util.fork import Turn, in_child

#: How many origins the process remembers something of.
ORIGINS: Final = 1024
#: How many circuits an origin has at the most: one for each different `Breaker`.
_CIRCUITS: Final = 16


class OriginState:
    """What all calls to one origin have in common."""

    __slots__ = ("_circuits", "counters", "quota", "used_at")

    def __init__(self) -> None:
        self.quota = Quota()
        self.counters = Counters()
        #: None until a policy has a breaker: most have none.
        self._circuits: BoundedDict[Breaker, Circuit] | None = None
        #: When it was used, among the other origins.
        self.used_at = 0.0

    def circuit(self, breaker: Breaker) -> Circuit:
        """The origin's circuit for a breaker; that of an equal one."""
        if self._circuits is None:
            self._begin_circuits(BoundedDict(Circuit, _CIRCUITS))
        return self._circuits.used(breaker)  # type: ignore[union-attr]

    def _begin_circuits(self, made: BoundedDict[Breaker, Circuit]) -> None:
        with atomic.lock:
            # Another thread may have been faster.
            if self._circuits is None:
                self._circuits = made

    def is_needed(self) -> bool:
        """Whether it must not be forgotten: one of its circuits refuses calls."""
        return self._circuits is not None and any(
            circuit.is_needed() for circuit in self._circuits.copy().values()
        )


_states: Final[BoundedDict[str, OriginState]] = BoundedDict(lambda _: OriginState(), ORIGINS)

#: What the process remembers of an origin (`scheme://host:port`), which counts as used now.
state_of: Final = _states.used


def clear() -> None:
    """Forget everything; for tests, and in the child after a fork."""
    _states.clear()


def _all_counters() -> dict[str, Counters]:
    return {origin: state.counters for origin, state in _states.copy().items()}


read_counters_of(_all_counters)
in_child(Turn.MEMORY)(clear)
