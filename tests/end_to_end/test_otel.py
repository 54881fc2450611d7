"""What OpenTelemetry is told of calls to a real server."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from resilient_transport import RetryPolicy
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.collecting import Collected, told_by
from tests.missing import require

FAST = {"backoff": 0.001, "backoff_max": 0.001}
RESENDS = "http.request.resend_count"
#: What `ssl` makes of a reset: before Python 3.13 an end of file.
RESETS = {"ConnectionResetError", "RemoteDisconnected"}
#: Two requests are reset when they have been executed, and the third is answered.
TWICE = Script((Rule(Fault(Moment.EXECUTED), first=2),))


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def call(server, dial, path="/words/3", method="GET", **settings):
    """Make a call that is repeated at once if it fails."""
    policy = settings.pop("policy", RetryPolicy(**FAST))
    return dial(server, policy=policy).request(method, server.url + path, **settings)


def assert_two_failures_and_a_success(span, status=200):
    """A span tells three attempts, and that the last one was sent after two others."""
    first, second, third = told_by(span)

    assert span.kind.name == "CLIENT"
    assert span.attributes[RESENDS] == 2
    assert [told["number"] for told in (first, second, third)] == [1, 2, 3]
    assert [told["stage"] for told in (first, second, third)] == ["request", "request", "done"]
    assert {first["error.type"], second["error.type"]} <= RESETS
    assert "error.type" not in third
    assert [told.get("http.response.status_code") for told in (first, second, third)] == [None, None, status]
    assert first["decision"].startswith("sent again")
    assert "delay" in first
    assert "delay" not in third
    assert first["bytes_out"] == third["bytes_out"] > 0
    assert (first["bytes_in"], third["bytes_in"] > 0) == (0, True)
    assert not any(told["reused"] for told in (first, second, third))


def connections_to(server, points):
    """The connections to a server, active or idle; others may have left some open elsewhere."""
    return sorted(value for about, value in points if about["server.port"] == server.port)


def test_the_span_of_requests_instrumentation_tells_the_attempts(
    server, dial, requests_instrumented, watched
):
    """There is one span, made by opentelemetry-instrumentation-requests, and it has all of it."""
    server.play(TWICE)
    call(server, dial)

    assert watched.scopes == ["opentelemetry.instrumentation.requests"]
    assert_two_failures_and_a_success(watched.spans[0])


def test_without_us_that_span_tells_nothing_of_attempts(server, dial, requests_instrumented, collected):
    """The control: it is this package's instrumentation that tells."""
    server.play(TWICE)
    call(server, dial)
    (span,) = collected.spans

    assert span.events == ()
    assert RESENDS not in span.attributes
    assert collected.points("http.client.request.duration") == []


def test_without_other_instrumentation_a_call_has_a_span_of_its_own(server, dial, watched):
    """A CLIENT span with what the conventions want, as far as it holds no path."""
    server.play(TWICE)
    call(server, dial)
    (span,) = watched.spans

    assert_two_failures_and_a_success(span)
    assert span.name == "GET"
    assert dict(span.attributes) == {
        "http.request.method": "GET",
        "url.scheme": "https",
        "server.address": "localhost",
        "server.port": server.port,
        "http.response.status_code": 200,
        RESENDS: 2,
    }
    assert span.status.status_code.name == "UNSET"
    times = [span.start_time, *(event.timestamp for event in span.events), span.end_time]
    assert times == sorted(times)


def test_a_call_that_succeeds_at_once_was_not_resent(server, dial, watched):
    """The attribute is there only where something was sent again."""
    call(server, dial)
    (span,) = watched.spans

    assert RESENDS not in span.attributes
    assert [told["number"] for told in told_by(span)] == [1]


def test_its_own_span_belongs_where_the_call_was_made(server, dial, watched):
    """The span of whoever calls is its parent, and is told nothing itself."""
    with watched.tracer.start_as_current_span("mine"):
        call(server, dial)
    own, mine = watched.spans

    assert own.parent.span_id == mine.context.span_id
    assert mine.events == ()


