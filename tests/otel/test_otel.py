"""What is made of events, told by hand: spans, metrics, and who gets them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilient_transport import Attempt, events
from resilient_transport.events import AttemptFailed, AttemptStarted, AttemptSucceeded, BodyResumed, CallEnded
from resilient_transport.telemetry.dispatch import hooks_for, tell
from tests.collecting import ATTEMPT, Collected, told_by
from tests.missing import require

ORIGIN = "https://api.example:8443"
RESENDS = "http.request.resend_count"
DURATION, ACTIVE = "http.client.request.duration", "http.client.active_requests"
DONE = Attempt(
    number=1,
    stage="done",
    error=None,
    status=200,
    bytes_out=120,
    bytes_in=64,
    reused=True,
    tls_resumed=False,
    body_resumed=False,
    shared=False,
    started=0.0,
    seconds=0.25,
    connecting=0.0,
    delay=None,
    decision="the response was handed out",
)
RESET = DONE._replace(
    stage="request",
    error="ConnectionResetError: by peer",
    status=None,
    bytes_in=0,
    delay=0.5,
    decision="again",
)


def say(kind, *values, call=1, method="GET", origin=ORIGIN):
    """Tell the hooks of the process of an event."""
    tell(hooks_for(None), kind(origin, call, method, *values))


def succeed(**about):
    """Tell of a call that succeeds at once."""
    say(AttemptStarted, 1, **about)
    say(AttemptSucceeded, DONE, **about)
    say(CallEnded, 200, None, **about)


def test_attempts_are_told_with_all_that_is_known(watched):
    """But what there is nothing of; the type of an error without its reason."""
    say(AttemptStarted, 1)
    say(AttemptFailed, RESET)
    say(CallEnded, None, "ConnectionError")
    (span,) = watched.spans

    assert told_by(span) == [
        {
            "number": 1,
            "stage": "request",
            "error.type": "ConnectionResetError",
            "bytes_out": 120,
            "bytes_in": 0,
            "reused": True,
            "tls_resumed": False,
            "body_resumed": False,
            "shared": False,
            "started": 0.0,
            "seconds": 0.25,
            "connecting": 0.0,
            "delay": 0.5,
            "decision": "again",
        }
    ]


def test_an_unknown_method_is_other(watched):
    """Names that callers make up make no metrics; the span has the name beside."""
    succeed(method="BREW")
    (span,) = watched.spans
    ((about, _),) = watched.points(DURATION)

    assert span.name == "HTTP"
    assert span.attributes["http.request.method"] == about["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"
    assert "BREW" not in about.values()


@pytest.mark.parametrize(
    ("origin", "address", "port"),
    [
        (ORIGIN, "api.example", 8443),
        ("http://[::1]:80", "::1", 80),
        ("https:", None, None),
        ("an unnamed origin", None, None),
        ("https://api.example:x", None, None),
        ("https://[half:1", None, None),
    ],
)
def test_a_server_is_told_if_it_is_known(watched, origin, address, port):
    """An address of IPv6 without its brackets; what cannot be read is left out."""
    succeed(origin=origin)
    (span,) = watched.spans

    assert span.attributes.get("server.address") == address
    assert span.attributes.get("server.port") == port


def test_somebody_elses_client_span_is_used(watched):
    """There is no second one; it is told of the attempts, and keeps its own status."""
    with watched.tracer.start_as_current_span("theirs", kind=kind("CLIENT")):
        say(AttemptStarted, 1)
        say(AttemptFailed, RESET)
        say(AttemptStarted, 2)
        say(AttemptSucceeded, DONE._replace(number=2))
        say(CallEnded, 200, None)
    (span,) = watched.spans

    assert span.name == "theirs"
    assert dict(span.attributes) == {RESENDS: 1}
    assert [told["number"] for told in told_by(span)] == [1, 2]
    assert [event.name for event in span.events] == [ATTEMPT] * 2


@pytest.mark.parametrize("name", ["INTERNAL", "SERVER", "PRODUCER", "CONSUMER"])
def test_a_span_of_another_kind_is_not_used(watched, name):
    """It is the parent of one that is made."""
    with watched.tracer.start_as_current_span("theirs", kind=kind(name)):
        succeed()

    assert [span.name for span in watched.spans] == ["GET", "theirs"]
    assert watched.spans[1].events == ()


def test_a_client_span_that_records_nothing_is_not_used(watched):
    """It says nothing of its kind. Whether ours is sampled out, too, is for the sampler to say."""
    trace = require("opentelemetry.trace")
    with trace.use_span(trace.NonRecordingSpan(trace.INVALID_SPAN_CONTEXT)):
        succeed()

    assert [span.name for span in watched.spans] == ["GET"]


def test_an_attempt_that_is_told_twice_counts_once(watched):
    """What follows a body that could not be resumed tells its attempt again."""
    say(AttemptStarted, 1)
    say(AttemptFailed, DONE._replace(stage="body", error="ConnectionResetError"))
    say(AttemptStarted, 2)
    say(AttemptFailed, DONE._replace(number=2, status=503))
    say(AttemptFailed, DONE._replace(stage="body", error="ConnectionResetError"))
    say(CallEnded, None, "ChunkedEncodingError")
    (span,) = watched.spans

    assert [told["number"] for told in told_by(span)] == [1, 2]
    assert sum(count for _, (count, _) in watched.points(DURATION)) == 2
    assert span.attributes["http.response.status_code"] == 503
    assert span.attributes["error.type"] == "ChunkedEncodingError"


def test_an_interrupted_call_is_active_no_more(watched):
    """No attempt was told; the end was."""
    say(AttemptStarted, 1)
    say(CallEnded, None, "KeyboardInterrupt")
    (span,) = watched.spans

    assert span.attributes["error.type"] == "KeyboardInterrupt"
    assert span.events == ()
    assert [value for _, value in watched.points(ACTIVE)] == [0]


def test_a_call_without_an_attempt_has_a_span(watched):
    """Its deadline was over before anything was tried: that is told, and nothing is measured."""
    say(CallEnded, None, "DeadlineExceeded")
    (span,) = watched.spans

    assert span.attributes["error.type"] == "DeadlineExceeded"
    assert span.events == ()
    assert watched.points(ACTIVE) == watched.points(DURATION) == []


def test_a_stream_is_told_to_the_client_span_it_is_read_in(watched):
    """It counts what was sent again; without a span, the attempt is measured all the same."""
    succeed()
    with watched.tracer.start_as_current_span("theirs", kind=kind("CLIENT")):
        say(AttemptFailed, RESET._replace(stage="body", status=200))
        say(AttemptStarted, 2)
        say(BodyResumed, DONE._replace(number=2, status=206), 64)
        say(AttemptFailed, RESET._replace(stage="body", status=206, number=2))
    say(AttemptStarted, 3)
    say(AttemptFailed, RESET._replace(number=3))
    theirs = watched.spans[-1]
    counts = sorted(value[0] for _, value in watched.points(DURATION))

    assert theirs.attributes[RESENDS] == 1
    assert [told["number"] for told in told_by(theirs)] == [1, 2, 2]
    assert counts == [1, 1, 1]
    assert [value for _, value in watched.points(ACTIVE)] == [0]


def test_streams_that_were_left_are_forgotten(watched):
    """Who reads one may be interrupted in an attempt, and nobody tells: they do not pile up."""
    (watch,) = events.subscribers()
    for call in range(5000):
        say(AttemptStarted, 2, call=call)

    assert 0 < len(watch._streams) <= 2000


def test_a_call_of_very_many_attempts_keeps_the_latest(watched):
    """A body of gigabytes may take thousands."""
    for number in range(1, 1001):
        say(AttemptStarted, number)
        say(AttemptFailed, RESET._replace(number=number))
    say(CallEnded, None, "ConnectionError")
    (span,) = watched.spans

    assert span.attributes[RESENDS] == 999
    assert [told["number"] for told in told_by(span)] == list(range(873, 1001))


def test_events_of_many_threads_are_not_mixed_up(watched):
    """Each call has its own number, and so its own span."""

    def one(call):
        for number in range(1, call % 5 + 1):
            say(AttemptStarted, number, call=call)
            say(AttemptFailed, RESET._replace(number=number), call=call)
        say(AttemptStarted, call % 5 + 1, call=call)
        say(AttemptSucceeded, DONE._replace(number=call % 5 + 1), call=call)
        say(CallEnded, 200, None, call=call, method="GET")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(1, 101)))

    assert sorted(span.attributes.get(RESENDS, 0) for span in watched.spans) == sorted(
        call % 5 for call in range(1, 101)
    )
    assert all(len(span.events) == span.attributes.get(RESENDS, 0) + 1 for span in watched.spans)
    assert [value for _, value in watched.points(ACTIVE)] == [0]


def test_seconds_are_counted_in_the_advised_buckets(watched):
    """So that they can be compared with everybody's; a quarter of a second is no more than 0.25 s."""
    succeed()
    data = watched._reader.get_metrics_data()
    metrics = {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}
    (point,) = metrics[DURATION].data.data_points

    assert point.explicit_bounds == (
        0.005,
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.25,
        0.5,
        0.75,
        1,
        2.5,
        5,
        7.5,
        10,
    )
    assert point.bucket_counts[6] == 1
    # What others have left open is told beside it.
    for name in ("http.client.open_connections", "resilient_transport.client_certificate.remaining"):
        metrics.pop(name, None)
    assert {name: metric.unit for name, metric in metrics.items()} == {
        DURATION: "s",
        ACTIVE: "{request}",
        "http.client.response.body.size": "By",
    }


