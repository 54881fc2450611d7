"""Every setting of a call changes what the server or the clock sees, in each way in which it can be said."""

import pytest
import requests

from resilient_transport import DeadlineExceeded, RetryPolicy, attempts_of, override
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.end_to_end.ways import BLOCK, CONSTRUCTOR, ENVIRONMENT, arguments
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

#: Every request is executed and not answered.
UNANSWERED = Script((Rule(Fault(Moment.EXECUTED), on_request=None),))
SLOW = 2 * SHORT_TIMEOUT
#: More than the buffers of two sockets hold.
LARGE = bytes(32 * 1024 * 1024)


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def told(session, server, said, method="GET", path="/", **values):
    """What comes of a call: the response or the exception."""
    with said.block:
        try:
            return session.request(method, server.url + path, headers={"X-Request-Id": "one"}, **values)
        except requests.RequestException as error:
            return error


def executed(server):
    """How often the server has executed the request."""
    return server.counts().executions.get("one", 0)


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR, BLOCK])
@pytest.mark.parametrize("count", [0, 2, 7])
def test_retries(server, dial, say, pauses, way, count):
    """The server sees as many requests as the count says, and one."""
    server.play(UNANSWERED)
    said = say(way, retries=count)

    error = told(dial(server, **said.arguments), server, said)

    assert executed(server) == count + 1
    assert len(attempts_of(error)) == count + 1


def test_retries_by_default(server, dial, say, pauses):
    """The control: nobody has said anything, so there are five repetitions."""
    server.play(UNANSWERED)
    told(dial(server), server, say(None))

    assert executed(server) == 6


def test_retries_without_a_number(server, dial, environment, pauses):
    """`none` in the environment is the default, and not "for ever" or "never"."""
    server.play(UNANSWERED)
    said = environment(retries="none")
    told(dial(server), server, said)

    assert executed(server) == 6


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR])
@pytest.mark.parametrize(
    ("values", "waited"),
    [
        ({}, [0.05, 0.1, 0.2, 0.4, 0.8]),
        ({"backoff": 0.5}, [0.5, 1.0, 2.0, 2.0, 2.0]),
        ({"backoff": 0}, [0, 0, 0, 0, 0]),
        ({"backoff_max": 0.1}, [0.05, 0.1, 0.1, 0.1, 0.1]),
        ({"backoff": 3, "backoff_max": 10}, [3, 6, 10, 10, 10]),
    ],
    ids=["control", "backoff", "no backoff", "backoff_max", "both"],
)
def test_backoff(server, dial, say, pauses, way, values, waited):
    """The pauses that the clock sees are those that were asked for."""
    server.play(UNANSWERED)
    said = say(way, **values)

    error = told(dial(server, **said.arguments), server, said)

    assert pauses == pytest.approx(waited)
    assert [attempt.delay for attempt in attempts_of(error)[:-1]] == pytest.approx(waited)


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR])
def test_connect_timeout(server, dial, say, way):
    """A handshake that takes longer has timed out; the server has not seen the request."""
    server.play(Script(handshake_delay=SLOW))
    said = say(way, connect_timeout=SHORT_TIMEOUT)

    with override(retries=0):
        error = told(dial(server, **said.arguments), server, said)

    assert isinstance(error, requests.Timeout)
    assert attempts_of(error)[-1].stage == "handshake"
    assert server.counts().requests == 0


@pytest.mark.parametrize("values", [{}, {"connect_timeout": LONG_TIMEOUT}, {"read_timeout": SHORT_TIMEOUT}])
def test_a_slow_handshake_is_waited_for_otherwise(server, dial, say, values):
    """The control: by default, with a longer time-out, and with a short one between bytes."""
    server.play(Script(handshake_delay=SLOW))
    response = told(dial(server, **values), server, say(None))

    assert response.ok


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR])
@pytest.mark.parametrize("stream", [False, True])
def test_read_timeout(server, dial, say, way, stream):
    """An answer that takes longer has timed out."""
    server.play(Script(response_delay=SLOW))
    said = say(way, read_timeout=SHORT_TIMEOUT)

    with override(retries=0):
        error = told(dial(server, **said.arguments), server, said, stream=stream)

    assert isinstance(error, requests.ReadTimeout)
    assert attempts_of(error)[-1].stage == "request"


