"""What is counted of an origin. No I/O; each addition is one step under the lock of `util/atomic.py`."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from ..util import atomic

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

    __slots__ = (
        "_bytes_saved",
        "_calls",
        "_failures",
        "_handshakes",
        "_histogram",
        "_refusals",
        "_resumes",
        "_retries",
        "_seconds_waited",
    )

    def __init__(self) -> None:
        self._calls = self._retries = self._resumes = self._bytes_saved = 0
        #: Full ones, and resumed ones.
        self._handshakes = [0, 0]
        self._seconds_waited = 0.0
        #: None until somebody has waited: most origins are never waited for.
        self._histogram: list[int] | None = None
        self._failures: defaultdict[str, int] = defaultdict(int)
        self._refusals: defaultdict[str, int] = defaultdict(int)

    def ended(self) -> None:
        """A call has ended."""
        with atomic.lock:
            self._calls += 1

    def shook_hands(self, resumed: bool) -> None:
        """A TLS handshake is done."""
        with atomic.lock:
            self._handshakes[resumed] += 1

    def waited(self, seconds: float) -> None:
        """A caller has waited at the gate."""
        bucket = bisect_left(BUCKETS, seconds)
        empty = [0] * (len(BUCKETS) + 1) if self._histogram is None else self._histogram
        with atomic.lock:
            if self._histogram is None:
                self._histogram = empty
            self._histogram[bucket] += 1
            self._seconds_waited += seconds

    def failed(self, stage: str) -> None:
        """An attempt has failed."""
        name = str(stage)
        with atomic.lock:
            self._failures[name] += 1

    def retried(self) -> None:
        """Another attempt of a call begins."""
        with atomic.lock:
            self._retries += 1

    def refused(self, reason: str) -> None:
        """A repetition, or a call, is not made."""
        with atomic.lock:
            self._refusals[reason] += 1

    def resumed(self, saved: int) -> None:
        """A body is gone on with, and so many bytes of it need not come again."""
        with atomic.lock:
            self._resumes += 1
            self._bytes_saved += saved

    def counts(self) -> Counts:
        """What was counted so far. Each number is read in one step."""
        full, resumed = self._handshakes
        return Counts(
            calls=self._calls,
            handshakes_full=full,
            handshakes_resumed=resumed,
            waits=self._waits(),
            failures=dict(self._failures),
            retries=self._retries,
            refusals=dict(self._refusals),
            resumes=self._resumes,
            bytes_saved=self._bytes_saved,
        )

    def _waits(self) -> Waits:
        if self._histogram is None:
            return Waits()
        histogram = tuple(self._histogram)
        return Waits(sum(histogram), self._seconds_waited, histogram)
