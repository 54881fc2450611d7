"""An attempt has a time of its own: what takes longer is a time-out, and is repeated like one."""

import pytest
import requests

from resilient_transport import DeadlineExceeded, RetryPolicy, attempts_of
from tests.call.test_deadline import DONE, LATE, SLACK
from tests.end_to_end.slow_calls import CASES, OK, context_of, dial, overrun
from tests.end_to_end.slow_peers import PACE, Dripping
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

#: What takes for ever, and how stock would call a time-out there.
FAILURES = {
    "resolver": requests.ConnectionError,
    "full queue": requests.ConnectTimeout,
    "10 full queues": requests.ConnectTimeout,
    "stalled handshake": requests.ReadTimeout,
    "dripping handshake": requests.ReadTimeout,
    "silence, http": requests.ReadTimeout,
    "silence, https": requests.ReadTimeout,
    "dripping head, http": requests.ReadTimeout,
    "dripping head, https": requests.ReadTimeout,
    "103 for ever, http": requests.ReadTimeout,
    "body, sized, http": requests.ConnectionError,
    "body, chunks, https": requests.ConnectionError,
    "body, gzip, http": requests.ConnectionError,
}


class SlowAtFirst(Dripping):
    """Is slow on its first connection only."""

    def talk(self, client):
        """Answer slowly, or at once."""
        if self.accepts == 1:
            super().talk(client)
        while self.head_from(client):
            client.sendall(DONE)


def attempting(authority, **policy):
    """A session whose attempts may take SHORT_TIMEOUT, without pauses between them."""
    return dial(authority, attempt_timeout=SHORT_TIMEOUT, backoff=0.0, **policy)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAILURES if name in CASES])
def test_an_attempt_that_takes_too_long_is_a_time_out(authority, name):
    """From the name to the whole response: it ends, is repeated once, and is told as stock would."""
    case = CASES[name]
    with case.peer(context_of(authority)) as peer, attempting(authority) as session:
        late, error = overrun(lambda: case.call(session, peer), within=2 * SHORT_TIMEOUT)

    assert isinstance(error, FAILURES[name])
    assert not isinstance(error, DeadlineExceeded)
    assert len(attempts_of(error)) == 2
    assert -SLACK <= late < LATE


@pytest.mark.parametrize("first", [b"", OK + b"X-Drip: ", OK + b"Content-Length: 9999\r\n\r\n"])
def test_the_next_attempt_may_be_quicker(authority, first):
    """What drips once, in its head or in its body, costs an attempt and not the call."""
    with SlowAtFirst(first) as peer, attempting(authority) as session:
        response = session.get(peer.url)

    assert response.ok
    assert len(attempts_of(response)) == 2


@pytest.mark.parametrize(("name", "attempts"), [("dripping head, http", 1), ("stalled handshake", 2)])
def test_a_post_is_repeated_only_before_its_first_byte(authority, name, attempts):
    """An attempt that was too slow is judged by how far it got, like any other."""
    with CASES[name].peer(None) as peer, attempting(authority) as session:
        _, error = overrun(lambda: session.post(peer.url, data=b"x"))

    assert len(attempts_of(error)) == attempts


def test_a_stream_may_take_longer_than_its_attempt(authority):
    """With stream=True the attempt is over with the head of the response."""
    drops = round(2 * SHORT_TIMEOUT / PACE)
    head = OK + b"Content-Length: %d\r\n\r\n" % drops
    with Dripping(head, drops=drops) as peer, attempting(authority) as session:
        response = session.get(peer.url, stream=True)
        body = response.content

    assert body == b"x" * drops
    assert len(attempts_of(response)) == 1


@pytest.mark.parametrize(
    ("attempt", "deadline", "attempts"),
    [(LONG_TIMEOUT, SHORT_TIMEOUT, 1), (4 * SHORT_TIMEOUT, 6 * SHORT_TIMEOUT, 2)],
)
def test_the_deadline_bounds_the_attempts(authority, attempt, deadline, attempts):
    """An attempt has its time-out or what is left of the call, whichever is less."""
    case = CASES["dripping head, http"]
    policy = {"attempt_timeout": attempt, "deadline": deadline, "backoff": 0.0}
    with case.peer(None) as peer, dial(authority, **policy) as session:
        late, error = overrun(lambda: case.call(session, peer), within=deadline)

    assert isinstance(error, DeadlineExceeded)
    assert len(attempts_of(error)) == attempts
    assert -SLACK <= late < LATE


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (True, TypeError), ("1", TypeError)])
def test_what_is_no_number_of_seconds_is_refused(value, error):
    """The setting is checked as the deadline is."""
    with pytest.raises(error, match="attempt_timeout is a"):
        RetryPolicy(attempt_timeout=value)
