"""Keep-alive: the server's word against its behaviour."""

import pytest

from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.line import Ended, How, Trouble
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.keep_alive import KEEP_ALIVE, Measured, Turn, measure
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.testing import How as Way
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.raw_server import RawServer, Then, response
from tests.cli.doctor.visits import bad, found, visit_to
from tests.timeouts import SHORT_TIMEOUT

WORD, REUSE, TIMEOUT = (check.name for check in KEEP_ALIVE.checks)
FIN = Ended(0.0, How.FIN)
RESET = Trouble(Phase.FIRST_BYTE, Cause.RESET, "RemoteDisconnected", 0.0)


def keep_alive_of(server, path="/", **options):
    """What is measured, and what is found."""
    measured = measure(visit_to(server, path, **options))
    return measured, found(KEEP_ALIVE, measured)


def raw(*replies, idle=None):
    """A server that gives these replies on each connection; the last one for all that follow."""
    return RawServer(lambda number, _: replies[min(number, len(replies)) - 1], idle)


def turn(keeps=True, timeout=None, most=None, ended=None, trouble=None, version=11, status=200):
    """A request on a connection."""
    return Turn(None if trouble else status, version, keeps, timeout, most, ended, trouble)


def test_a_healthy_server_gives_no_finding(server):
    """Three requests use one connection."""
    server.play(Script())

    measured, findings = keep_alive_of(server)

    assert bad(KEEP_ALIVE, measured) == []
    assert findings[REUSE].value == "3 requests on a connection"
    assert "--hold 55" in findings[TIMEOUT].text
    assert server.counts().accepts == 1


def test_a_server_that_says_that_it_closes_gives_no_finding():
    """It is set so; what that costs is told."""
    with raw((response(Connection="close"), Then.CLOSE)) as server:
        measured, findings = keep_alive_of(server)

    assert bad(KEEP_ALIVE, measured) == []
    assert "needs a new one" in findings[WORD].text
    assert len(server.asked) == 1


def test_one_that_says_that_it_closes_and_waits_gives_no_finding():
    """The client ends it."""
    with raw((response(Connection="close"), Then.KEEP)) as server:
        measured, findings = keep_alive_of(server)

    assert bad(KEEP_ALIVE, measured) == []
    assert "waits for the client" in findings[REUSE].text


def test_http_1_0_is_taken_by_its_word():
    """It closes, unless it says otherwise."""
    with raw((response(version="HTTP/1.0"), Then.CLOSE)) as server:
        measured, findings = keep_alive_of(server)
    with raw((response(version="HTTP/1.0", Connection="keep-alive"), Then.KEEP)) as server:
        _, kept = keep_alive_of(server)

    assert bad(KEEP_ALIVE, measured) == []
    assert findings[WORD].value == kept[WORD].value == "HTTP/1.0"
    assert kept[REUSE].value == "3 requests on a connection"


@pytest.mark.parametrize("number", [1, 2])
def test_one_that_closes_what_it_says_to_keep_is_told(number):
    """After the first response or the second one, by a FIN that the client can see."""
    keep = (response(), Then.KEEP)
    with raw(*[keep] * (number - 1), (response(), Then.CLOSE)) as server:
        measured, findings = keep_alive_of(server)

    assert (findings[REUSE].level, findings[REUSE].root) == (Level.WARN, Root.KEEP_ALIVE)
    assert findings[REUSE].value == f"after request {number}"
    assert len(measured.lines) == 2


def test_one_that_resets_the_next_request_is_told(plain):
    """The client cannot see that before."""
    plain.play(Script((Rule(Fault(Moment.REQUEST), on_request=2),)))

    _, findings = keep_alive_of(plain)

    assert (findings[REUSE].level, findings[REUSE].root) == (Level.FAIL, Root.KEEP_ALIVE)
    assert not findings[REUSE].blocks


