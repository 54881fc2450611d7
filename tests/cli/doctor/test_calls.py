"""Calls by stock requests and by the adapter: what they met, and at which step."""

import pytest
import requests
from urllib3.exceptions import MaxRetryError, ProtocolError, ReadTimeoutError

from resilient_transport.cli.doctor.allowance import BudgetSpent
from resilient_transport.cli.doctor.failed_at import innermost
from resilient_transport.cli.doctor.line import MOST_BYTES
from resilient_transport.cli.doctor.program_calls import (
    OURS,
    STOCK,
    Call,
    calls,
    compared,
    hollow,
    takes_long,
    usual,
)
from resilient_transport.cli.doctor.target import UnusableTarget
from resilient_transport.events.attempt import Attempts
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.visits import visit_to
from tests.timeouts import SHORT_TIMEOUT


def call(error=None, phase=Phase.FIRST_BYTE, cause=Cause.RESET, transport=STOCK, status=200, body=2):
    """A call with what came of it."""
    if error is None:
        return Call(transport, status, None, None, Attempts(), 0.0, body)
    return Call(transport, None, error, cause, Attempts(), 0.0, phase=phase)


def faulty(*arguments, first=None, **fields):
    """A script with one fault that strikes each connection, or the first ones."""
    return Script((Rule(Fault(*arguments, **fields), first=first),))


@pytest.mark.parametrize(
    ("script", "phase", "cause", "error"),
    [
        (faulty(Moment.CLIENT_HELLO), Phase.HANDSHAKE, Cause.RESET, "ConnectionResetError"),
        (faulty(Moment.CLIENT_HELLO, How.STALL), Phase.HANDSHAKE, Cause.TIMEOUT, "TimeoutError"),
        (faulty(Moment.REQUEST, How.FIN), Phase.FIRST_BYTE, Cause.RESET, "RemoteDisconnected"),
        (faulty(Moment.REQUEST, How.STALL), Phase.FIRST_BYTE, Cause.TIMEOUT, "TimeoutError"),
        (faulty(Moment.BODY, How.FIN, after_bytes=10), Phase.BODY, Cause.RESET, "IncompleteRead"),
        (faulty(Moment.BODY, How.STALL, after_bytes=10), Phase.BODY, Cause.TIMEOUT, "TimeoutError"),
        (faulty(Moment.BODY, How.CORRUPT, after_bytes=10), Phase.BODY, Cause.DAMAGED, "SSLError"),
    ],
)
def test_stock_tells_what_it_met_and_where(server, plain, script, phase, cause, error):
    """What is told is no wrapper of requests', and the step is that of the fault."""
    where = server if script.rules[0].fault.needs_tls else plain
    where.play(script)
    timeout = SHORT_TIMEOUT if script.rules[0].fault.how is How.STALL else 10.0

    (made,) = calls(visit_to(where, "/bytes/5000", timeout=timeout), STOCK, 1)

    assert (made.phase, made.cause, made.status) == (phase, cause, None)
    assert made.error.startswith(error)


def test_the_adapter_tells_the_same_by_its_attempts(plain):
    """A call that the adapter gives up says at which step the last attempt has failed."""
    plain.play(faulty(Moment.REQUEST, How.FIN))

    (made,) = calls(visit_to(plain), OURS, 1)

    assert (made.phase, made.cause, made.error) == (Phase.FIRST_BYTE, Cause.RESET, "RemoteDisconnected")


def test_no_secret_is_told(plain):
    """The error and the row of a call hold neither the query nor the credentials of the URL."""
    plain.play(faulty(Moment.REQUEST))
    visit = visit_to(plain, "/bytes/10?token=geheim")

    (made,) = calls(visit, STOCK, 1)

    assert "geheim" not in repr(made) + repr(visit.charts()) + repr(visit.target)


def test_calls_in_a_row_stop_at_silence(plain):
    """Two that are silent are enough; the requests that were not made may be made later."""
    plain.play(faulty(Moment.REQUEST, How.STALL))
    visit = visit_to(plain, timeout=SHORT_TIMEOUT)

    made = calls(visit, STOCK, 8)

    assert len(made) == visit.budget.requests == 2


def test_calls_in_a_row_go_on_after_a_failure(plain):
    """A reset is told at once, so all of them are made."""
    plain.play(faulty(Moment.REQUEST, first=3))

    made = calls(visit_to(plain), STOCK, 8)

    assert [one.error is None for one in made] == [False] * 3 + [True] * 5


def test_repetitions_are_counted(plain):
    """What the adapter sends again counts, too."""
    plain.play(faulty(Moment.REQUEST, first=2))
    visit = visit_to(plain)

    calls(visit, OURS, 2)

    assert visit.budget.requests == plain.counts().requests == 4


def test_calls_together_overlap(server):
    """All begin at once, each with a connection of its own."""
    server.play(Script(handshake_delay=0.05))

    made = calls(visit_to(server), STOCK, 4, together=True)

    assert [one.status for one in made] == [200] * 4
    assert server.counts().in_flight_max > 1


