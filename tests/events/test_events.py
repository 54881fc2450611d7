"""What happened in a call, as values that tell a story and hold no secrets."""

import pickle
from types import SimpleNamespace

import pytest
import requests

from resilient_transport import Attempt, attempts_of
from resilient_transport.events.attempt import Attempts

FAILED = Attempt(
    number=1,
    stage="handshake",
    error="ConnectionResetError: Connection reset by peer",
    status=None,
    bytes_out=0,
    bytes_in=0,
    reused=False,
    resumed=False,
    started=0.0,
    seconds=0.0123,
    connecting=0.0,
    delay=0.05,
    decision="sent again after 0.050 s: reset",
)
ANSWERED = FAILED._replace(
    number=2,
    stage="done",
    error=None,
    status=200,
    bytes_out=120,
    bytes_in=64,
    reused=True,
    delay=None,
    decision="the response was handed out",
)


def test_an_attempt_tells_itself_in_a_line():
    """A failure by its error, an answer by its status; how far it got, how long it took, what it moved."""
    assert str(FAILED) == (
        "attempt 1: ConnectionResetError: Connection reset by peer at stage handshake after 0.012 s "
        "(new connection, 0 bytes out, 0 in); sent again after 0.050 s: reset"
    )
    assert str(ANSWERED) == (
        "attempt 2: status 200 at stage done after 0.012 s "
        "(reused connection, 120 bytes out, 64 in); the response was handed out"
    )


@pytest.mark.parametrize(
    ("reused", "resumed", "word"),
    [
        (False, False, "(new connection"),
        (False, True, "(resumed connection"),
        (True, False, "(reused connection"),
        (True, True, "(reused connection"),
    ],
)
def test_an_attempt_says_what_it_went_over(reused, resumed, word):
    """A connection that was there, one with a resumed TLS session, or a new one."""
    assert word in str(FAILED._replace(reused=reused, resumed=resumed))


def test_attempts_tell_the_story_a_line_each():
    """In their order; without any there is no story."""
    assert str(Attempts([FAILED, ANSWERED])) == f"{FAILED}\n{ANSWERED}"
    assert str(Attempts()) == ""


def test_attempts_are_a_tuple():
    """They can be counted, indexed, compared and unpacked, and nothing can be added to them."""
    attempts = Attempts([FAILED, ANSWERED])
    first, second = attempts

    assert (first, second, len(attempts), attempts[-1]) == (FAILED, ANSWERED, 2, ANSWERED)
    assert attempts == (FAILED, ANSWERED)
    with pytest.raises(AttributeError):
        attempts.secret = "x"


def test_attempts_survive_a_pickle():
    """As what they were, on their way between processes."""
    attempts = pickle.loads(pickle.dumps(Attempts([FAILED, ANSWERED])))

    assert attempts == Attempts([FAILED, ANSWERED])
    assert type(attempts) is Attempts
    assert str(attempts) == f"{FAILED}\n{ANSWERED}"


def test_an_attempt_is_frozen():
    """What happened stays as it was."""
    with pytest.raises(AttributeError):
        FAILED.number = 7


@pytest.mark.parametrize("outcome", [requests.Response(), requests.ConnectionError("x"), SimpleNamespace()])
def test_attempts_are_found_on_what_came_of_a_call(outcome):
    """On a response as on an exception."""
    outcome.attempts = Attempts([FAILED])

    assert attempts_of(outcome) == Attempts([FAILED])


@pytest.mark.parametrize("outcome", [None, requests.Response(), ValueError("x"), SimpleNamespace(attempts=3)])
def test_what_this_transport_did_not_make_has_no_attempts(outcome):
    """The control: nothing is found there, and somebody else's `attempts` are not taken for these."""
    assert attempts_of(outcome) == Attempts()
    assert type(attempts_of(outcome)) is Attempts
