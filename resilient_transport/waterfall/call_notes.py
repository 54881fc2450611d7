"""What is kept of the events of one call, until somebody wants a chart of it."""

from __future__ import annotations

from typing import Final

from ..events import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    BodyEnded,
    BodyResumed,
    CallEnded,
    CallEvent,
    GaveUp,
    HandshakeDone,
)
from ..events.attempt import Attempt
from ..util.clock import monotonic, realtime

#: Attempts of a call that are kept: the first ten and the last ten.
MOST_ATTEMPTS: Final = 20


class CallNotes:
    """The notes of one call. Only the thread that makes it, or reads its body, adds to them.

    Args:
        event: the first that is known of it.
    """

    __slots__ = (
        "_began",
        "attempts",
        "began_at",
        "error",
        "has_ended",
        "has_failed",
        "method",
        "origin",
        "path",
        "thread",
        "tls_versions",
        "under_way",
        "warming",
    )

    def __init__(self, event: CallEvent) -> None:
        self.method, self.origin, self.path = event.method, event.origin, event.path
        #: The thread in which it has begun.
        self.thread = event.thread
        #: When it began, as POSIX has it.
        self.began_at = realtime()
        #: By its number, each attempt that was told, as it was told last.
        self.attempts: dict[int, Attempt] = {}
        #: "TLSv1.3" and the like, by the number of the attempt that has made a connection.
        self.tls_versions: dict[int, str | None] = {}
        #: The attempt that has begun and was not told yet, and when it began, in seconds since the call did.
        self.under_way: tuple[int, float] | None = None
        #: Whether it only connects.
        self.warming = isinstance(event, AttemptStarted) and event.warming
        #: Whether any of its attempts has failed.
        self.has_failed = False
        self.has_ended = False
        #: The type of what it has raised; None: nothing.
        self.error: str | None = None
        self._began = monotonic()

    def take(self, event: CallEvent) -> None:
        """Note an event of the call."""
        if isinstance(event, AttemptStarted):
            self.under_way = event.number, monotonic() - self._began
        elif isinstance(event, HandshakeDone):
            if self.under_way is not None:
                self.tls_versions[self.under_way[0]] = event.tls_version
        elif isinstance(event, (AttemptSucceeded, AttemptFailed, BodyResumed, BodyEnded)):
            self.has_failed = self.has_failed or isinstance(event, AttemptFailed)
            self._keep(event.attempt)
        elif isinstance(event, (GaveUp, CallEnded)):
            self._end(event)

    def _end(self, event: GaveUp | CallEnded) -> None:
        self.error = event.error or self.error
        self.has_failed = self.has_failed or event.error is not None
        if isinstance(event, GaveUp):
            self.has_failed = True
            if event.attempt is not None:
                # What was decided after it may be decided anew by then.
                self._keep(event.attempt)
            return
        self.has_ended = True

    def _keep(self, attempt: Attempt) -> None:
        if not self.attempts:
            # The first event came a little after the call had begun, or long after.
            self.began_at = realtime() - attempt.started - attempt.seconds
        if self.under_way is not None and self.under_way[0] == attempt.number:
            self.under_way = None
        self.attempts[attempt.number] = attempt
        if len(self.attempts) > MOST_ATTEMPTS:
            oldest = list(self.attempts)[MOST_ATTEMPTS // 2]
            del self.attempts[oldest]
            self.tls_versions.pop(oldest, None)
