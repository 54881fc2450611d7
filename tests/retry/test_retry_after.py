"""What a Retry-After field asks for: values in, values out, and a pause of at least as long on the wire."""

import pytest
import requests

from resilient_transport import ResilientAdapter, RetryPolicy
from resilient_transport.retry.retry_after import retry_after
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told

NOW = 1_000_000_000.0
#: The same moment, 7 s later, in the three forms of RFC 9110 section 5.6.7.
DATES = ("Sun, 09 Sep 2001 01:46:47 GMT", "Sunday, 09-Sep-01 01:46:47 GMT", "Sun Sep  9 01:46:47 2001")


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("2", 2),
        ("0", 0),
        (" 2 ", 2),
        ("1.5", 2),
        ("2.0", 2),
        ("0.001", 1),
        ("2s", 2),
        ("2 s", 2),
        ("1.2S", 2),
        ("30 seconds", 30),
        ("2, 2", 2),
        ("2,2,2", 2),
        ("1.5, 1.5", 2),
        *((date, 7) for date in DATES),
        (f"{DATES[0]}, {DATES[0]}", 7),
        ("Sun, 09 Sep 2001 01:46:30 GMT", 0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("2, 3", None),
        ("1.5.5", None),
        ("2 minutes", None),
        ("1e3", None),
        ("\N{ARABIC-INDIC DIGIT TWO}", None),
    ],
)
def test_what_is_asked_for(field, seconds):
    """In whole seconds, rounded up, in every form that is met."""
    assert retry_after(field, clock=lambda: NOW) == seconds


def test_a_moment_is_by_the_clock_of_the_server():
    """Its Date says how late it is there; without one our clock has to do, and what is begun counts."""
    assert retry_after(DATES[0], "Sun, 09 Sep 2001 01:46:44 GMT", lambda: 0.0) == 3
    assert retry_after(DATES[0], None, lambda: NOW + 0.5) == 7


@pytest.mark.parametrize("field", ["1.5", "2s", " 2 ", "2, 2", "2.0"])
def test_a_pause_is_at_least_as_long(field, monkeypatch):
    """The call sleeps for what the server has asked for; the control: without the field it does not."""
    pauses = []
    monkeypatch.setattr("resilient_transport.call.loop.sleep", pauses.append)
    busy = {"Content_Length": "0"}
    answers = [
        Answer(told("429 Slow", b"", Retry_After=field, **busy)),
        Answer(told("429 Slow", b"", **busy)),
        Answer(told("204 Good", b"")),
    ]
    with VerbatimServer(answers) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(policy=RetryPolicy(backoff=0)))

        assert session.get(server.url).status_code == 204

    assert pauses == [2, 0]