@pytest.mark.parametrize("status", [404, 503])
def test_a_status_that_is_an_error_is_one_of_the_span(server, dial, watched, status):
    """For a client, that is from 400 on."""
    call(server, dial, f"/status/{status}", policy=RetryPolicy(retries=1, **FAST))
    (span,) = watched.spans

    assert span.attributes["http.response.status_code"] == status
    assert span.attributes["error.type"] == str(status)
    assert span.status.status_code.name == "ERROR"
    assert told_by(span)[-1]["error.type"] == str(status)


def test_a_call_that_fails_says_by_what(server, dial, watched):
    """Its span has the type of what is raised, and no message, which may hold a path."""
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    with pytest.raises(requests.ConnectionError):
        call(server, dial, policy=RetryPolicy(retries=1, **FAST))
    (span,) = watched.spans

    assert span.attributes["error.type"] == "ConnectionError"
    assert "http.response.status_code" not in span.attributes
    assert (span.status.status_code.name, span.status.description) == ("ERROR", None)
    assert len(told_by(span)) == 2


def test_a_redirect_under_one_span_counts_what_was_sent_again(server, dial, requests_instrumented, watched):
    """The hops of a redirect share a span: a hop without repetitions does not undo another's."""
    server.play(TWICE)
    call(server, dial, "/redirect?to=/words/3")
    (span,) = watched.spans

    assert span.attributes[RESENDS] == 2
    assert [told["number"] for told in told_by(span)] == [1, 2, 3, 1]