def test_to_ask_twice_makes_nothing_twice(collected):
    """Until the last who has asked ends it; to end twice ends nobody else's."""
    otel = require("resilient_transport.otel")
    first, second = otel.instrument(**collected.providers), otel.instrument(**collected.providers)
    succeed()
    both = len(collected.spans), [value[0] for _, value in collected.points(DURATION)]
    first.end()
    first.end()
    succeed()
    one = len(collected.spans)
    second.end()
    succeed()

    assert both == (1, [1])
    assert one == len(collected.spans) == 2
    assert events.subscribers() == ()


def test_other_providers_are_refused_while_it_runs(watched):
    """Rather than passed over; what runs goes on."""
    other = Collected()
    with pytest.raises(ValueError, match="other providers"):
        require("resilient_transport.otel").instrument(**other.providers)
    succeed()
    other.shut_down()

    assert len(watched.spans) == 1
    assert other.spans == []


def test_a_call_that_runs_when_it_is_ended_is_told_no_more(collected):
    """It has no span, and counts as active no more."""
    with require("resilient_transport.otel").instrument(**collected.providers):
        hooks = hooks_for(None)
        say(AttemptStarted, 1)
        active = [value for _, value in collected.points(ACTIVE)]
    with collected.tracer.start_as_current_span("mine"):
        tell(hooks, AttemptSucceeded(ORIGIN, 1, "GET", DONE))
        tell(hooks, CallEnded(ORIGIN, 1, "GET", 200, None))
    (mine,) = collected.spans

    assert active == [1]
    assert [value for _, value in collected.points(ACTIVE)] == [0]
    assert collected.points(DURATION) == []
    assert mine.events == ()


