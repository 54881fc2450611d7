"""What is counted, per origin and for the process. No I/O, and one lock per origin, held for an addition."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ..util.bounded_dict import Remembered

#: The upper bounds of the histogram of waits, in seconds; what took longer counts in a last one.
BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Waits:
    """How long callers waited at the gate for a connection, or for leave to make one."""

    #: How many waited at all.
    count: int = 0
    #: Seconds that they waited, together.
    seconds: float = 0.0
    #: How many waited no longer than each of `BUCKETS`, and longer than the one before; the last, longer.
    histogram: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)

    def and_one_of(self, seconds: float) -> Waits:
        """The same with one more."""
        histogram = list(self.histogram)
        histogram[bisect_left(BUCKETS, seconds)] += 1
        return Waits(self.count + 1, self.seconds + seconds, tuple(histogram))


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted for an origin since the process began."""

    #: Calls that have returned or raised; connections that `warm` was asked for count, too.
    calls: int = 0
    #: Full TLS handshakes, and resumed ones.
    handshakes_full: int = 0
    handshakes_resumed: int = 0
    #: Waits at the gate.
    waits: Waits = Waits()
    #: Failed attempts by stage.
    failures: dict[str, int] = field(default_factory=dict)
    #: Attempts after the first of their call.
    retries: int = 0
    #: Repetitions, or calls, that were not made, by reason.
    refusals: dict[str, int] = field(default_factory=dict)
    #: Bodies that were gone on with, and the bytes that did not come again for that.
    resumes: int = 0
    bytes_saved: int = 0


class Counters:
    """The counts of one origin, while they grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._numbers: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._refusals: Counter[str] = Counter()
        self._waits = Waits()

    def ended(self) -> None:
        """A call has ended."""
        with self._lock:
            self._calls += 1

    def shook_hands(self, resumed: bool) -> None:
        """A TLS handshake is done."""
        with self._lock:
            self._numbers["handshakes_resumed" if resumed else "handshakes_full"] += 1

    def waited(self, seconds: float) -> None:
        """A caller has waited at the gate."""
        with self._lock:
            self._waits = self._waits.and_one_of(seconds)

    def failed(self, stage: str) -> None:
        """An attempt has failed."""
        with self._lock:
            self._failures[str(stage)] += 1

    def retried(self) -> None:
        """Another attempt of a call begins."""
        with self._lock:
            self._numbers["retries"] += 1

    def refused(self, reason: str) -> None:
        """A repetition, or a call, is not made."""
        with self._lock:
            self._refusals[reason] += 1

    def resumed(self, saved: int) -> None:
        """A body is gone on with, and so many bytes of it need not come again."""
        with self._lock:
            self._numbers["resumes"] += 1
            self._numbers["bytes_saved"] += saved

    def counts(self) -> Counts:
        """What was counted so far."""
        with self._lock:
            return Counts(
                calls=self._calls,
                waits=self._waits,
                failures=dict(self._failures),
                refusals=dict(self._refusals),
                **self._numbers,
            )


_counters: Final[Remembered[str, Counters]] = Remembered(lambda _: Counters())


def counters_for(origin: str) -> Counters:
    """The process-wide counters of an origin."""
    return _counters[origin]


def all_counters() -> dict[str, Counters]:
    """All of them, by origin."""
    return dict(_counters)


def clear() -> None:
    """Forget every count; for tests, and in the child after a fork (its locks may be held)."""
    _counters.clear()
