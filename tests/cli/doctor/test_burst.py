"""The burst: whether calls that work alone bear one another."""

import pytest

from resilient_transport.cli.doctor.allowance import MOST_REQUESTS
from resilient_transport.cli.doctor.doctor import MOST_AT_ONCE
from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.burst import ALONE, BURST, MORE, Measured, measure, rounds_for
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.made_calls import lost, ours, whole
from tests.cli.doctor.visits import bad, found, visit_to
from tests.timeouts import SHORT_TIMEOUT


def burst_of(server, **options):
    """What is measured, and what is found."""
    measured = measure(visit_to(server, "/words/30", burst=4, **options))
    return measured, found(BURST, measured)


def made(alone=8, together=12, alone_lost=0, together_lost=0, ours_lost=0, is_tls=True, **failure):
    """A measurement by its numbers."""
    return Measured(
        4,
        is_tls,
        lost(alone_lost, **failure) + whole(alone - alone_lost),
        lost(together_lost, **failure) + whole(together - together_lost),
        ours(together, ours_lost),
    )


def test_a_healthy_server_gives_no_finding(server):
    """Calls at once overlap, and nothing is warned of."""
    server.play(Script(handshake_delay=0.02))

    measured, findings = burst_of(server)

    assert bad(BURST, measured) == []
    assert [len(measured.alone), len(measured.stock), len(measured.ours)] == [8, 12, 12]
    assert server.counts().in_flight_max > 1, "nothing was proven otherwise"


@pytest.mark.slow
def test_handshakes_that_overlap_are_told_from_others(server):
    """Alone all work, together stock fails, and through the gate it works again."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), in_flight_over=1),), handshake_delay=0.05))

    measured, findings = burst_of(server)

    assert findings["burst.alone"].level is Level.OK
    assert findings["burst.together"].root is Root.HANDSHAKE_RACE
    assert not findings["burst.together"].blocks
    assert "mount(session)" in findings["burst.together"].hint
    assert findings["burst.gate"].level is Level.OK
    assert "12 calls failed, made 4 at once. This adapter: 0 of 12" in measured.compare()


def test_resets_that_come_alone_as_well_are_no_race(server):
    """Every other connection is reset, whoever else is there."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), probability=0.5),), seed=3))

    _, findings = burst_of(server)

    assert findings["burst.alone"].root is Root.HANDSHAKE_RESET
    assert ("mount(session)" in findings["burst.alone"].hint) is (findings["burst.gate"].level is Level.OK)
    assert findings["burst.together"].root is Root.HANDSHAKE_RESET


@pytest.mark.slow
def test_a_silent_server_is_not_asked_in_bursts(server):
    """Two silences alone are enough."""
    server.play(Script((Rule(Fault(Moment.REQUEST, How.STALL)),)))

    measured, findings = burst_of(server, timeout=SHORT_TIMEOUT)

    assert server.counts().requests == 2
    assert findings["burst.alone"].root is Root.SILENT
    assert findings["burst.alone"].hint.startswith("ask the operator")
    assert findings["burst.together"].level is findings["burst.gate"].level is Level.SKIPPED


def test_more_are_made_alone_where_chance_may_explain_it(server):
    """Three of twelve are lost by chance as often as not: only more calls alone can tell."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), skip=ALONE, first=3),)))

    measured, findings = burst_of(server)

    assert len(measured.alone) == ALONE + MORE
    assert findings["burst.together"].root is Root.HANDSHAKE_RACE


@pytest.mark.parametrize(
    ("numbers", "root"),
    [
        ({"together_lost": 12}, Root.HANDSHAKE_RACE),
        ({"together_lost": 6}, Root.HANDSHAKE_RACE),
        ({"together_lost": 12, "phase": Phase.FIRST_BYTE}, Root.HANDSHAKE_RACE),
        ({"together_lost": 12, "cause": Cause.TIMEOUT}, Root.HANDSHAKE_RACE),
        ({"together_lost": 12, "is_tls": False, "phase": Phase.FIRST_BYTE}, Root.REQUEST_RESET),
        ({"together_lost": 12, "phase": Phase.BODY}, Root.CUT_BODY),
        ({"together_lost": 2}, Root.HANDSHAKE_RESET),
        ({"together_lost": 9, "alone_lost": 6}, Root.HANDSHAKE_RESET),
        ({"together_lost": 12, "phase": Phase.DIAL, "cause": Cause.REFUSED}, Root.REFUSED),
    ],
)
def test_a_race_is_what_fails_only_together_and_in_the_handshake(numbers, root):
    """One or two may be chance; a body, a plain connection, and what fails alone are other causes."""
    numbers = {"phase": Phase.HANDSHAKE} | numbers

    assert found(BURST, made(**numbers))["burst.together"].root is root


def test_what_the_gate_does_not_cure_is_told():
    """Then the advice is to shake hands one after the other."""
    findings = found(BURST, made(together_lost=12, ours_lost=3, phase=Phase.HANDSHAKE))

    assert findings["burst.gate"].level is Level.FAIL
    assert findings["burst.together"].hint == "export RESILIENT_TRANSPORT_HANDSHAKES=1"


def test_a_limit_of_the_servers_is_told():
    """Alone 200, together 429: that is no reset, and worth knowing."""
    limited = whole(3, status=429) + whole(9)

    findings = found(BURST, Measured(4, True, whole(8), limited, ours(12)))

    assert (findings["burst.together"].level, findings["burst.together"].root) == (Level.WARN, Root.STATUS)
    assert "pool_maxsize=2" in findings["burst.together"].hint
    assert bad(BURST, Measured(4, True, whole(8, status=404), whole(12, status=404), ours(12))) == []


@pytest.mark.parametrize("at_once", range(1, MOST_AT_ONCE + 1))
def test_any_burst_is_large_enough_and_within_the_limits(at_once):
    """All of a burst and the control fit, whatever was asked for."""
    assert at_once * rounds_for(at_once) >= min(12, 3 * at_once)
    assert BURST.requests(Options("https://localhost/", burst=at_once)) <= MOST_REQUESTS // 2


def test_without_being_asked_for_it_does_nothing(server):
    """A burst is a load, so only `--burst` has it made."""
    assert BURST.idle_because(visit_to(server)) == "not asked for: --burst"
    assert BURST.idle_because(visit_to(server, burst=4)) is None
    assert BURST.requests(Options("https://localhost/")) == 0


def test_a_status_that_is_repeated_is_not_asked_for_in_bursts(plain):
    """Alone each call is answered with 503: by the adapter, twelve would become seventy."""
    plain.play(Script())

    measured = measure(visit_to(plain, "/status/503", burst=4))

    assert plain.counts().requests == ALONE
    assert found(BURST, measured)["burst.gate"].level is Level.SKIPPED
