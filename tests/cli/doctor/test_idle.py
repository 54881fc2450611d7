"""Idle: what becomes of a connection that is held without a word."""

import pytest

from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.line import Ended, How, Trouble
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.idle_connection import (
    IDLE,
    Measured,
    idle_timeout_in_force,
    measure,
)
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import FaultServer, Script
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.raw_server import RawServer, Then, response
from tests.cli.doctor.visits import found, visit_to
from tests.timeouts import SHORT_TIMEOUT

CHECK = "idle.line"
RESET = Trouble(Phase.FIRST_BYTE, Cause.RESET, "ConnectionResetError: Connection reset by peer", 0.0)
SILENCE = Trouble(Phase.FIRST_BYTE, Cause.TIMEOUT, "TimeoutError", 5.0)


def idle_of(server, hold=SHORT_TIMEOUT, **options):
    """What is measured, and what is found."""
    measured = measure(visit_to(server, hold=hold, **options))
    return measured, found(IDLE, measured)[CHECK]


def raw(then, idle=None, **fields):
    """A server that does this after the second response, and says so or not."""
    return RawServer(lambda number, _: (response(**fields), then if number == 2 else Then.KEEP), idle)


def test_a_connection_that_is_kept_gives_no_finding(server):
    """It is used after the hold, and works; a ticket that comes meanwhile is no end."""
    server.play(Script())
    passed = []
    visit = visit_to(server, hold=SHORT_TIMEOUT)
    visit.progress = passed.append

    measured = measure(visit)

    assert found(IDLE, measured)[CHECK].level is Level.OK
    assert passed[0] == f"held idle for 0 of {SHORT_TIMEOUT:g} s"
    assert (server.counts().accepts, server.counts().requests) == (1, 3)


def test_a_server_that_closes_idle_connections_is_told():
    """By TLS: it ends them soon, and says nothing of that."""
    with FaultServer(idle_timeout=0.1) as server:
        measured, finding = idle_of(server, hold=10.0)

    assert measured.ended.how is How.FIN
    assert (finding.level, finding.root) == (Level.WARN, Root.IDLE_CLOSED)


def test_one_that_closes_as_it_says_gives_no_finding():
    """Who is told can let go before."""
    with raw(Then.KEEP, idle=0.6, Keep_Alive="timeout=1") as server:
        _, finding = idle_of(server, hold=10.0)

    assert finding.level is Level.OK


def test_one_that_is_reset_on_use_is_dead():
    """Nobody could see it before."""
    with raw(Then.RESET) as server:
        _, finding = idle_of(server)

    assert (finding.level, finding.root, finding.blocks) == (Level.FAIL, Root.IDLE_CLOSED, False)
    assert finding.hint == "export RESILIENT_TRANSPORT_IDLE_TIMEOUT=0.1"


def test_one_that_is_silent_on_use_is_dead():
    """As behind a firewall that has forgotten it."""
    with raw(Then.SILENCE) as server:
        _, finding = idle_of(server, timeout=SHORT_TIMEOUT)

    assert (finding.level, finding.root) == (Level.FAIL, Root.IDLE_CLOSED)
    assert "nothing comes back" in finding.text


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((response(Connection="close"), Then.CLOSE), "the server keeps no connection"),
        ((response()[:-1], Then.CLOSE), "a body was cut before"),
        ((b"", Then.CLOSE), "a request failed before"),
    ],
)
def test_what_cannot_be_held_is_skipped(reply, why):
    """Nothing is said of idleness where the connection had an end of another kind."""
    with RawServer(lambda *_: reply) as server:
        measured, finding = idle_of(server)

    assert finding.level is Level.SKIPPED
    assert measured.unheld.startswith(why)


@pytest.mark.parametrize(
    ("measured", "level", "words"),
    [
        (Measured(30, 55), Level.OK, "works"),
        (Measured(60, 55, ended=Ended(5.0, How.FIN)), Level.WARN, "does not say when"),
        (Measured(60, 55, ended=Ended(5.0, How.RESET)), Level.WARN, "a POST"),
        (Measured(60, 55, None, 20, Ended(5.0, How.FIN)), Level.WARN, "before it says"),
        (Measured(60, 55, None, 5, Ended(4.9, How.FIN)), Level.OK, "as it says"),
        (Measured(80, 55, ended=Ended(75.0, How.FIN)), Level.OK, "the adapter closes"),
        (Measured(30, 55, trouble=SILENCE), Level.FAIL, "nothing comes back"),
        (Measured(30, 55, trouble=RESET), Level.FAIL, "it fails (ConnectionResetError"),
        (Measured(60, 55, trouble=SILENCE), Level.WARN, "The adapter uses no connection"),
    ],
)
def test_each_end_is_judged(measured, level, words):
    """By whether the client can see it, whether it was told, and whether the adapter would use it still."""
    finding = found(IDLE, measured)[CHECK]

    assert finding.level is level
    assert words in finding.text


@pytest.mark.parametrize(
    ("measured", "hint"),
    [
        (Measured(60, 55, ended=Ended(5.0, How.FIN)), "export RESILIENT_TRANSPORT_IDLE_TIMEOUT=4"),
        (Measured(60, 55, ended=Ended(0.01, How.FIN)), "export RESILIENT_TRANSPORT_IDLE_TIMEOUT=0.1"),
        (Measured(30, 55, trouble=SILENCE), "export RESILIENT_TRANSPORT_IDLE_TIMEOUT=15"),
    ],
)
def test_the_hint_is_shorter_than_what_was_seen(measured, hint):
    """It can be typed as it stands."""
    assert found(IDLE, measured)[CHECK].hint == hint


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("soon", 55.0)])
def test_the_settings_word_is_the_one_in_force(monkeypatch, text, seconds):
    """What cannot be read is told elsewhere."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_IDLE_TIMEOUT", text)

    assert idle_timeout_in_force() == seconds


def test_without_being_asked_for_it_does_nothing(server):
    """It takes as long as it is told to."""
    assert IDLE.idle_because(visit_to(server)) == "not asked for: --hold"
    assert [IDLE.requests(Options("https://localhost/", hold=hold)) for hold in (0, 30)] == [0, 3]


def test_ctrl_c_ends_a_hold_at_once(server):
    """The connection is closed, and what was waited for stands in the chart."""
    server.play(Script())
    visit = visit_to(server, hold=600.0)

    def interrupt(_):
        raise KeyboardInterrupt

    visit.progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        measure(visit)

    server.wait_for(lambda counts: counts.open_connections == 0)
    (chart,) = visit.charts()
    assert Phase.WAIT in [bar.phase for bar in chart.rows[0].bars]
