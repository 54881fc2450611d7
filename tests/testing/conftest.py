"""Servers for the tests of the fault server: each in a process of its own, and again on a thread of this one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from resilient_transport.testing import Authority, FaultServer
from resilient_transport.testing.script import FAULTLESS
from tests.testing.wires import Thread

#: The real thing, and the same code where coverage sees it.
PLACES = ("process", "thread")


@pytest.fixture(scope="module", params=PLACES)
def start(request: pytest.FixtureRequest, authority: Authority) -> Callable[..., FaultServer]:
    """Return a function that starts a server, in the one place or the other."""

    def start(*args: Any, **fields: Any) -> FaultServer:
        fields.setdefault("authority", authority)
        with pytest.MonkeyPatch.context() as patch:
            if request.param == "thread":
                patch.setattr("resilient_transport.testing.server.subprocess.Popen", Thread)
            return FaultServer(*args, **fields)

    return start


@pytest.fixture(scope="module")
def tls_server(start: Callable[..., FaultServer]) -> Iterator[FaultServer]:
    """Serve TLS for a whole module."""
    with start() as server:
        yield server


@pytest.fixture(scope="module")
def plain_server(start: Callable[..., FaultServer]) -> Iterator[FaultServer]:
    """Serve plain HTTP for a whole module."""
    with start(tls=False) as server:
        yield server


@pytest.fixture
def server(tls_server: FaultServer) -> FaultServer:
    """Return the module's TLS server as if it had just started."""
    return fresh(tls_server)


@pytest.fixture
def plain(plain_server: FaultServer) -> FaultServer:
    """Return the module's plain server as if it had just started."""
    return fresh(plain_server)


@pytest.fixture
def session(authority: Authority) -> Iterator[requests.Session]:
    """Return a session of stock requests that knows the authority."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = authority.ca_file, authority.client
        yield session


def fresh(server: FaultServer) -> FaultServer:
    """End what is open and forget what was counted."""
    server.reset_peers()
    server.play(FAULTLESS)
    return server
