"""What the first response of a connection, or its absence, tells the gate."""

import threading

import pytest
import requests

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, registry
from resilient_transport.connection import tls_connection
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT


def window_of(session, server):
    """The window of the pool that a session's calls to a server use."""
    pools = session.get_adapter(server.url).poolmanager.pools
    (pool,) = [pools[key] for key in pools.keys()]  # noqa: SIM118 - urllib3's container
    return pool.shared_pool.gate.window


@pytest.mark.parametrize("headers", [{}, {"Connection": "close"}], ids=["kept", "closed"])
def test_a_response_is_proof(fault_server_factory, dial, headers):
    """A server without tickets is not waited for; its first response opens the gate, closing or not."""
    server = fault_server_factory(tickets="none")
    session = dial(server)
    session.get(server.url, headers=headers)
    window = window_of(session, server)

    assert (window.proven, window.size, window.seems_accepted) == (True, window.maximum, False)


def test_only_what_may_not_be_repeated_waits_for_proof(fault_server_factory, dial, monkeypatch):
    """A GET pays nothing, on new connections either, the first included; a POST on a new one is confirmed."""
    confirmed = []
    real = tls_connection.confirm
    monkeypatch.setattr(tls_connection, "confirm", lambda *args: confirmed.append(1) or real(*args))
    server = fault_server_factory(tickets="none")
    session = dial(server)
    story = []
    for method in ("GET", "GET", "POST", "GET"):
        session.request(method, server.url + "/words/1", headers={"Connection": "close"})
        story.append(len(confirmed))

    assert story == [0, 0, 1, 1]


def test_a_reset_of_a_new_connection_is_a_doubt(server, dial):
    """With TLS 1.3 it may have been the handshake: the window is halved, the next one is confirmed."""
    server.play(Script())
    session = dial(server, policy=RetryPolicy(retries=0))
    session.get(server.url)
    window = window_of(session, server)
    registry.clear()
    server.play(Script((Rule(Fault(Moment.REQUEST), first=1),)))
    with pytest.raises(requests.ConnectionError):
        session.get(server.url)

    assert (window.doubted, window.size) == (True, window.maximum // 2)


def test_a_reset_of_a_used_connection_is_none(server, dial):
    """The control: an idle connection that has died says nothing of handshakes."""
    server.play(Script((Rule(Fault(Moment.REQUEST), on_request=2),)))
    session = dial(server, policy=RetryPolicy(retries=0))
    session.get(server.url)
    with pytest.raises(requests.ConnectionError) as failure:
        session.get(server.url)
    window = window_of(session, server)

    assert attempts_of(failure.value)[0].reused
    assert (window.doubted, window.size) == (False, window.maximum)


def test_a_waiter_in_a_hurry_gets_an_attempt_of_its_own(server, dial):
    """After half of its connect time-out it waits for a slow leader no longer."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO, seconds=30, how=How.STALL), first=1),)))
    slow, brisk = dial(server), dial(server, ResilientAdapter(max_retries=0))
    slow.get_adapter(server.url).warm(server.url, background=True, session=slow)
    server.wait_for(lambda counts: counts.accepts == 1)

    answer = brisk.get(server.url, timeout=(4 * SHORT_TIMEOUT, 10))
    server.reset_peers()
    for thread in threading.enumerate():
        if thread.name == "resilient_transport-warm":
            thread.join(LONG_TIMEOUT)

    assert [one.status for one in attempts_of(answer)] == [200]