def test_without_a_provider_nothing_breaks(caplog):
    """OpenTelemetry's own default does nothing, and says nothing."""
    with require("resilient_transport.otel").instrument():
        succeed()

    assert caplog.records == []


def test_without_opentelemetry_the_import_says_what_to_do(monkeypatch):
    """It is an extra."""
    for name in [name for name in sys.modules if name.startswith("resilient_transport.otel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)

    with pytest.raises(ImportError, match="pip install opentelemetry-api"):
        __import__("resilient_transport.otel")


def test_the_package_does_not_import_it():
    """Who does not ask for it does not wait for OpenTelemetry to load."""
    program = "import resilient_transport, sys; print([n for n in sys.modules if 'opentelemetry' in n])"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


def kind(name):
    """A span's kind by its name."""
    return require("opentelemetry.trace").SpanKind[name]


@pytest.mark.parametrize(
    ("origin", "port"),
    [("https://api.example", 443), ("http://api.example", 80), ("https://api.example:8443", 8443)],
)
def test_a_port_that_goes_without_saying_is_told(origin, port):
    """The conventions want a number wherever there is an address."""
    scheme = origin.partition(":")[0]

    of_server = require("resilient_transport.otel.conventions").of_server

    assert of_server(origin) == {
        "url.scheme": scheme,
        "server.address": "api.example",
        "server.port": port,
    }
