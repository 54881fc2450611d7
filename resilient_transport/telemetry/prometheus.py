"""Figures in Prometheus' text format. Imported only when that is asked for: it takes prometheus_client.

Names are as Prometheus wants them (https://prometheus.io/docs/practices/naming/): base units, `_total`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from .counters import BUCKETS, Durations

try:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
except ImportError as error:
    raise ImportError("the text format takes prometheus_client: pip install prometheus_client") from error

_PREFIX: Final = "resilient_transport_"

#: Name, what it is, what it is read from, and the label of what are numbers by a label.
_COUNTERS: Final = (
    ("calls", "Calls that have ended.", "calls", None),
    ("retries", "Repetitions.", "retries", None),
    ("resumes", "Bodies that were gone on with.", "resumes", None),
    ("resumed_bytes", "Bytes that need not come again.", "bytes_saved", None),
    ("failures", "Failed attempts.", "failures", "stage"),
    ("shared_failures", "Attempts that shared another call's failure.", "shared_failures", "stage"),
    ("recovered_calls", "Calls that have succeeded after a failed attempt.", "recovered", None),
    ("failed_calls", "Calls that have failed, by exception.", "failed_calls", "error"),
    ("responses", "Responses that were handed out.", "responses", "status"),
    ("repetitions_not_made", "Repetitions or calls that were not made.", "repetitions_not_made", "reason"),
    ("certificate_refusals", "Responses that refuse the client certificate.", "certificate_refusals", None),
)
_HISTOGRAMS: Final = (
    ("gate_wait_seconds", "Waits for a connection, or to make one.", "waits"),
    ("response_seconds", "From the start of a call to its response.", "response_times"),
)


class _Collector:
    """What prometheus_client asks for the figures."""

    def __init__(self, figures: Mapping[str, Any], certificates: Mapping[str, Any]) -> None:
        self._figures = figures
        self._by_file = certificates

    def collect(self) -> Iterator[Any]:
        """Each family with the figures of every origin."""
        for name, about, source, label in _COUNTERS:
            yield self._counter(name, about, source, label)
        handshakes = CounterMetricFamily(_PREFIX + "handshakes", "TLS handshakes.", labels=["origin", "kind"])
        connections = GaugeMetricFamily(
            _PREFIX + "connections", "Connections that are open.", labels=["origin", "state"]
        )
        for origin, counts in self._figures.items():
            handshakes.add_metric([origin, "full"], counts.handshakes_full)
            handshakes.add_metric([origin, "resumed"], counts.handshakes_resumed)
            connections.add_metric([origin, "idle"], counts.idle)
            connections.add_metric([origin, "active"], counts.live - counts.idle)
        yield from (handshakes, connections, self._certificates())
        for name, about, source in _HISTOGRAMS:
            yield self._histogram(name, about, source)

    def _certificates(self) -> Any:
        family = GaugeMetricFamily(
            _PREFIX + "client_certificate_expiry_timestamp_seconds",
            "The last second in which a client certificate is valid.",
            labels=["file", "subject"],
        )
        for file, certificate in self._by_file.items():
            family.add_metric([file, certificate.subject], certificate.not_after)
        return family

    def _histogram(self, name: str, about: str, source: str) -> Any:
        family = HistogramMetricFamily(_PREFIX + name, about, labels=["origin"])
        for origin, counts in self._figures.items():
            durations = getattr(counts, source)
            family.add_metric([origin], _buckets(durations), durations.seconds)
        return family

    def _counter(self, name: str, about: str, source: str, label: str | None) -> Any:
        labels = ["origin", label] if label else ["origin"]
        family = CounterMetricFamily(_PREFIX + name, about, labels=labels)
        for origin, counts in self._figures.items():
            value = getattr(counts, source)
            if label is None:
                family.add_metric([origin], value)
                continue
            for kind, number in sorted(value.items()):
                family.add_metric([origin, kind], number)
        return family


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """The histogram as Prometheus has it: each bucket holds those before it, too."""
    bounds = [*map(repr, BUCKETS), "+Inf"]
    return list(zip(bounds, map(float, accumulate(durations.histogram)), strict=True))


def exposition(figures: Mapping[str, Any], certificates: Mapping[str, Any]) -> str:
    """Figures by origin, and client certificates by file, in the text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(figures, certificates))
    return generate_latest(registry).decode()