def test_more_than_is_left_is_refused(plain):
    """The budget has the last word, before anything is sent."""
    visit = visit_to(plain)
    visit.budget.request(visit.budget.left - 1)
    plain.play(Script())

    with pytest.raises(BudgetSpent):
        calls(visit, STOCK, 2)

    assert plain.counts().accepts == 0


def test_a_wait_that_the_plain_asks_for_is_bounded(plain):
    """The adapter would heed a Retry-After; here the call ends within a few steps."""
    plain.play(Script())

    (made,) = calls(visit_to(plain, "/status/503?retry_after=60", timeout=SHORT_TIMEOUT), OURS, 1)

    assert made.seconds < 60
    assert plain.counts().requests == 1


def test_wrappers_are_taken_off():
    """requests and urllib3 hold what they met in three different places."""
    reset = ConnectionResetError(104, "Connection reset by peer")
    wrapped = requests.ConnectionError(MaxRetryError(None, "/", ProtocolError("aborted", reset)))
    late = ReadTimeoutError(None, "/", "late")
    late.__cause__ = TimeoutError("timed out")

    assert innermost(wrapped) is reset
    assert innermost(requests.ReadTimeout(late)) is late.__cause__
    assert innermost(requests.exceptions.InvalidURL("no")).args == ("no",)


def test_the_usual_failure_is_told():
    """Of several, the step and the cause that most have; of calls that work nothing is asked."""
    made = [call("A", Phase.HANDSHAKE), call("B", Phase.BODY), call("C", Phase.BODY)]

    assert usual(made) == (Phase.BODY, Cause.RESET, "B")


def test_an_empty_body_counts_as_lost_where_others_are_full():
    """Stock takes a cut head for a whole response; a page without a body is none."""
    empty, full = call(body=0), call(transport=OURS)

    assert hollow([empty, call()], [full]) == [empty]
    assert hollow([empty], [call(body=0, transport=OURS)]) == []
    assert compared([empty, call()], [full]) == (
        "Stock requests: 1 of 2 calls failed. This adapter: 0 of 1 calls failed."
    )
    assert compared([], []) == ""


def test_repetitions_stay_within_the_limit(plain):
    """A row ends where the repetitions of one more call might go beyond it."""
    plain.play(faulty(Moment.REQUEST, How.FIN))
    visit = visit_to(plain)
    visit.budget.request(visit.budget.left - 12)

    made = calls(visit, OURS, 8)

    assert len(made) < 8
    assert plain.counts().requests <= 12


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ([call("A", cause=Cause.TIMEOUT)] * 2, True),
        ([call(status=503)] * 8, True),
        ([call(status=503), call()], False),
        ([call("A", cause=Cause.TIMEOUT), call()], False),
        ([call(status=404)] * 8, False),
        ([call("A")] * 8, False),
    ],
)
def test_what_the_adapter_would_wait_for_takes_long(made, expected):
    """Silence, and statuses that it repeats; a reset is repeated at once."""
    assert takes_long(made) is expected


def test_what_no_call_can_be_made_with_is_raised(plain):
    """A session that cannot be made is no failure of the network's, in a row or together."""
    visit = visit_to(plain)

    def broken():
        raise UnusableTarget("no session")

    visit.new_session = broken
    for together in (False, True):
        with pytest.raises(UnusableTarget):
            calls(visit, STOCK, 2, together=together)


@pytest.mark.parametrize("together", [False, True])
def test_no_call_repeats_more_than_there_is_left(plain, together):
    """A body that is resumed again and again would send hundreds of requests. The control: it comes whole."""
    plain.play(Script((Rule(Fault(Moment.BODY, after_bytes=20_000), on_request=None),)))
    visit = visit_to(plain, "/bytes/200000")
    visit.budget.requests = 130

    made = calls(visit, OURS, 4, together=together)

    sent = plain.counts().requests
    assert visit.budget.requests - 130 == sent <= 14
    assert [one.error for one in made] == []
    visit.budget.requests = 0
    assert [one.error for one in calls(visit, OURS, 2)] == [None, None], "the control"


def test_no_call_is_repeated_that_was_told_to_wait(plain):
    """429 after the adapter's repetitions: more calls make that worse. The control: stock repeats nothing."""
    plain.play(Script())

    assert len(calls(visit_to(plain, "/status/429"), OURS, 3)) == 1
    assert len(calls(visit_to(plain, "/status/429"), STOCK, 3)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("transport", [STOCK, OURS])
def test_of_a_large_page_no_more_is_read_than_is_enough(plain, transport):
    """Nobody waits for the end of a page that has none. Stock finds that it is large, and both know then."""
    plain.play(Script())
    visit = visit_to(plain, "/chunked/20000000")
    calls(visit, STOCK, 1)

    (made,) = calls(visit, transport, 1)

    assert (made.status, made.error) == (200, None)
    assert MOST_BYTES <= made.body_bytes < 2 * MOST_BYTES
