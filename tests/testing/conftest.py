"""Servers for the tests of the fault server: on a thread of this process, where coverage sees their lines.

Modules that ask what only a process of its own can answer run in both: they override `place` with PLACES.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from resilient_transport.testing import Authority, FaultServer
from resilient_transport.testing.script import FAULTLESS
from tests.testing.wires import Thread

#: Where a server can run: the real thing, and the same code here.
PLACES = ("process", "thread")


def starter(authority: Authority, on_thread: bool) -> Callable[..., FaultServer]:
    """Return a function that starts a server, in a process of its own or on a thread."""

    def start(*args: Any, **fields: Any) -> FaultServer:
        fields.setdefault("authority", authority)
        with pytest.MonkeyPatch.context() as patch:
            if on_thread:
                patch.setattr("resilient_transport.testing.server.subprocess.Popen", Thread)
            return FaultServer(*args, **fields)

    return start


@pytest.fixture(scope="module")
def place() -> str:
    """Return where this module's servers run."""
    return "thread"


@pytest.fixture(scope="module")
def start(place: str, authority: Authority) -> Callable[..., FaultServer]:
    """Return a function that starts a server in the module's place."""
    return starter(authority, place == "thread")


@pytest.fixture
def start_here(authority: Authority) -> Callable[..., FaultServer]:
    """Return a function that starts a server on a thread, where a test can break what it stands on."""
    return starter(authority, True)


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