def test_calls_at_once_are_not_mixed_up(server, dial, watched):
    """Each of sixteen has its own span below its caller's, with its own repetitions."""
    session = dial(server, policy=RetryPolicy(**FAST))

    def one(nth):
        with watched.tracer.start_as_current_span(f"caller {nth}"):
            session.get(f"{server.url}/status/503?times={nth % 4}&id=n{nth}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(16)))
    callers = {span.context.span_id: span.name for span in watched.spans if span.parent is None}
    own = {callers[span.parent.span_id]: span for span in watched.spans if span.parent is not None}

    assert {name: span.attributes.get(RESENDS, 0) for name, span in own.items()} == {
        f"caller {nth}": nth % 4 for nth in range(16)
    }
    assert [len(told_by(span)) - 1 for span in own.values()] == [
        span.attributes.get(RESENDS, 0) for span in own.values()
    ]
    assert [value for _, value in watched.points("http.client.active_requests")] == [0]


def test_each_attempt_is_measured(server, dial, watched):
    """Failed ones by their error, answered ones by their status, a status that is an error by both."""
    server.play(TWICE)
    call(server, dial)
    call(server, dial, "/status/503?times=1&id=m")
    points = watched.points("http.client.request.duration")
    base = {
        "http.request.method": "GET",
        "url.scheme": "https",
        "server.address": "localhost",
        "server.port": server.port,
    }

    def count(**more):
        found = [value for about, value in points if about == base | more]
        return found[0][0] if found else 0

    assert sum(count(**{"error.type": name}) for name in RESETS) == 2
    assert count(**{"http.response.status_code": 200}) == 2
    assert count(**{"http.response.status_code": 503, "error.type": "503"}) == 1
    assert len(points) == 3
    assert all(0 < seconds < 10 for _, (_, seconds) in points)


def test_a_call_is_active_while_it_runs(server, dial, watched):
    """From its first attempt on, between attempts too, until it returns."""
    seen = []

    def look(_):
        seen.append([value for _, value in watched.points("http.client.active_requests")])

    server.play(TWICE)
    dial(server, policy=RetryPolicy(**FAST), on_event=look).get(server.url + "/words/3")
    look(None)

    assert seen[1:] == [[1]] * (len(seen) - 2) + [[0]]


def test_open_connections_are_told(server, dial, watched):
    """Those that are idle, and those that a stream has."""
    session = dial(server)
    where = {"url.scheme": "https", "server.address": "localhost", "server.port": server.port}

    def now():
        points = watched.points("http.client.open_connections")
        # Others may have left some open elsewhere.
        ours = [(about, value) for about, value in points if about["server.port"] == server.port]
        assert all(about.items() >= where.items() for about, _ in ours)
        return {about["http.connection.state"]: value for about, value in ours}

    with session.get(server.url + "/bytes/500000", stream=True):
        reading = now()
    session.get(server.url + "/words/3")
    after = now()

    assert reading == {"active": 1, "idle": 0}
    assert after == {"active": 0, "idle": 1}


def test_the_size_of_a_body_is_that_of_all_of_it(server, dial, watched):
    """One that was resumed counts once and whole; one that is left to the caller does not count."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=1000), first=2),)))
    call(server, dial, "/bytes/5000")
    call(server, dial, "/bytes/7000", stream=True).close()

    assert [value for _, value in watched.points("http.client.response.body.size")] == [(1, 5000)]
    assert [told["bytes_in"] for told in told_by(watched.spans[0])] == [1000, 1000, 3000]


def test_a_stream_that_breaks_is_told_where_it_is_read(server, dial, watched):
    """Its call has its span already; the cut and the attempt that goes on are its reader's."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=1000), first=1),)))
    response = call(server, dial, "/bytes/5000", stream=True)
    with watched.tracer.start_as_current_span("reader"):
        content = response.content
    own, reader = watched.spans

    assert len(content) == 5000
    assert [(told["number"], told["stage"]) for told in told_by(own)] == [(1, "done")]
    assert [(told["number"], told["stage"]) for told in told_by(reader)] == [(1, "body"), (2, "body")]
    statuses = {
        about["http.response.status_code"]: value[0]
        for about, value in watched.points("http.client.request.duration")
    }
    assert statuses == {200: 1, 206: 1}


def test_what_was_ended_tells_nothing(server, dial, collected):
    """Neither spans nor metrics, of connections that are still open neither; begun anew, it tells again."""
    otel = require("resilient_transport.otel")
    with otel.instrument(**collected.providers):
        call(server, dial)
    spans, before = len(collected.spans), collected.points("http.client.request.duration")
    call(server, dial)
    quiet = len(collected.spans), collected.points("http.client.request.duration")
    connections = collected.points("http.client.open_connections")
    with otel.instrument(**collected.providers):
        call(server, dial)
        again = collected.points("http.client.open_connections")

    assert quiet == (spans, before) == (1, before)
    assert connections == []
    assert len(collected.spans) == 2
    assert connections_to(server, again) == [0, 1]


def test_warming_is_no_request(server, dial, watched):
    """What only connects has no span and no duration; its connection counts."""
    session = dial(server)
    with watched.tracer.start_as_current_span("mine"):
        session.get_adapter(server.url).warm(server.url, session=session)
    (mine,) = watched.spans

    assert mine.events == ()
    assert watched.points("http.client.request.duration") == []
    assert watched.points("http.client.active_requests") == []
    assert connections_to(server, watched.points("http.client.open_connections")) == [0, 1]


def test_what_is_secret_stays_here(server, dial, watched):
    """No part of the path, the query, a header or a body, whether the call succeeds or fails."""
    session = dial(server, policy=RetryPolicy(retries=1, **FAST))
    session.headers["X-Key"] = "hidden-header"
    site = server.url.replace("://", "://hidden-user:hidden-word@")
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=2),)))
    with pytest.raises(requests.ConnectionError):
        session.get(site + "/hidden-path?q=hidden-query")
    session.put(site + "/hidden-path?q=hidden-query", data="hidden-body")
    text = watched.text()

    assert len(watched.spans) == 2
    assert "localhost" in text
    assert "hidden" not in text


def test_what_an_exporter_sends_is_not_watched(server, dial, watched):
    """Or each export would make a span to export."""
    utils = require("opentelemetry.instrumentation.utils")
    with utils.suppress_instrumentation():
        call(server, dial)

    assert watched.spans == []
    assert watched.points("http.client.request.duration") == []


def test_what_was_sampled_out_gets_no_span_from_us_either(server, dial):
    """The instrumentation of requests made a span that records nothing: it is not made up for."""
    sampling = require("opentelemetry.sdk.trace.sampling")
    instrumentor = require("opentelemetry.instrumentation.requests").RequestsInstrumentor()
    nothing, everything = Collected(sampler=sampling.ALWAYS_OFF), Collected(sampler=sampling.ALWAYS_ON)
    instrumentor.instrument(**nothing.providers)
    try:
        with require("resilient_transport.otel").instrument(**everything.providers):
            call(server, dial)
    finally:
        instrumentor.uninstrument()
        nothing.shut_down()

    assert everything.spans == []
    assert len(everything.points("http.client.request.duration")) == 1
    everything.shut_down()