@pytest.mark.parametrize("values", [{}, {"read_timeout": None}, {"connect_timeout": SHORT_TIMEOUT}])
def test_a_slow_answer_is_waited_for_otherwise(server, dial, say, values):
    """The control: by default, without a limit, and with a short time-out to connect."""
    server.play(Script(response_delay=SLOW))
    response = told(dial(server, **values), server, say(None))

    assert response.ok


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR])
def test_read_timeout_in_the_middle_of_a_body(server, dial, say, way):
    """It counts between two bytes of the body, too."""
    server.play(Script((Rule(Fault(Moment.BODY, How.STALL, after_bytes=10)),)))
    said = say(way, read_timeout=SHORT_TIMEOUT)

    with override(retries=0):
        error = told(dial(server, **said.arguments), server, said, path="/bytes/5000")

    assert attempts_of(error)[-1].stage == "body"
    assert "timed out" in str(error)


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR, None])
def test_read_timeout_while_sending(server, dial, say, way):
    """A server that reads no more is given up after it; by default one waits until the server has closed."""
    stalls = LONG_TIMEOUT if way else 2 * SLOW
    server.play(Script((Rule(Fault(Moment.UPLOAD, How.STALL, after_bytes=1, seconds=stalls)),)))
    said = say(way, read_timeout=SHORT_TIMEOUT)

    with override(retries=0):
        error = told(dial(server, **said.arguments), server, said, "PUT", "/echo", data=LARGE)

    waited = attempts_of(error)[-1].seconds
    assert isinstance(error, requests.ConnectionError | requests.Timeout)
    assert waited < stalls if way else waited >= stalls
    assert ("TimeoutError" in attempts_of(error)[-1].error) == (way is not None)


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR, BLOCK])
def test_deadline(server, dial, say, way):
    """A call that takes longer is over, whatever its time-outs are."""
    server.play(Script(response_delay=SLOW))
    said = say(way, deadline=SHORT_TIMEOUT)

    error = told(dial(server, **said.arguments), server, said, timeout=LONG_TIMEOUT)

    assert isinstance(error, DeadlineExceeded)
    assert len(attempts_of(error)) == 1


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR, BLOCK])
def test_a_longer_deadline(server, dial, say, way):
    """The control: the same call within its deadline."""
    server.play(Script(response_delay=SLOW))
    said = say(way, deadline=LONG_TIMEOUT)

    assert told(dial(server, **said.arguments), server, said).ok


@pytest.mark.parametrize("way", [ENVIRONMENT, CONSTRUCTOR, BLOCK])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_retry_non_idempotent(server, dial, say, pauses, way, method):
    """The server executes a POST as often as it takes, since somebody has said that it may."""
    server.play(UNANSWERED)
    said = say(way, retry_non_idempotent=True)

    told(dial(server, **said.arguments), server, said, method, data=b"x")

    assert executed(server) == 6


@pytest.mark.parametrize("way", [None, ENVIRONMENT, CONSTRUCTOR, BLOCK])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_post_is_executed_once_otherwise(server, dial, say, pauses, way, method):
    """The control: nobody has said so, or somebody has said no."""
    server.play(UNANSWERED)
    said = say(way, retry_non_idempotent=False)

    told(dial(server, **said.arguments), server, said, method, data=b"x")

    assert executed(server) == 1


#: A setting; what the environment, the constructor and the call say; and how it is looked at.
ORDER = {
    "retries": (1, 2, 3),
    "retry_non_idempotent": (True, False, True),
}


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("said_by", [0, 1, 2, 3])
def test_call_constructor_environment_default(server, dial, environment, pauses, name, said_by):
    """Each is stronger than what comes after it, by what the server has executed."""
    server.play(UNANSWERED)
    values = ORDER[name]
    if said_by >= 1:
        environment(**{name: values[0]})
    session = dial(server, **(arguments(**{name: values[1]}) if said_by >= 2 else {}))
    block = override(**{name: values[2]}) if said_by == 3 else override()
    method = "GET" if name == "retries" else "POST"
    with block, pytest.raises(requests.ConnectionError):
        session.request(method, server.url, headers={"X-Request-Id": "one"})
    expected = {"retries": (6, 2, 3, 4), "retry_non_idempotent": (1, 6, 1, 6)}[name]

    assert executed(server) == expected[said_by]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["connect_timeout", "read_timeout"])
@pytest.mark.parametrize(
    ("from_environment", "given", "of_call", "ends"),
    [
        (None, None, None, False),
        (SHORT_TIMEOUT, None, None, True),
        (SHORT_TIMEOUT, LONG_TIMEOUT, None, False),
        (LONG_TIMEOUT, SHORT_TIMEOUT, None, True),
        (SHORT_TIMEOUT, SHORT_TIMEOUT, LONG_TIMEOUT, False),
        (LONG_TIMEOUT, LONG_TIMEOUT, SHORT_TIMEOUT, True),
    ],
)
def test_the_order_for_time_outs(server, dial, environment, kind, from_environment, given, of_call, ends):
    """The call's `timeout=`, then the constructor, then the environment, then the default."""
    server.play(Script(**{"handshake_delay" if kind == "connect_timeout" else "response_delay": SLOW}))
    said = environment(**({kind: from_environment} if from_environment else {}))
    session = dial(server, **({kind: given} if given else {}), max_retries=0)

    outcome = told(session, server, said, timeout=of_call)

    assert isinstance(outcome, requests.Timeout) == ends
    assert server.counts().executed == (0 if ends and kind == "connect_timeout" else 1)


@pytest.mark.parametrize(("from_environment", "given"), [(SHORT_TIMEOUT, LONG_TIMEOUT), (LONG_TIMEOUT, None)])
def test_a_deadline_of_the_constructor_is_stronger(server, dial, environment, from_environment, given):
    """A longer one, or none at all, takes the place of the environment's."""
    server.play(Script(response_delay=SLOW))
    said = environment(deadline=from_environment)

    assert told(dial(server, policy=RetryPolicy(deadline=given)), server, said).ok
