"""What happened in a call, as values that tell a story and hold no secrets."""

import json
import pickle
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests

from resilient_transport import Attempt, attempts_of, events
from resilient_transport.events import AttemptFailed
from resilient_transport.events.attempt import Attempts
from resilient_transport.util.origin import path_at

FAILED = Attempt(
    number=1,
    stage="handshake",
    error="ConnectionResetError: Connection reset by peer",
    status=None,
    bytes_out=0,
    bytes_in=0,
    reused=False,
    tls_resumed=False,
    body_resumed=False,
    shared=False,
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
        (False, True, "(new connection, TLS session resumed"),
        (True, False, "(reused connection"),
        (True, True, "(reused connection"),
    ],
)
def test_an_attempt_says_what_it_went_over(reused, resumed, word):
    """A connection that was there, one with a resumed TLS session, or a new one."""
    assert word in str(FAILED._replace(reused=reused, tls_resumed=resumed))


def test_an_attempt_that_opened_nothing_says_so():
    """It shared the failure of another call, and counts as that."""
    assert "(no connection of its own: another call's failure, 0 bytes" in str(FAILED._replace(shared=True))


STORY = "\n".join(
    (
        "2 attempts in 0.012 s, the last at stage done: 200",
        "attempt 1: ConnectionResetError: Connection reset by peer at stage handshake after 0.012 s "
        "(new connection, 0 bytes",
        "    out, 0 in);",
        "    sent again after 0.050 s: reset",
        "attempt 2: status 200 at stage done after 0.012 s (reused connection, 120 bytes out, 64 in);",
        "    the response was handed out",
    )
)


def test_attempts_tell_the_story():
    """One line sums it up, then they come in their order; without any there is no story."""
    assert str(Attempts([FAILED, ANSWERED])) == STORY
    assert str(Attempts()) == ""


def numbered(first, last, **values):
    """Return attempts that are alike but for their numbers and times."""
    return [
        FAILED._replace(number=n, started=float(n), decision=f"sent again after 0.{n:03} s: reset", **values)
        for n in range(first, last + 1)
    ]


@pytest.mark.parametrize(
    ("attempts", "lines"),
    [
        (numbered(1, 1), ["attempt 1:"]),
        (numbered(1, 2), ["attempt 1:", "attempt 2: alike"]),
        (numbered(1, 13), ["attempt 1:", "attempts 2\u201313: alike"]),
        (
            numbered(1, 3) + numbered(4, 5, stage="connect"),
            ["attempt 1:", "attempts 2\u20133: alike", "attempt 4:", "attempt 5: alike"],
        ),
        (
            numbered(1, 2) + numbered(60, 62),
            [
                "attempt 1:",
                "attempt 2: alike",
                "... 57 attempts more ...",
                "attempt 60:",
                "attempts 61\u201362: alike",
            ],
        ),
        (numbered(1, 1) + numbered(2, 2, shared=True), ["attempt 1:", "attempt 2:"]),
    ],
)
def test_attempts_that_are_alike_are_folded(attempts, lines):
    """What differs is told; and so is what is missing in the middle."""
    told = [line for line in str(Attempts(attempts)).splitlines()[1:] if not line.startswith("    ")]

    assert len(told) == len(lines)
    assert all(line.startswith(begin) for line, begin in zip(told, lines, strict=True))


def test_no_line_of_a_story_is_too_long():
    """However long the words are, and one word alone."""
    long = FAILED._replace(error="ValueError: " + "x" * 300, decision="because " * 100)

    assert max(map(len, str(Attempts([long])).splitlines())) < 120


def test_attempts_and_events_have_names_in_json():
    """Their fields by name; a hook can write them to a file as they are."""
    event = AttemptFailed("https://api.test", 7, "GET", FAILED)
    told = json.loads(json.dumps([Attempts([FAILED, ANSWERED]).as_dicts(), event.as_dict()]))

    assert told[0][0]["error"] == FAILED.error
    assert told[0][1]["tls_resumed"] is False
    assert told[1]["event"] == "AttemptFailed"
    assert told[1]["attempt"] == FAILED.as_dict()


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
    assert str(attempts) == STORY


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


def test_the_page_lists_every_event():
    """Each class that hooks may be shown is named there."""
    kinds = {
        name for name, one in vars(events).items() if isinstance(one, type) and issubclass(one, events.Event)
    }
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")

    assert "ClientCertificateRefused" in kinds
    assert {name for name in kinds - {"Event", "CallEvent"} if f"`{name}`" not in page} == set()


@pytest.mark.parametrize(
    "event",
    [
        events.AttemptStarted("https://a.example", 7, "GET", 1, True, path="/a"),
        events.GaveUp("https://a.example", 7, "GET", FAILED, "ConnectionError", 0.5, path="/a"),
        events.ClientCertificateRefused(
            "https://a.example", 7, "GET", ANSWERED, "400 ...", "none was shown."
        ),
        events.CircuitClosed("https://a.example"),
    ],
)
def test_an_event_knows_its_thread_and_survives_a_pickle(event):
    """Its own fields keep their places; path and thread go by their names."""
    assert event.thread == threading.current_thread().name
    assert pickle.loads(pickle.dumps(event)) == event
    assert hash(event) == hash(pickle.loads(pickle.dumps(event)))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://a.example/b/c?d=s3cret#s3cret", "/b/c"),
        ("https://user:s3cret@a.example/b;c=d", "/b;c=d"),
        ("https://user:s3cret@a.example", "/"),
        ("https://a.example?d=s3cret/e", "/"),
        ("https://a.example#s3cret/e", "/"),
        ("https://[::1]:8443/b", "/b"),
        ("https://a.example/b?c=https://user:s3cret@d.example/e", "/b"),
        ("nothing at all", "/"),
        ("", "/"),
    ],
)
def test_a_path_has_no_query_and_no_credentials(url, path):
    """Whatever the URL."""
    assert path_at(url) == path
