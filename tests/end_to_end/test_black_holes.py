"""One address of a name answers nobody: the first call takes the other a moment later, the next at once."""

import json
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, registry
from resilient_transport.connection.happy_eyeballs import DELAY, Race
from resilient_transport.settings.environment import clean_environment
from tests.end_to_end.black_hole_program import HOLES, MAKE_HOLES
from tests.end_to_end.test_other_address import NAME, resolve
from tests.loopback import full_queue, has_ipv6
from tests.missing import missing
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT, SHORT_TIMEOUT

#: Seconds to connect: what the control waits for.
CONNECT = 6 * DELAY
BLACK_HOLES = [
    pytest.param(
        host, id=host, marks=pytest.mark.skipif(":" in host and not has_ipv6(), reason="no IPv6 on loopback")
    )
    for host in ("127.0.0.2", "::1")
]


@pytest.fixture(params=["direct", "plain", "proxied", "deadline"])
def way(request):
    """How a call gets to its server."""
    return request.param


@pytest.fixture
def place(way, fault_server_factory, dial, monkeypatch):
    """Return a function: a session, its URL, and whose port the black hole has, by an adapter."""
    server = fault_server_factory(tls=way != "plain")
    proxy = fault_server_factory(tls=False) if way == "proxied" else None
    with ExitStack() as stack:

        def begin(hole, adapter):
            family = socket.AF_INET6 if ":" in hole else socket.AF_INET
            behind = proxy or server
            full_queue(family, stack, SHORT_TIMEOUT, hole, behind.port)
            resolve(monkeypatch, hole, "127.0.0.1")
            session = dial(server, adapter)
            scheme = "http" if way == "plain" else "https"
            if proxy is not None:
                session.proxies = {"https": f"http://{NAME}:{proxy.port}"}
                return session, f"https://localhost:{server.port}/"
            manager = session.get_adapter("https://").poolmanager
            if way != "plain":
                manager.connection_pool_kw["assert_hostname"] = "localhost"
            return session, f"{scheme}://{NAME}:{server.port}/"

        yield begin
        registry.clear()


def adapter_of(way):
    """Ours for a way."""
    limit = LONG_TIMEOUT if way == "deadline" else None
    return ResilientAdapter(policy=RetryPolicy(deadline=limit))


def timed(session, url, method="GET"):
    """Make a call that closes its connection; return how long it took."""
    began = time.monotonic()
    response = session.request(method, url, headers={"Connection": "close"}, timeout=(CONNECT, LONG_TIMEOUT))
    assert response.ok
    return time.monotonic() - began


@pytest.mark.parametrize("hole", BLACK_HOLES)
def test_the_first_call_pays_once(place, way, hole, monkeypatch):
    """The first call tries both addresses, and those that follow only the one that answers."""
    asked = []
    real = Race._enter
    monkeypatch.setattr(Race, "_enter", lambda *args: asked.append(args[2][0]) or real(*args))
    session, url = place(hole, adapter_of(way))
    first = timed(session, url)
    paid = asked.count(hole)
    for _ in range(3):
        timed(session, url, "POST")

    assert DELAY <= first < CONNECT
    assert paid == asked.count(hole) == 1


@pytest.mark.parametrize("hole", BLACK_HOLES)
def test_stock_pays_the_time_out_each_time(place, way, hole):
    """The control: the time-out of the connect, for every connection."""
    session, url = place(hole, HTTPAdapter())

    assert timed(session, url) >= CONNECT


@pytest.fixture(scope="module")
def namespace():
    """Return a command that runs a program in a network namespace with black holes, or skip; fail in CI."""
    command = ["unshare", "--net", "sh", "-c", f'{MAKE_HOLES}exec "$0" "$@"']
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"no network namespace with a TUN device: {error} {getattr(error, 'stderr', '')}")
    return command


@pytest.mark.parametrize("family", ["4", "6"])
@pytest.mark.parametrize("way", ["direct", "proxied"])
def test_in_a_namespace_of_its_own(namespace, way, family):
    """Packets are lost; four calls at once pay no more than one does, and stock pays the time-out."""
    ran = subprocess.run(
        [*namespace, sys.executable, "-m", "tests.end_to_end.black_hole_program", way, family],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=HANG_TIMEOUT, check=False,
    )  # fmt: skip
    told = json.loads(ran.stdout or "null")

    assert told is not None, ran.stderr
    hole = HOLES[family]
    assert told["stock"] >= told["connect"] > max(told["first"], *told["at_once"], *told["later"])
    assert told["tried"] == [hole, *["127.0.0.1"] * 4]
    assert told["tried_at_once"] == [hole, *["127.0.0.1"] * 4]
