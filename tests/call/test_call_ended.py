"""Every call tells its end once, whatever ended it."""

import pytest
import requests

from resilient_transport import EndpointDisabled, RetryPolicy, events, override
from resilient_transport.events import AttemptStarted, BodyResumed, CallEnded, GaveUp
from resilient_transport.testing import Fault, Moment, Rule, Script

FAST = {"backoff": 0.001, "backoff_max": 0.001}


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.fixture
def told():
    """The events of the process."""
    seen = []
    with events.subscribed(seen.append):
        yield seen


def ends(told):
    """What was told of ends: status and error."""
    return [(event.status, event.error) for event in told if isinstance(event, CallEnded)]


def test_a_call_that_returns_has_ended(server, dial, told):
    """With the status of its response, and last of all."""
    dial(server).get(server.url + "/status/404")

    assert ends(told) == [(404, None)]
    assert isinstance(told[-1], CallEnded)


def test_a_call_that_raises_has_ended(server, dial, told):
    """With the type of its error."""
    server.play(Script((Rule(Fault(Moment.EXECUTED)),)))
    with pytest.raises(requests.ConnectionError):
        dial(server, policy=RetryPolicy(retries=1, **FAST)).get(server.url + "/words/1")

    assert ends(told) == [(None, "ConnectionError")]


def test_an_interrupted_call_has_ended(server, dial, told):
    """The source of a body raises KeyboardInterrupt: no attempt is told, and the end is."""

    def interrupted():
        yield b"x"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dial(server).post(server.url + "/echo", data=interrupted())

    assert [type(event) for event in told if not isinstance(event, events.HandshakeDone)] == [
        AttemptStarted,
        CallEnded,
    ]
    assert ends(told) == [(None, "KeyboardInterrupt")]


def test_a_call_without_an_attempt_has_ended(server, dial, told):
    """Its deadline was over before it began."""
    with override(deadline=1e-9), pytest.raises(requests.Timeout):
        dial(server).get(server.url + "/words/1")

    assert ends(told) == [(None, "DeadlineExceeded")]
    assert [type(event) for event in told] == [GaveUp, CallEnded]


@pytest.mark.parametrize("spool", [0, 1000])
def test_a_call_whose_body_was_sent_before_has_ended(server, dial, told, spool):
    """It is refused before anything of it is told."""
    session = dial(server, policy=RetryPolicy(spool_bytes=spool))
    request = session.prepare_request(requests.Request("POST", server.url + "/echo", data=iter([b"x"])))
    session.send(request)
    told.clear()
    with pytest.raises(requests.exceptions.UnrewindableBodyError):
        session.send(request)

    assert ends(told) == [(None, "UnrewindableBodyError")]
    assert [type(event) for event in told] == [CallEnded]


def test_a_call_to_a_disabled_endpoint_has_ended(server, dial, told):
    """The same."""
    own = []
    with pytest.raises(EndpointDisabled):
        dial(server, disable=[server.url], on_event=own.append).get(server.url + "/a?b=c")

    assert ends(told) == ends(own) == [(None, "EndpointDisabled")]
    assert [type(event) for event in told] == [CallEnded]
    assert (told[0].method, told[0].origin, told[0].path) == ("GET", server.url, "/a")


def test_a_stream_ends_its_call_when_it_is_handed_out(server, dial, told):
    """What becomes of its body is told later."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=1000), first=1),)))
    response = dial(server, policy=RetryPolicy(**FAST)).get(server.url + "/bytes/5000", stream=True)
    before = ends(told)
    content = response.content

    assert before == ends(told) == [(200, None)]
    assert len(content) == 5000
    (resumed,) = (event for event in told if isinstance(event, BodyResumed))
    assert (resumed.number, resumed.attempt.status, resumed.from_byte) == (2, 206, 1000)


@pytest.mark.parametrize("warming", [False, True])
def test_a_call_that_only_connects_says_so(server, dial, told, warming):
    """So that nobody takes its HEAD for a request."""
    session = dial(server)
    if warming:
        session.get_adapter(server.url).warm(server.url, session=session)
    else:
        session.head(server.url)

    assert [event.warming for event in told if isinstance(event, AttemptStarted)] == [warming]
