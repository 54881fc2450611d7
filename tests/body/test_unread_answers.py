"""An answer that nobody will see is not waited for: its call is repeated all the same."""

import time

import pytest
import requests

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of
from resilient_transport.retry.breaker import Breaker
from tests.call.test_deadline import LATE
from tests.end_to_end.slow_calls import context_of
from tests.end_to_end.slow_peers import PACE, Slow
from tests.end_to_end.verbatim_server import STALL, Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

OK = told("200 OK", b"ok", Content_Length="2")
#: A small body of which two bytes come.
STALLED = Answer(told("503 Busy", b"xx", Content_Length="100"), STALL)
POLICIES = {
    "usual": {},
    "short attempts": {"attempt_timeout": SHORT_TIMEOUT},
    "long attempts": {"attempt_timeout": LONG_TIMEOUT},
    "deadline": {"deadline": LONG_TIMEOUT},
    "breaker": {"breaker": Breaker()},
}


def fetched(session, url, stream):
    """Return a response, its body, and how long both took."""
    began = time.monotonic()
    with session.get(url, stream=stream) as response:
        return response, response.content, time.monotonic() - began


@pytest.fixture
def dialled(authority):
    """Return a session that waits long between two bytes, and repeats without a pause."""
    with requests.Session() as session:
        session.trust_env, session.verify = False, authority.ca_file

        def put(**policy):
            settings = RetryPolicy(retries=1, backoff=0.0, **policy)
            adapter = ResilientAdapter(read_timeout=LONG_TIMEOUT, policy=settings)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            return session

        yield put


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_body_that_stalls_holds_up_no_repetition(authority, dialled, policy, secure):
    """A streamed 503 with two of its hundred bytes is let go at once, and the second answer is handed out."""
    context = context_of(authority) if secure else None
    with VerbatimServer([STALLED, Answer(OK)], context=context) as verbatim:
        response, body, took = fetched(dialled(**POLICIES[policy]), verbatim.url, True)

    assert (response.status_code, body) == (200, b"ok")
    assert [attempt.status for attempt in attempts_of(response)] == [503, 200]
    assert took < LATE


class Dripping503(Slow):
    """Its first answer is a 503 whose small body takes for ever, although bytes keep coming."""

    def talk(self, client):
        """Answer, slowly at first."""
        while self.head_from(client):
            if self.requests > 1:
                client.sendall(OK)
                continue
            client.sendall(told("503 Busy", b"", Content_Length="10000"))
            self.drip(client, [b"x"] * 10000)
            return


@pytest.mark.parametrize("policy", POLICIES)
def test_a_body_that_drips_holds_up_no_repetition(dialled, policy):
    """A byte now and then is no reason to wait on."""
    with Dripping503() as peer:
        response, body, took = fetched(dialled(**POLICIES[policy]), peer.url, True)

    assert PACE < LATE
    assert (response.status_code, body) == (200, b"ok")
    assert took < LATE


@pytest.mark.parametrize("secure", [False, True])
def test_a_body_that_is_there_keeps_its_connection(authority, dialled, secure):
    """The control: a small one that has come in whole is read, and its connection is used again."""
    busy = Answer(told("503 Busy", b"x" * 100, Content_Length="100"))
    context = context_of(authority) if secure else None
    with VerbatimServer([busy, Answer(OK)], context=context) as verbatim:
        response, body, _ = fetched(dialled(), verbatim.url, True)
        accepts = verbatim.accepts

    assert (response.status_code, body) == (200, b"ok")
    assert accepts == 1


def test_the_repetition_is_not_hurried(dialled):
    """Only the body that nobody sees is hurried: the next answer on its connection has all of its time."""

    class Late(Slow):
        def talk(self, client):
            while self.head_from(client):
                if self.requests == 1:
                    client.sendall(told("503 Busy", b"xx", Content_Length="2"))
                    continue
                client.sendall(told("200 OK", b"", Content_Length="2"))
                self._over.wait(SHORT_TIMEOUT)
                client.sendall(b"ok")

    with Late() as peer:
        response, body, took = fetched(dialled(), peer.url, True)
        accepts = peer.accepts

    assert (response.status_code, body, accepts) == (200, b"ok", 1)
    assert took >= SHORT_TIMEOUT


def test_an_attempt_needs_some_time():
    """No attempt can be made within no seconds: that is refused, as a time-out of 0 is."""
    with pytest.raises(ValueError, match="attempt_timeout is over 0"):
        RetryPolicy(attempt_timeout=0)
