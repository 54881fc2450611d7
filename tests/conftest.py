"""The ground all tests stand on: this machine only, and nobody's proxy or CA settings.

The fixtures that start a fault server come from the package's own pytest plugin
(`resilient_transport.testing.pytest_plugin`).
"""

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import hypothesis
import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter
from resilient_transport.testing import FaultServer
from tests.collecting import collected, requests_instrumented, watched  # noqa: F401 - fixtures
from tests.end_to_end.ways import clock, environment, pauses, say, thrifty  # noqa: F401 - fixtures
from tests.slate import clean_slate  # noqa: F401 - a fixture

# How long an example takes says more about the machine than about the code. HANG_TIMEOUT bounds each test.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

#: What `requests` and OpenSSL read from the environment to find another CA bundle.
CA_VARIABLES = frozenset({"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"})


class LeftThisMachine(AssertionError):
    """A test connected to somewhere else. Not an OSError, so that no code under test retries or hides it."""


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that this text spells, None for a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Tell whether an address, or the one name that needs no resolver, is this machine."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


def refuse_elsewhere(sock: socket.socket, address: Any) -> None:
    """Raise LeftThisMachine for an internet address that is not loopback."""
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
        sock.close()  # urllib3 closes it only after an OSError
        raise LeftThisMachine(f"tests connect to loopback only, not to {address[0]}")


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Refuse connections that leave this machine, and answer for DNS that no other name exists."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def local_connect(sock: socket.socket, address: Any) -> None:
        refuse_elsewhere(sock, address)
        connect(sock, address)

    def local_connect_ex(sock: socket.socket, address: Any) -> int:
        refuse_elsewhere(sock, address)
        return connect_ex(sock, address)

    def local_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if name and name != "localhost" and address_of(name) is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_connect)
        patch.setattr(socket.socket, "connect_ex", local_connect_ex)
        patch.setattr(socket, "getaddrinfo", local_getaddrinfo)
        yield


@pytest.fixture(scope="session", autouse=True)
def nobodys_settings() -> Iterator[None]:
    """Drop proxies, CA bundles and this package's own settings from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if is_setting(name):
                patch.delenv(name)
        yield


def is_setting(name: str) -> bool:
    """Tell whether this environment variable changes what a request does."""
    folded = name.upper()
    return folded in CA_VARIABLES or folded.endswith("_PROXY") or folded.startswith("RESILIENT_TRANSPORT_")


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
