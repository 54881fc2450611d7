"""What was not repeated, or not called at all, is counted by what has refused it."""

import pytest

from resilient_transport import Breaker, RetryPolicy, override
from resilient_transport.call.origin_state import state_of
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.end_to_end.hearing import attempted, grown
from tests.timeouts import SHORT_TIMEOUT

FAST = {"backoff": 0.001, "backoff_max": 0.001}
ONE = RetryPolicy(retries=1, **FAST)
BROKEN = Script((Rule(Fault(Moment.EXECUTED)),))


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def open_circuit(server, dial):
    """Have a call refused by an open circuit."""
    session = dial(server, policy=RetryPolicy(breaker=Breaker(failures=1), **FAST))
    session.get(server.url + "/status/500")
    attempted(session, "GET", server.url)


def no_quota(server, dial):
    """Have a call refused by an empty quota."""
    session = dial(server, policy=ONE)
    session.get(server.url)
    state_of(server.url).quota.tokens = 0
    attempted(session, "GET", server.url + "/status/503")


def no_time(server, dial):
    """Have a repetition refused by a deadline."""
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.STALL)),)))
    with override(deadline=SHORT_TIMEOUT):
        attempted(dial(server, policy=ONE), "GET", server.url)


def stranger(server, dial):
    """Show a certificate that is refused."""
    session = dial(server)
    session.cert = server.authority.stranger_client
    attempted(session, "GET", server.url)


def spent(server, dial):
    """Send a body that cannot be sent again."""
    server.play(BROKEN)
    attempted(dial(server), "PUT", server.url + "/echo", data=iter([b"x", b"y"]))


def limited(server, dial):
    """Use up what repetitions there are."""
    server.play(BROKEN)
    attempted(dial(server, policy=ONE), "GET", server.url)


def unsafe(server, dial):
    """Lose a POST."""
    server.play(BROKEN)
    attempted(dial(server), "POST", server.url)


REFUSALS = {
    "limit": (limited, {"request": 2}, 1),
    "not repeatable": (unsafe, {"request": 1}, 0),
    "lasting": (stranger, {"request": 1}, 0),
    "deadline": (no_time, {"request": 1}, 0),
    "quota": (no_quota, {"status": 1}, 0),
    "circuit": (open_circuit, {}, 0),
    "body": (spent, {"request": 1}, 0),
    "retry-after": (
        lambda server, dial: dial(server).get(server.url + "/status/503?retry_after=61"),
        {"status": 1},
        0,
    ),
    "misdirected": (lambda server, dial: dial(server).get(server.url + "/status/421"), {"status": 2}, 1),
    "disabled": (
        lambda server, dial: attempted(dial(server, disable=[server.url]), "GET", server.url),
        {},
        0,
    ),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_refusals_by_reason(server, dial, reason):
    """What was not repeated, or not called, is counted by what refused it; once."""
    act, failures, retries = REFUSALS[reason]
    act(server, dial)
    expected = {"failures": failures, "retries": retries, "repetitions_not_made": {reason: 1}}

    assert grown(server) == {name: value for name, value in expected.items() if value}


@pytest.mark.parametrize("path", ["/words/3", "/status/404", "/status/500", "/redirect?to=/words/3"])
def test_an_answer_is_no_refusal(server, dial, path):
    """The control: what is not to be repeated is refused by nobody."""
    dial(server).post(server.url + path, data=b"x")

    assert grown(server) == {}
