"""The whole story of a call as its hooks hear it: a test for each way in which a call can go."""

import gc
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import requests

from resilient_transport import (
    Breaker,
    CircuitOpen,
    ClientCertificateRejected,
    DeadlineExceeded,
    EndpointDisabled,
    RetryPolicy,
    events,
)
from resilient_transport.call.origin_state import state_of
from resilient_transport.telemetry.dispatch import Dispatcher
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from resilient_transport.util.frozen import names_of
from resilient_transport.util.origin import origin_at
from tests.end_to_end.hearing import Heard
from tests.retry.values import Clock
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

FAST = {"backoff": 0.001, "backoff_max": 0.001}
GOOD = ["started 1", "connected", "succeeded 1"]
WARM = ["started 1", "succeeded 1"]
#: A failure before the connection was made, and after.
AGAIN_EARLY = ["started 1", "failed 1 at {}", "scheduled after 1"]
AGAIN_LATE = ["started 1", "connected", "failed 1 at {}", "scheduled after 1"]
SECOND = ["started 2", "connected", "succeeded 2", "recovered in 2"]
LOST = ["started 1", "connected", "failed 1 at request", "gave up in 1: ConnectionError"]

#: Before Python 3.13 `ssl` leaves a socket to the garbage collector that was reset before its handshake.
pytestmark = pytest.mark.filterwarnings(
    "error" if sys.version_info >= (3, 13) else r"ignore:unclosed .*SSLSocket:ResourceWarning"
)


@pytest.fixture(scope="module", autouse=True)
def swept():
    """Leave none of them to the tests that follow."""
    yield
    gc.collect()


@pytest.fixture
def heard():
    """Return a hook."""
    return Heard()


@pytest.fixture
def session(server, dial, heard):
    """Return a session whose adapter has that hook, and a server that does nothing wrong."""
    server.play(Script())
    return dial(server, on_event=heard, policy=RetryPolicy(**FAST))


def once(moment, how=How.RST, **values):
    """Return a script in which the first connection is broken."""
    return Script((Rule(Fault(moment, how, **values), first=1),))


def told(lines, stage):
    """Put a stage into a story."""
    return [line.format(stage) for line in lines]


def test_a_good_call(server, session, heard):
    """The control: an attempt begins, connects and succeeds; it does not connect where a connection is."""
    session.get(server.url)
    first = heard.story()
    session.get(server.url)

    assert first == GOOD
    assert heard.story() == WARM


@pytest.mark.parametrize(
    ("moment", "stage", "method"),
    [
        # The client may learn of it while it still waits for its connect.
        (Moment.ACCEPT, "connect or handshake", "GET"),
        (Moment.ACCEPT, "connect or handshake", "POST"),
        (Moment.CLIENT_HELLO, "handshake", "GET"),
        (Moment.CLIENT_HELLO, "handshake", "POST"),
        # A GET has left by then.
        (Moment.HANDSHAKE, "confirm", "POST"),
    ],
)
def test_a_reset_before_the_request(server, session, heard, moment, stage, method):
    """Nothing had left: whatever the method is, it is sent again."""
    server.play(once(moment))
    session.request(method, server.url + "/echo")
    (failed,) = heard.of(events.AttemptFailed)

    assert failed.attempt.stage in stage.split(" or ")
    assert heard.story() == told(AGAIN_EARLY, failed.attempt.stage) + SECOND


@pytest.mark.parametrize("moment", [Moment.HANDSHAKE, Moment.REQUEST, Moment.EXECUTED, Moment.HEAD])
def test_a_get_that_is_reset(server, session, heard, moment):
    """It is sent again, on another connection."""
    server.play(once(moment))
    session.get(server.url)

    assert heard.story() == told(AGAIN_LATE, "request") + SECOND


@pytest.mark.parametrize("moment", [Moment.REQUEST, Moment.EXECUTED, Moment.HEAD])
def test_a_post_that_is_reset(server, session, heard, moment):
    """The server may have executed it: the call gives up at once."""
    server.play(once(moment))
    with pytest.raises(requests.ConnectionError):
        session.post(server.url + "/echo", data=b"x")

    assert heard.story() == LOST


