"""What the script has dealt one accepted connection. Pure: no sockets, no clock, no state.

Every draw has its own generator, named by seed, rule, accept and request. So a draw depends on nothing that
happened before it, and a run with the same accepts repeats exactly, whatever the threads do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..script import REQUEST_MOMENTS, Fault, Moment, Rule, Script


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault that strikes now, and after how many body bytes."""

    #: The fault.
    fault: Fault
    #: Bytes of the body that pass first.
    after: int


@dataclass(frozen=True, slots=True)
class Visit:
    """Where a connection is when a moment comes."""

    #: Which request on its connection, from 1.
    request: int = 0
    #: The request's path.
    path: str = ""
    #: The most handshakes that were in flight during its own.
    crowd: int = 0


#: Before any handshake or request.
NOWHERE = Visit()


class Hand:
    """The rules that chose this accept, in the script's order."""

    def __init__(self, script: Script, accept: int) -> None:
        """Draw for the accept with this number, from 1."""
        self._seed, self._accept = script.seed, accept
        self._rules = [
            (index, rule)
            for index, rule in enumerate(script.rules)
            if _chosen(rule, index, script.seed, accept)
        ]

    def hit(self, moment: Moment, visit: Visit = NOWHERE) -> Hit | None:
        """Return the fault that strikes at this moment, if one does."""
        for index, rule in self._rules:
            if rule.fault.at is moment and _fits(rule, visit):
                return Hit(rule.fault, self._cut(index, rule.fault, visit.request))
        return None

    def _cut(self, index: int, fault: Fault, request: int) -> int:
        if fault.mean_bytes is None:
            return fault.after_bytes
        draw = random.Random(f"{self._seed}:{index}:{self._accept}:{request}")
        return int(draw.expovariate(1 / fault.mean_bytes))


def _chosen(rule: Rule, index: int, seed: int, accept: int) -> bool:
    nth = accept - rule.skip
    if nth < 1:
        return False
    if rule.first is not None:
        return nth <= rule.first
    if rule.probability is not None:
        return random.Random(f"{seed}:{index}:{accept}").random() < rule.probability
    return True


def _fits(rule: Rule, visit: Visit) -> bool:
    if rule.in_flight_over is not None and visit.crowd <= rule.in_flight_over:
        return False
    if rule.fault.at not in REQUEST_MOMENTS:
        return True
    if rule.on_request not in (None, visit.request):
        return False
    return rule.path is None or visit.path.startswith(rule.path)
