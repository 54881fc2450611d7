"""OpenTelemetry's instrumentation of urllib3: it wraps `urlopen`, which each attempt calls."""

import pytest
import requests
from opentelemetry.instrumentation.urllib3 import URLLib3Instrumentor

from resilient_transport import attempts_of
from resilient_transport.connection.shipped import is_as_shipped


@pytest.fixture
def instrumented(collected):
    """Instrument urllib3; return what is told."""
    instrumentor = URLLib3Instrumentor()
    instrumentor.instrument(**collected.providers)
    yield collected
    instrumentor.uninstrument()


def test_each_attempt_is_a_span(way, resetting, trusting, instrumented):
    """One that has failed tells the error; nothing is gone past it."""
    session = trusting(way.prepare(requests.Session()))
    with way.survives():
        assert len(attempts_of(session.get(resetting.url + "/words/3"))) == 2

    assert not is_as_shipped()
    assert [span.status.is_ok for span in instrumented.spans] == ([False, True] if way.heals else [False])


def test_it_ends(collected):
    """The control: without it, all is as shipped."""
    assert is_as_shipped()
    assert collected.spans == []