def test_a_body_that_is_resumed(server, session, heard):
    """The call succeeds in the attempt that brings the rest."""
    server.play(once(Moment.BODY, after_bytes=40))
    session.get(server.url + "/bytes/100")

    assert heard.story() == told(AGAIN_LATE, "body") + [
        "started 2",
        "connected",
        "resumed in 2 from 40",
        "succeeded 2",
        "recovered in 2",
    ]


def test_a_stream_that_is_resumed(server, session, heard):
    """The first attempt has succeeded when the response was handed out; the call recovers as it is read."""
    server.play(once(Moment.BODY, after_bytes=40))
    response = session.get(server.url + "/bytes/100", stream=True)
    before = Heard(heard).story()
    response.content  # noqa: B018 - reading it is the point

    assert before == GOOD
    assert heard.story() == [
        *GOOD,
        "failed 1 at body",
        "scheduled after 1",
        "started 2",
        "connected",
        "resumed in 2 from 40",
        "recovered in 2",
    ]


def test_a_body_that_cannot_be_resumed(server, session, heard):
    """A GET begins again."""
    server.play(once(Moment.BODY, after_bytes=40))
    session.get(server.url + "/bytes/100?etag=weak")

    assert heard.story() == told(AGAIN_LATE, "body") + SECOND


def test_a_stream_that_cannot_be_resumed(server, session, heard):
    """Whoever reads it gets an error, and the call has given up."""
    server.play(once(Moment.BODY, after_bytes=40))
    response = session.get(server.url + "/bytes/100?etag=weak", stream=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        response.content  # noqa: B018 - reading it is the point

    assert heard.story() == [*GOOD, "failed 1 at body", "gave up in 1: ChunkedEncodingError"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_status_that_passes(server, session, heard, stream):
    """503, then 200: the call recovers on the same connection."""
    session.get(f"{server.url}/status/503?times=1&id=tell{stream}", stream=stream).close()

    assert heard.story() == told(AGAIN_LATE, "status") + ["started 2", "succeeded 2", "recovered in 2"]


@pytest.mark.parametrize(("raises", "error"), [(False, None), (True, "RetryError")])
def test_a_status_for_ever(server, dial, heard, raises, error):
    """The call gives up, whether it raises then or not."""
    server.play(Script())
    policy = RetryPolicy(retries=1, raise_on_status=raises, **FAST)
    session = dial(server, on_event=heard, policy=policy)
    try:
        raised = None if session.get(server.url + "/status/503").status_code == 503 else "nothing"
    except requests.RequestException as failed:
        raised = type(failed).__name__

    assert raised == error
    assert heard.story() == told(AGAIN_LATE, "status") + [
        "started 2",
        "failed 2 at status",
        f"gave up in 2: {error}",
    ]


def test_another_status_is_an_answer(server, session, heard):
    """The control: 404 is no failure."""
    session.get(server.url + "/status/404")

    assert heard.story() == GOOD


@pytest.mark.parametrize(
    ("method", "met"), [("GET", ["connected", "failed 1 at request"]), ("POST", ["failed 1 at confirm"])]
)
def test_a_refused_client_certificate(server, session, heard, method, met):
    """It never heals: one attempt, and the name of what is raised. A GET has left before it is met."""
    session.cert = server.authority.stranger_client
    with pytest.raises(ClientCertificateRejected):
        session.request(method, server.url)

    assert heard.story() == ["started 1", *met, "gave up in 1: ClientCertificateRejected"]


def test_a_deadline(server, dial, heard):
    """What the server keeps waiting ends with the deadline."""
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.STALL)),)))
    session = dial(server, on_event=heard, policy=RetryPolicy(deadline=SHORT_TIMEOUT, **FAST))
    with pytest.raises(DeadlineExceeded):
        session.get(server.url)

    assert heard.story() == [*LOST[:3], "gave up in 1: DeadlineExceeded"]


