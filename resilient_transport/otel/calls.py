"""The span of a call: whose it is, and what its attempts tell it."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, get_value
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_current_span

from ..events import AttemptStarted, CallEnded
from ..events.attempt import Attempt
from .conventions import ATTEMPT, RESENDS, Values, name_of, of_attempt, of_outcome, of_request

#: Attempts of a call that its own span tells; the latest ones. As many as the SDK keeps.
_MOST_EVENTS: Final = 128


def _is_client(span: Span, unless_told: SpanKind) -> bool:
    """Whether a span is a client's; the API does not say, and the SDK's spans do."""
    return span.is_recording() and getattr(span, "kind", unless_told) is SpanKind.CLIENT


def note(span: Span, attempt: Attempt) -> None:
    """Tell a span what an attempt did."""
    if span.is_recording():
        span.add_event(ATTEMPT, of_attempt(attempt))


def resent(span: Span) -> None:
    """Count a repetition on a client's span; of the hops of a redirect, which share one, all count."""
    if _is_client(span, unless_told=SpanKind.CLIENT):
        before = (getattr(span, "attributes", None) or {}).get(RESENDS, 0)
        span.set_attribute(RESENDS, before + 1)


class Call:
    """A call that has not ended.

    Args:
        event: its beginning; or its end, if it had none.
    """

    def __init__(self, event: AttemptStarted | CallEnded) -> None:
        #: What its metrics tell of it.
        self.request = of_request(event)
        self.sends_nothing = isinstance(event, AttemptStarted) and event.warming
        self._last: Attempt | None = None
        #: The attempt under way, while it is untold: one that was told may be told again, with what was
        #: decided by then.
        self._under_way = event.number if isinstance(event, AttemptStarted) else 0
        self._resends = 0
        #: The attempt that goes on with a body, and the first byte that it brings.
        self._resumed = (0, 0)
        #: When it began, and what its attempts did and when, for a span of its own.
        self._began = time.time_ns()
        self._notes: deque[tuple[Values, int]] = deque(maxlen=_MOST_EVENTS)
        #: Somebody else's span; None: it gets one of its own.
        self._span: Span | None = None
        current = get_current_span()
        if get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY) or _is_client(current, SpanKind.INTERNAL):
            # Who asks for no spans of HTTP has made one, or had reason to make none.
            self._span = current

    def again(self, number: int) -> None:
        """Another attempt begins."""
        self._under_way = number
        self._resends += 1
        if self._span is not None and not self.sends_nothing:
            resent(self._span)

    def told(self, attempt: Attempt) -> bool:
        """Take down what an attempt did; False if it was told before, or sends nothing."""
        if attempt.number != self._under_way or self.sends_nothing:
            return False
        self._under_way = 0
        self._last = attempt
        if self._span is None:
            self._notes.append((of_attempt(attempt), time.time_ns()))
        else:
            note(self._span, attempt)
        return True

    def goes_on(self, number: int, from_byte: int) -> None:
        """An attempt goes on with the body of one before it."""
        self._resumed = (number, from_byte)

    def body_size(self) -> int:
        """How long the last body was, as far as it was read; what was resumed is counted whole."""
        number, since = self._resumed
        return (
            0 if self._last is None else self._last.bytes_in + (since if number == self._last.number else 0)
        )

    def outcome(self, event: CallEnded) -> Values:
        """How it has ended."""
        status = event.status
        if status is None and self._last is not None:
            status = self._last.status
        return of_outcome(status, event.error)

    def make_span(self, event: CallEnded, tracer: Tracer) -> None:
        """Make its span, now that it has ended, if it is to have one."""
        if self._span is not None:
            return
        name, more = name_of(event)
        values = self.request | self.outcome(event) | more
        if self._resends:
            values[RESENDS] = self._resends
        span = tracer.start_span(name, None, SpanKind.CLIENT, values, start_time=self._began)
        for about, when in self._notes:
            span.add_event(ATTEMPT, about, when)
        if "error.type" in values:
            span.set_status(StatusCode.ERROR)
        span.end()
