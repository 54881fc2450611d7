"""The metrics: their names, units and descriptions are the conventions'."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from ..telemetry.stats import stats
from ..util.clock import realtime
from .conventions import SCHEMA, SECONDS, of_server

#: Who is told of connections and certificates now. A callback stays registered for ever, and only the first
#: of its name does.
_told: Final[list[MeterProvider | None]] = []


def _connections(provider: MeterProvider | None, _: CallbackOptions) -> Iterator[Observation]:
    """The connections that are open; none once nobody wants to hear."""
    if not any(one is provider for one in _told):
        return
    for origin, figures in stats().items():
        for state, number in (("idle", figures.idle), ("active", figures.live - figures.idle)):
            yield Observation(number, {"http.connection.state": state, **of_server(origin)})


def _remaining(provider: MeterProvider | None, _: CallbackOptions) -> Iterator[Observation]:
    """How long each client certificate is valid still; none once nobody wants to hear."""
    if not any(one is provider for one in _told):
        return
    for file, certificate in stats().certificates.items():
        about = {"file.path": file, "tls.client.subject": certificate.subject}
        yield Observation(certificate.not_after - realtime(), about)


class Meters:
    """The instruments.

    Args:
        provider: where their figures go; None: to the one of the process.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        self._provider = provider
        meter = get_meter("resilient_transport", "", provider, SCHEMA)
        self.duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self.body_size = meter.create_histogram(
            "http.client.response.body.size", "By", "Size of HTTP client response bodies."
        )
        self.active = meter.create_up_down_counter(
            "http.client.active_requests", "{request}", "Number of active HTTP requests."
        )
        meter.create_observable_up_down_counter(
            "http.client.open_connections",
            [partial(_connections, provider)],
            "{connection}",
            "Number of outbound HTTP connections that are currently active or idle on the client.",
        )
        meter.create_observable_gauge(
            "resilient_transport.client_certificate.remaining",
            [partial(_remaining, provider)],
            "s",
            "Seconds until a client certificate that is in use expires.",
        )
        _told.append(provider)

    def end(self) -> None:
        """Tell of connections and certificates no more."""
        _told.remove(self._provider)
