"""What these tests share: an empty registry, full quotas, and sessions that trust the fault server."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter
from resilient_transport.testing import FaultServer
from tests.slate import clean_slate  # noqa: F401 - a fixture
from tests.spine.ways import clock, environment, pauses, say  # noqa: F401 - fixtures


@pytest.fixture(scope="module")
def server(authority: Any) -> Iterator[FaultServer]:
    """Return a fault server that the tests of a module share; each plays a script of its own."""
    with FaultServer(authority=authority) as server:
        yield server


@pytest.fixture
def dial() -> Iterator[Callable[..., requests.Session]]:
    """Return a function that makes a session for a server, with an adapter of its choice."""
    with ExitStack() as stack:

        def session_for(
            server: FaultServer, adapter: HTTPAdapter | None = None, **settings: Any
        ) -> requests.Session:
            session = stack.enter_context(requests.Session())
            session.trust_env = False
            session.verify = server.authority.ca_file
            session.cert = server.authority.client
            adapter = adapter or ResilientAdapter(**settings)
            session.mount("https://", adapter)
            session.mount("http://", adapter)
            return session

        yield session_for
