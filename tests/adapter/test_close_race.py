"""`close()` while a call is looking for its pool: the adapter remembers no pool whose lease is over."""

import pytest
import requests

from resilient_transport import ResilientAdapter, registry
from resilient_transport.pool.lease import LeasedPool
from resilient_transport.testing import FaultServer, Script
from tests.stepwise import at_each_line

pytestmark = pytest.mark.slow

#: Where a call looks for its pool, and what it uses on the way.
FILES = ("adapter/adapter.py", "pool/key.py")


@pytest.fixture(scope="module")
def server(authority):
    """Return a server without TLS: each step of a call takes a call, so they had better be quick."""
    with FaultServer(authority=authority, tls=False) as server:
        yield server


def connections_after(server, session, calls=2):
    """Make so many calls in a row, when nothing is idle and nothing is known; count their connections."""
    registry.clear()
    before = server.counts().accepts
    for _ in range(calls):
        assert session.get(server.url).ok
    return server.counts().accepts - before


def race(server, close):
    """Let an adapter's first call meet `close` at each of its steps; yield where, and what it costs later."""
    sessions = []

    def first_call():
        sessions.append(requests.Session())
        sessions[-1].trust_env = False
        sessions[-1].mount("http://", ResilientAdapter())
        assert sessions[-1].get(server.url).ok

    for where in at_each_line(FILES, first_call, lambda: close(sessions[-1])):
        with sessions[-1] as session:
            yield where, connections_after(server, session)
    sessions[-1].close()


def test_close_at_each_step_of_the_first_call(server):
    """Afterwards calls in a row take one connection."""
    server.play(Script())
    found = list(race(server, lambda session: session.close()))

    assert len(found) > 30, "hardly any step was found"
    assert [(where, made) for where, made in found if made != 1] == []


def test_a_lease_that_is_over_must_be_leased_again(server, monkeypatch):
    """The control: with leases that stay over, some step leaves a pool that keeps no connection."""
    server.play(Script())
    lease = LeasedPool._lease
    monkeypatch.setattr(
        LeasedPool, "_lease", lambda self: self._shared_pool if "_ticket" in vars(self) else lease(self)
    )

    assert any(made == 2 for _, made in race(server, lambda session: session.close()))