def test_a_circuit(server, dial, heard):
    """It opens with the failure, sends nothing while it is open, and closes with the probe's success."""
    server.play(Script())
    breaker = Breaker(failures=1, cool_down=30.0)
    state_of(origin_at(server.url)).circuit(breaker)._clock = clock = Clock(1000.0)
    policy = RetryPolicy(breaker=breaker, **FAST)
    session = dial(server, on_event=heard, policy=policy)
    session.get(server.url + "/status/500")
    opened = heard.story()
    with pytest.raises(CircuitOpen):
        session.get(server.url)
    attempts = heard.of(events.AttemptStarted)
    heard.clear()
    clock.now += 30.0
    session.get(server.url)

    assert opened == ["started 1", "connected", "circuit opened", "succeeded 1"]
    assert attempts == []
    assert heard.story() == ["started 1", "circuit closed", "succeeded 1"]


def test_an_empty_quota(server, session, heard):
    """Nothing is repeated when the origin has no token left."""
    session.get(server.url)
    heard.clear()
    state_of(server.url).quota.tokens = 0
    session.get(server.url + "/status/503")

    assert heard.story() == ["started 1", "failed 1 at status", "gave up in 1: None"]


def test_a_disabled_endpoint(server, dial, heard):
    """Nothing begins there."""
    with pytest.raises(EndpointDisabled):
        dial(server, on_event=heard, disable=[server.url]).get(server.url)

    assert heard.story() == []


def test_a_redirect_is_two_calls(server, session, heard):
    """Each hop has a number of its own."""
    session.get(server.url + "/redirect?to=/words/3")
    stories = [Heard(told).story() for told in heard.calls().values()]

    assert stories == [GOOD, WARM]


def test_warming(server, session, heard):
    """Each connection that is made is an attempt without a request; a call finds one."""
    session.get_adapter(server.url).warm(server.url, connections=2, session=session)
    stories = [Heard(told).story() for told in heard.calls().values()]
    heard.clear()
    session.get(server.url)

    assert stories == [GOOD, GOOD]
    assert heard.story() == WARM


def test_a_call_without_tls(fault_server_factory, dial, heard):
    """It connects, too, and has no version of TLS."""
    server = fault_server_factory(tls=False)
    dial(server, on_event=heard).get(server.url)
    (connected,) = heard.of(events.HandshakeDone)

    assert (connected.tls_version, connected.tls_resumed, connected.confirmed) == (None, False, False)
    assert heard.story() == GOOD


def kinds_of(kind):
    """Return a class of events, and all that are derived from it."""
    return [kind, *(each for derived in kind.__subclasses__() for each in kinds_of(derived))]


@pytest.mark.parametrize("kind", kinds_of(events.CallEvent), ids=lambda kind: kind.__name__)
def test_each_event_is_what_its_class_makes(kind, heard):
    """Told without its constructor, an event is the same: its fields, its text, its pickle and its hash."""
    request = requests.Request("GET", "https://a.example/path?query").prepare()
    own = range(len(names_of(kind)) - len(names_of(events.CallEvent)))
    told = []
    dispatcher = Dispatcher((told.append,), "https://a.example", request)
    in_another_thread(lambda: dispatcher(kind, *own), "another")
    dispatcher.announce(kind, *own)
    first, second = told
    same = kind("https://a.example", first.call, "GET", *own, path="/path", thread="another")

    assert (type(first), first, repr(first), hash(first)) == (kind, same, repr(same), hash(same))
    assert pickle.loads(pickle.dumps(first)) == same
    assert second == replace(same, thread=threading.current_thread().name)


def in_another_thread(action, name):
    """Do something in a thread of this name."""
    thread = threading.Thread(target=action, name=name)
    thread.start()
    thread.join(LONG_TIMEOUT)


def test_events_of_calls_at_once_are_told_apart(server, session, heard):
    """All events of a call have its number and its method; no two calls have the same."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), probability=0.5),), seed=1))

    def call(number):
        session.request("GET" if number % 2 else "HEAD", server.url)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(call, range(40)))
    calls = heard.calls()

    assert len(calls) == 40
    assert sum(map(len, calls.values())) == len(heard)
    for story in calls.values():
        assert len({(event.method, event.origin) for event in story}) == 1
        assert Heard(story).story()[0] == "started 1"
        assert len([event for event in story if isinstance(event, events.AttemptSucceeded)]) == 1
    assert heard.of(events.Recovered)