def test_one_that_leaves_the_next_request_unanswered_is_told():
    """A load balancer may have lost the server behind it."""
    with raw((response(), Then.SILENCE)) as server:
        _, findings = keep_alive_of(server, timeout=SHORT_TIMEOUT)

    assert "is not answered" in findings[REUSE].text


def test_one_connection_that_ends_may_be_chance(plain):
    """A second one is kept, so nothing is found."""
    plain.play(Script((Rule(Fault(Moment.REQUEST), on_request=2, first=1),)))

    measured, findings = keep_alive_of(plain)

    assert [len(line) for line in measured.lines] == [2, 3]
    assert bad(KEEP_ALIVE, measured) == []


def test_a_silent_server_is_asked_once(plain):
    """Others have said that it is silent."""
    plain.play(Script((Rule(Fault(Moment.REQUEST, Way.STALL)),)))

    measured, findings = keep_alive_of(plain, timeout=SHORT_TIMEOUT)

    assert measured.is_silent
    assert len(measured.lines) == 1
    assert {finding.level for finding in findings.values()} == {Level.SKIPPED}


@pytest.mark.slow
def test_a_short_time_is_waited_for():
    """A server that says 1 s and closes at once is found; one that keeps its word is not."""
    reply = response(Keep_Alive="timeout=1, max=100")
    with raw((reply, Then.KEEP), idle=0.3) as server:
        _, hasty = keep_alive_of(server)
    with raw((reply, Then.KEEP)) as server:
        measured, faithful = keep_alive_of(server)

    assert "closes it sooner" in hasty[TIMEOUT].text
    assert measured.waited
    assert "for as long as it says" in faithful[TIMEOUT].text
    assert faithful[WORD].value == "HTTP/1.1, timeout 1 s, max 100"


def test_a_long_time_is_not_waited_for():
    """What to type is told instead."""
    with raw((response(Keep_Alive="timeout=20"), Then.KEEP)) as server:
        measured, findings = keep_alive_of(server)

    assert not measured.waited
    assert "--hold 20" in findings[TIMEOUT].text


def test_a_large_page_is_not_fetched_again():
    """HEAD shows the same, and is no load."""
    with raw((response(b"x" * 1_000_001), Then.KEEP), (response()[:-2], Then.KEEP)) as server:
        keep_alive_of(server)

    assert [line.partition(" ")[0] for line in server.asked] == ["GET", "HEAD", "HEAD"]


@pytest.mark.parametrize(
    ("lines", "root"),
    [
        (((turn(ended=FIN),),) * 2, Root.KEEP_ALIVE),
        (((turn(), turn(trouble=RESET)),) * 2, Root.KEEP_ALIVE),
        (((turn(most=1), turn(most=0, ended=FIN)),) * 2, None),
        (((turn(most=5), turn(most=4, ended=FIN)),) * 2, Root.KEEP_ALIVE),
        (((turn(), turn(keeps=False, ended=FIN)),) * 2, None),
        (((turn(ended=FIN),), (turn(),) * 3), None),
        (((turn(trouble=RESET),), (turn(),) * 3), None),
        (((turn(keeps=False),),), None),
    ],
)
def test_only_a_broken_word_is_found(lines, root):
    """`max` ends a connection as announced, and so does `Connection: close`; once may be chance."""
    assert [finding.root for finding in bad(KEEP_ALIVE, Measured(lines))] == ([] if root is None else [root])


@pytest.mark.parametrize(
    ("said", "after", "level"),
    [(3, 1.0, Level.WARN), (3, 2.2, Level.OK), (3, 3.0, Level.OK), (1, 0.1, Level.OK), (3, None, Level.OK)],
)
def test_sooner_counts_where_the_adapter_would_be_caught(said, after, level):
    """It lets go of a connection a second before the server's time."""
    ended = None if after is None else Ended(after, How.FIN)

    assert found(KEEP_ALIVE, Measured(((turn(timeout=said),),), True, ended))[TIMEOUT].level is level
