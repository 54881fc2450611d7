"""The ways in which a setting can be said, and a clock that only tests set forward."""

import math
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress

import pytest
import requests

from resilient_transport import RetryPolicy, override, registry
from resilient_transport.connection import connection
from resilient_transport.gate import gate
from resilient_transport.pool import lease, shared_pool
from resilient_transport.telemetry import log
from resilient_transport.testing import Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

PREFIX = "RESILIENT_TRANSPORT_"
#: What belongs to the policy.
OF_POLICY = ("retries", "backoff", "backoff_max", "deadline", "retry_non_idempotent")

ENVIRONMENT, CONSTRUCTOR, BLOCK = "environment", "constructor", "block"


class Said:
    """What was said, and how: the adapter's arguments, and the block around its calls."""

    def __init__(self, patch, way, **values):
        self.arguments, self.block = {}, nullcontext()
        if way == ENVIRONMENT:
            for name, value in values.items():
                patch.setenv(PREFIX + name.upper(), str(value).lower())
        elif way == BLOCK:
            self.block = override(**values)
        elif way == CONSTRUCTOR:
            self.arguments = arguments(**values)


def arguments(**values):
    """Return what a constructor takes: what belongs to the policy in a policy."""
    of_policy = {name: value for name, value in values.items() if name in OF_POLICY}
    others = {name: value for name, value in values.items() if name not in OF_POLICY}
    return {**others, "policy": RetryPolicy(**of_policy)} if of_policy else others


@pytest.fixture
def say(monkeypatch):
    """Return a function that says settings in one of the ways; none of them says nothing."""
    return lambda way, **values: Said(monkeypatch, way, **values)


@pytest.fixture
def environment(monkeypatch):
    """Return a function that says settings in the environment; a log that it asks for ends with the test."""
    monkeypatch.setattr(log._HANDLER, "level", log._OFF)
    return lambda **values: Said(monkeypatch, ENVIRONMENT, **values)


class Later:
    """A clock that stands still; `ahead` sets it forward. A busy machine's time is not counted by it."""

    def __init__(self):
        self.ahead = 0.0
        self._began = time.monotonic()

    def __call__(self):
        """Tell the time."""
        return self._began + self.ahead


@pytest.fixture
def clock(monkeypatch):
    """The clock by which connections grow old: it stands still, and `ahead` sets it forward."""
    later = Later()
    for module in (shared_pool, connection, lease):
        monkeypatch.setattr(module, "monotonic", later)
    return later


@pytest.fixture
def thrifty(monkeypatch):
    """Leave those who wait to the connection that was made, however late a busy machine gives it back."""
    monkeypatch.setattr(shared_pool, "THRIFT", LONG_TIMEOUT)
    registry.clear()


@pytest.fixture
def pauses(monkeypatch):
    """The pauses between attempts, in full and not waited for."""
    taken = []
    monkeypatch.setattr("resilient_transport.retry.decision.full_jitter", lambda ceiling: ceiling)
    monkeypatch.setattr("resilient_transport.call.loop.sleep", taken.append)
    monkeypatch.setattr("resilient_transport.pool.shared_pool.pace", lambda *_: 0.0)
    return taken


def resolved_to_both(patch):
    """Let each name have an address of both families; return those that are connected to, in their order."""
    hosts = {socket.AF_INET6: "::1", socket.AF_INET: "127.0.0.1"}
    connected = []
    connect = socket.socket.connect

    def getaddrinfo(host, port, *args, **values):
        wanted = [family for family in hosts if host not in hosts.values() or host == hosts[family]]
        return [(family, socket.SOCK_STREAM, 6, "", (hosts[family], int(port))) for family in wanted]

    def noted(sock, address):
        connected.append(sock.family)
        connect(sock, address)

    patch.setattr(socket, "getaddrinfo", getaddrinfo)
    patch.setattr(socket.socket, "connect", noted)
    return connected


def most_at_once(server, session, expected, url=None):
    """Make eight connections ready; return how many handshakes there were at once.

    The server holds each handshake until it has seen as many as are expected, however long that takes. It
    waits for more, resets them all, and they are repeated.
    """
    url = url or server.url
    warm = session.get_adapter(url).warm
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(gate, "STALLED", math.inf)
        server.play(Script(handshake_delay=LONG_TIMEOUT))
        warming = pool.submit(warm, url, 8, session=session)
        server.wait_for(lambda counts: counts.in_flight >= expected, LONG_TIMEOUT)
        with suppress(TimeoutError):
            server.wait_for(lambda counts: counts.in_flight > expected, SHORT_TIMEOUT)
        seen = server.counts().in_flight_max
        server.play(Script())
        server.reset_peers()
        warming.result(LONG_TIMEOUT)
    return seen


def call(session, url, **values):
    """What comes of a call: the status or the exception."""
    try:
        return session.get(url, **values).status_code
    except requests.RequestException as error:
        return type(error)
