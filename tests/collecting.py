"""What OpenTelemetry is told, collected in memory."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.missing import require

#: The event of a span that tells an attempt; its attributes begin so.
ATTEMPT = "resilient_transport.attempt"


class Collected:
    """Providers of spans and metrics, and what they were given."""

    def __init__(self, **settings: Any) -> None:
        tracing, exporting = require("opentelemetry.sdk.trace"), require("opentelemetry.sdk.trace.export")
        memory = require("opentelemetry.sdk.trace.export.in_memory_span_exporter")
        metrics, reading = require("opentelemetry.sdk.metrics"), require("opentelemetry.sdk.metrics.export")
        self._exporter = memory.InMemorySpanExporter()
        self._reader = reading.InMemoryMetricReader()
        self.tracer_provider = tracing.TracerProvider(shutdown_on_exit=False, **settings)
        self.tracer_provider.add_span_processor(exporting.SimpleSpanProcessor(self._exporter))
        self.meter_provider = metrics.MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def providers(self) -> dict[str, Any]:
        """The arguments that name them."""
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    @property
    def tracer(self) -> Any:
        """A tracer of the test's own."""
        return self.tracer_provider.get_tracer("test")

    @property
    def spans(self) -> list[Any]:
        """The spans that have ended, in that order."""
        return list(self._exporter.get_finished_spans())

    @property
    def scopes(self) -> list[str]:
        """Who has made them."""
        return [span.instrumentation_scope.name for span in self.spans]

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The attributes and the value of each point of a metric of ours; a histogram's is (count, sum)."""
        data = self._reader.get_metrics_data()
        scopes = [scope for one in data.resource_metrics for scope in one.scope_metrics] if data else []
        ours = [scope for scope in scopes if scope.scope.name == "resilient_transport"]
        metrics = [metric for scope in ours for metric in scope.metrics if metric.name == name]
        points = [point for metric in metrics for point in metric.data.data_points]
        return [(dict(point.attributes), _value(point)) for point in points]

    def text(self) -> str:
        """Everything, as it would leave the process."""
        data = self._reader.get_metrics_data()
        metrics = data.to_json() if data else ""
        return json.dumps([span.to_json() for span in self.spans]) + metrics

    def shut_down(self) -> None:
        """End what collects."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def _value(point: Any) -> Any:
    return (point.count, point.sum) if hasattr(point, "count") else point.value


def told_by(span: Any) -> list[dict[str, Any]]:
    """The attributes of a span's attempts, our own without their prefix."""
    return [
        {name.removeprefix(ATTEMPT + "."): value for name, value in event.attributes.items()}
        for event in span.events
        if event.name == ATTEMPT
    ]


@pytest.fixture
def collected() -> Iterator[Collected]:
    """Providers that nobody uses yet."""
    collected = Collected()
    yield collected
    collected.shut_down()


@pytest.fixture
def watched(collected: Collected) -> Iterator[Collected]:
    """The same, with calls instrumented."""
    with require("resilient_transport.otel").instrument(**collected.providers):
        yield collected


@pytest.fixture
def requests_instrumented(collected: Collected) -> Iterator[None]:
    """The same providers get the spans of opentelemetry-instrumentation-requests."""
    instrumentor = require("opentelemetry.instrumentation.requests").RequestsInstrumentor()
    instrumentor.instrument(**collected.providers)
    yield
    instrumentor.uninstrument()
