"""Fresh processes and what they report, against a real server."""

import os
import signal
import socket
from contextlib import closing, suppress

import pytest

from resilient_transport import registry
from resilient_transport.cli.demo import nursery, start
from resilient_transport.cli.demo.lane import METHODS, Lane, NotTrustworthy
from resilient_transport.cli.demo.nursery import Nursery
from resilient_transport.cli.demo.order import WRONG_BODY, Call, Order
from resilient_transport.cli.demo.scenarios import Scenario
from resilient_transport.cli.demo.transports import OURS, TRANSPORTS
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.cli.cells import STOCK
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

pytestmark = pytest.mark.slow

CALM = Scenario("calm", "no fault", ())


def order(server, transport=OURS, path="/words/1", digest=None, in_detail=False):
    """Four calls."""
    calls = tuple(Call(f"{n}-{method}", method, path, digest) for n, method in enumerate(METHODS))
    return Order(transport, server.url, server.authority.ca_file, server.authority.client, calls, in_detail)


@pytest.fixture
def unmeasured(monkeypatch):
    """Let coverage see nothing of the processes that a test starts: others run the same."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


both_ways = pytest.mark.parametrize("forks", [True, False], ids=["fork", "spawn"])


@both_ways
def test_every_start_is_a_fresh_process(forks, fault_server):
    """Nothing is left of the start before: each one connects anew, and resumes nothing of the other."""
    with closing(Nursery(forks)) as started:
        starts = [started.start(order(fault_server)) for _ in range(2)]
    executions = fault_server.executions()
    first = {each.connection for each in executions[:4]}
    second = {each.connection for each in executions[4:]}
    seen = [(each.method, each.stage, each.body_bytes) for each in starts[0].outcomes]

    assert [start.failed for start in starts] == [False, False]
    assert seen == [(method, "done", 5) for method in METHODS]
    assert len(executions) == 8
    assert not first & second
    assert not min(executions[4:], key=lambda each: each.connection).resumed


@both_ways
def test_a_start_that_dies_lost_all_its_calls(forks, fault_server, capfd):
    """A crash is a failure of each call, and the next start is none the worse."""
    with closing(Nursery(forks)) as started:
        dead = started.start(order(fault_server, transport="unheard of"))
        alive = started.start(order(fault_server))

    assert [each.error for each in dead.outcomes] == ["process ended with status 1"] * 4
    assert not alive.failed
    assert "KeyError: 'unheard of'" in capfd.readouterr().err


def test_a_process_that_does_not_end_is_killed(monkeypatch):
    """Closing takes a bounded time, whatever hangs in there."""
    monkeypatch.setattr(nursery, "_END_SECONDS", SHORT_TIMEOUT)
    started = Nursery()
    os.kill(started._process.pid, signal.SIGSTOP)
    started.close()

    assert started._process.returncode == -signal.SIGKILL


def test_a_kill_ends_the_start_that_runs(authority, unmeasured):
    """Its connection ends, although nobody answers there. To kill again is harmless."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LONG_TIMEOUT)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        started = Nursery()
        started._hand_over(Order(STOCK, url, authority.ca_file, authority.client, (Call("1", "GET", "/"),)))
        peer, _ = listener.accept()
        with peer, suppress(ConnectionResetError):
            # By itself the start gives up after LONG_TIMEOUT.
            peer.settimeout(LONG_TIMEOUT / 2)
            started.kill()
            while peer.recv(4096):
                """The beginning of a handshake."""
        started.close()
        started.kill()

    assert started._process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_only_the_right_body_is_a_success(transport, fault_server):
    """Every transport's response is compared with what the server says when nothing is wrong."""
    with registry:
        right = start.run(order(fault_server, transport))
        digest = right.outcomes[0].digest
        same = start.run(order(fault_server, transport, digest=digest))
        other = start.run(order(fault_server, transport, path="/words/2", digest=digest))
        missing = start.run(order(fault_server, transport, path="/nowhere"))

    assert not right.failed
    assert not same.failed
    assert {each.error for each in other.outcomes} == {WRONG_BODY}
    assert {each.error for each in missing.outcomes} == {"status 404"}


def test_a_failure_is_told_with_its_stage(fault_server):
    """The adapter says how far the last attempt got, and tells all with their stages if asked."""
    fault_server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None, path="/words/1"),)))
    with registry:
        ours = start.run(order(fault_server))
        stock = start.run(order(fault_server, STOCK, in_detail=True))
        detailed = start.run(order(fault_server, in_detail=True))

    assert {(each.error, each.stage) for each in ours.outcomes} == {("ConnectionError", "request")}
    assert [each.attempts > 1 for each in ours.outcomes] == [True, True, False, False]
    assert {(each.error, each.stage, each.attempts) for each in stock.outcomes} == {
        ("ConnectionError", None, 0)
    }
    assert {each.history for each in (*ours.outcomes, *stock.outcomes)} == {()}
    assert all(len(each.history) == each.attempts > 0 for each in detailed.outcomes)
    assert all(attempt.stages for each in detailed.outcomes for attempt in each.history if not attempt.shared)
    assert all(0 <= each.began <= each.seconds for each in (*stock.outcomes, *detailed.outcomes))


def test_a_lane_plays_a_scenario(authority, unmeasured):
    """It counts what the server saw, ticks after each start, and begins at zero each time."""
    ticks = []
    with Lane(OURS, authority) as ours:
        digest = ours.reference(CALM)
        cells = [ours.play(CALM, 2, 0, digest, lambda: ticks.append(1)) for _ in range(2)]
        ours.stop()
        nothing = ours.play(CALM, 2, 0, digest, lambda: ticks.append(1))

    assert [cell.failed_starts for cell in cells] == [0, 0]
    assert len(cells[1].executions) == 8
    assert cells[1].connections >= 2
    assert nothing.starts == ()
    assert len(ticks) == 4


def test_a_lane_without_a_good_answer_is_refused(authority, unmeasured):
    """When calls fail without any fault, there is nothing to compare with."""
    with Lane(STOCK, authority) as stock, pytest.raises(NotTrustworthy, match="status 404"):
        stock.reference(Scenario("lost", "nowhere", (), path="/nowhere"))
