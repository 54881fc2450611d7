"""Spans and metrics for OpenTelemetry, by its semantic conventions. Imported only by who wants them.

>>> import resilient_transport.otel
>>> with resilient_transport.otel.instrument():
...     session.get("https://api.example/")

Each attempt is an event (`resilient_transport.attempt`) of the span of its call, and
`http.request.resend_count` says how many followed the first. That span is the one that
`opentelemetry-instrumentation-requests`, or whoever else makes CLIENT spans, has made current. Where nobody
has, a call gets a CLIENT span of its own, and so does each hop of a redirect. It has no URL (`url.full` would
hold path and query) and no header. It is made when the call has ended, so it is
current nowhere, and no trace context is sent to the server: that takes the instrumentation of requests.
What becomes of a stream after it was handed out is told to the span that is current where the stream is
read.

The metrics:

- `http.client.request.duration`, for each attempt; that of a stream ends with the head of the response;
- `http.client.active_requests`, for calls: their pauses count, streams that were handed out do not;
- `http.client.open_connections`, idle and active;
- `http.client.response.body.size`, as encoded on the wire, of bodies of a byte or more that a call has read;
- `resilient_transport.client_certificate.remaining`, for which there is no convention: the seconds until each
  client certificate that is in use expires, by `file.path` and `tls.client.subject`; below 0 it has expired.

There is no `http.client.request.body.size`, since bytes are counted with the headers that were sent, and no
`http.client.connection.duration`, since no event tells of a connection's end. An instrumentation of requests
that was told to use the stable conventions has an `http.client.request.duration` of its own, per call and in
a scope of its own. `warm()` sends no request, and so makes none of this but open connections.
"""

from __future__ import annotations

import threading
from typing import Final

from ..events import subscribe, unsubscribe
from ..util.fork import Turn, in_child

try:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
except ImportError as error:
    raise ImportError(
        "resilient_transport.otel takes opentelemetry: pip install opentelemetry-api"
    ) from error

from .watch import Watch

Providers = tuple[TracerProvider | None, MeterProvider | None]

#: Guards the next three, for functions that only the program calls. Reentrant: a signal handler may call
#: them, and whoever it has interrupted finds that done.
_lock = threading.RLock()
#: What watches now, where it tells, and who has asked for that and not ended it.
_watch: Watch | None = None
_providers: Providers = (None, None)
_holders: Final[set[Instrumentation]] = set()


@in_child(Turn.LOCKS)
def _renew() -> None:
    global _lock
    _lock = threading.RLock()


class Instrumentation:
    """Who has asked for spans and metrics, until it is ended: by `end`, or as a `with` block."""

    def end(self) -> None:
        """Make no more, unless somebody else has asked, too; to end it again changes nothing."""
        global _watch
        with _lock:
            _holders.discard(self)
            if _holders or _watch is None:
                return
            watch, _watch = _watch, None
            unsubscribe(watch)
        watch.end()

    def __enter__(self) -> Instrumentation:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _begin(watch: Watch, providers: Providers) -> None:
    """Under the lock: watch from now on, unless a signal handler has begun that while `watch` was made."""
    global _watch, _providers
    if _watch is None:
        _watch, _providers = watch, providers
        subscribe(watch)
    else:
        watch.end()


def instrument(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Instrumentation:
    """Make spans and metrics of every call of every adapter of the process, from the next call on.

    Who asks twice gets nothing twice.

    Args:
        tracer_provider: where spans go; None: to the one of the process.
        meter_provider: where metrics go; None: to the one of the process.

    Returns:
        What ends it.

    Raises:
        ValueError: somebody has asked already, with other providers.
    """
    wanted = (tracer_provider, meter_provider)
    with _lock:
        if _watch is None:
            _begin(Watch(*wanted), wanted)
        if _providers != wanted:
            raise ValueError("calls are instrumented already, with other providers: end that first")
        asked = Instrumentation()
        _holders.add(asked)
        return asked
