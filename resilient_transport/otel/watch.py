"""The hook: makes spans and metrics of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, get_value
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider, get_current_span, get_tracer

from ..events import AttemptFailed, AttemptStarted, AttemptSucceeded, BodyResumed, CallEnded, CallEvent, Event
from ..events.attempt import Attempt
from ..util.bounded_dict import keep_newest
from .calls import Call, note, resent
from .conventions import SCHEMA, of_outcome, of_request
from .meters import Meters

#: Streams with an attempt under way that are remembered; who reads one may be interrupted, and nobody tells.
_MOST_STREAMS: Final = 1024


class Watch:
    """Is called with each event.

    Args:
        tracer_provider, meter_provider: where spans and metrics go; None: to those of the process.
    """

    def __init__(self, tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None) -> None:
        self._tracer = get_tracer("resilient_transport", None, tracer_provider, SCHEMA)
        self._meters = Meters(meter_provider)
        self._is_over = False
        self._calls: dict[int, Call] = {}
        #: The attempts under way for streams that were handed out, by the numbers of their calls.
        self._streams: dict[int, int] = {}
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            AttemptStarted: self._started,
            AttemptSucceeded: self._told,
            AttemptFailed: self._told,
            BodyResumed: self._resumed,
            CallEnded: self._ended,
        }

    def __call__(self, event: Event) -> None:
        """Take an event; what an exporter sends is not watched, or that would never end."""
        handler = self._handlers.get(type(event))
        if handler is None or self._is_over:
            return
        if not get_value(_SUPPRESS_INSTRUMENTATION_KEY) and not get_value("suppress_instrumentation"):
            handler(event)

    def end(self) -> None:
        """Take no more, and count no call as active."""
        self._is_over = True
        self._meters.end()
        while self._calls:
            self._count(-1, self._calls.popitem()[1])

    def _started(self, event: AttemptStarted) -> None:
        call = self._calls.get(event.call)
        if call is not None:
            call.again(event.number)
        elif event.number == 1:
            call = self._calls[event.call] = Call(event)
            self._count(1, call)
        else:
            self._streams[event.call] = event.number
            keep_newest(self._streams, _MOST_STREAMS)
            resent(get_current_span())

    def _told(self, event: AttemptSucceeded | AttemptFailed) -> None:
        call = self._calls.get(event.call)
        if call is None:
            self._of_stream(event, event.attempt)
        elif call.told(event.attempt):
            self._measure(event, event.attempt)

    def _resumed(self, event: BodyResumed) -> None:
        call = self._calls.get(event.call)
        if call is None:
            self._of_stream(event, event.attempt)
        else:
            call.goes_on(event.number, event.from_byte)

    def _of_stream(self, event: CallEvent, attempt: Attempt) -> None:
        """Tell an attempt whose call has handed out its response already."""
        note(get_current_span(), attempt)
        if self._streams.pop(event.call, 0) == attempt.number:
            self._measure(event, attempt)

    def _ended(self, event: CallEnded) -> None:
        call = self._calls.pop(event.call, None)
        if call is None:
            # It has ended before its first attempt.
            Call(event).make_span(event, self._tracer)
            return
        self._count(-1, call)
        if call.sends_nothing:
            return
        # Of a stream nothing has come yet.
        size = call.body_size()
        if size and event.error is None:
            self._meters.body_size.record(size, call.request | call.outcome(event))
        call.make_span(event, self._tracer)

    def _count(self, more: int, call: Call) -> None:
        if not call.sends_nothing:
            self._meters.active.add(more, call.request)

    def _measure(self, event: CallEvent, attempt: Attempt) -> None:
        about = of_request(event) | of_outcome(attempt.status, attempt.error)
        self._meters.duration.record(attempt.seconds, about)
