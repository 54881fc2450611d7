"""OpenTelemetry's instrumentation of requests: it wraps `Session.send`, so that each call is a span.

`tests/end_to_end/test_otel.py` says what `resilient_transport.otel` adds to that span.
"""

import requests

from resilient_transport import attempts_of


def test_each_call_is_a_span(way, resetting, trusting, requests_instrumented, collected):
    """One that was healed is one without an error."""
    session = trusting(way.prepare(requests.Session()))
    with way.survives():
        assert len(attempts_of(session.get(resetting.url + "/words/3"))) == 2

    assert [span.status.is_ok for span in collected.spans] == [way.heals]
