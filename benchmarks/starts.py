"""A program that has just started and makes calls at once, in each of several ways; run as a fresh process.

Its argument is an order as JSON, its output a sample. Starting the interpreter and importing is not in it,
making sessions, adapters and contexts is. Each call has a thread, and where the way has sessions, one of its
own.
"""

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from urllib3.util.ssl_ import create_urllib3_context

from benchmarks.contestants import OURS, STOCK, session_of
from benchmarks.rounds import timed
from resilient_transport import ResilientAdapter
from resilient_transport.settings.environment import clean_environment
from tests.timeouts import LONG_TIMEOUT

#: `ssl` and `socket` by hand, with one context for all: nothing that checks, keeps or repeats anything.
FLOOR: Final = "floor"
#: urllib3's own pool manager, with one context for all.
URLLIB3: Final = "urllib3, 1 context"
#: Ours, with the connections made before the clock starts.
WARMED: Final = "ours, warmed"
#: Handshakes that resumed nothing.
FULL: Final = "full handshakes"
WAYS: Final = (FLOOR, STOCK, "Retry(3)", URLLIB3, OURS, WARMED)

_ROOT: Final = Path(__file__).resolve().parents[1]
_BODY: Final = b"{}"

#: Makes one call, and raises unless it was answered with 200.
Call = Callable[[str], None]


def start(
    way: str,
    url: str,
    ca_file: str,
    cert: tuple[str, str],
    methods: Sequence[str],
    *,
    pause: float = 0.0,
    prefix: Sequence[str] = (),
) -> dict[str, float]:
    """Let a new interpreter make the calls; return its CPU and wall time.

    Args:
        way: one of `WAYS`.
        url, ca_file, cert: the server, what it is checked against, and what it is shown.
        methods: of the calls: all at once, or one after the other if there is a pause.
        pause: seconds between the end of a call and the next, which are not counted.
        prefix: what the command is run by.
    """
    order = {"way": way, "url": url, "ca_file": ca_file, "cert": cert, "methods": methods, "pause": pause}
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "benchmarks.starts", json.dumps(order)],
        cwd=_ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    sample: dict[str, float] = json.loads(done.stdout)
    return sample


def run(order: Mapping[str, Any]) -> dict[str, float]:
    """Do what was ordered."""
    methods = order["methods"]
    with ExitStack() as stack:
        if order["way"] == WARMED:
            # Leases are held by sessions: that of the warming one keeps the connections.
            _warm(stack, order)
        if order["pause"]:
            return _one_by_one(_caller(stack, order), methods, order["pause"])
        threads = stack.enter_context(ThreadPoolExecutor(len(methods)))

        def all_at_once() -> None:
            call = _caller(stack, order)
            for done in [threads.submit(call, method) for method in methods]:
                done.result()

        return timed(all_at_once)


def _one_by_one(call: Call, methods: Sequence[str], pause: float) -> dict[str, float]:
    """Make calls with a pause before each; the first two are not counted: they learn."""
    total: dict[str, float] = {}
    for number, method in enumerate(methods):
        time.sleep(pause if number else 0)
        sample = timed(lambda method=method: call(method))
        if number >= 2:
            total = {name: total.get(name, 0.0) + value for name, value in sample.items()}
    return total


def _warm(stack: ExitStack, order: Mapping[str, Any]) -> None:
    session = stack.enter_context(session_of(OURS, order["ca_file"], tuple(order["cert"])))
    # Who wants more than ten kept says so.
    session.mount("https://", ResilientAdapter(pool_maxsize=max(10, len(order["methods"]))))
    session.get_adapter(order["url"]).warm(order["url"], connections=len(order["methods"]), session=session)


def _caller(stack: ExitStack, order: Mapping[str, Any]) -> Call:
    """What makes a call in the way that was ordered."""
    way = OURS if order["way"] == WARMED else order["way"]
    if way == FLOOR:
        return _by_hand(order)
    if way == URLLIB3:
        return _by_urllib3(stack, order)
    if order["pause"]:
        return _by_requests(stack.enter_context(_session(way, order)), order)
    return lambda method: _by_requests(stack.enter_context(_session(way, order)), order)(method)


def _session(way: str, order: Mapping[str, Any]) -> Any:
    return session_of(way, order["ca_file"], tuple(order["cert"]))


def _by_requests(session: Any, order: Mapping[str, Any]) -> Call:
    def call(method: str) -> None:
        body = _BODY if method == "POST" else None
        session.request(method, order["url"], data=body, timeout=LONG_TIMEOUT).raise_for_status()

    return call


def _context(order: Mapping[str, Any]) -> ssl.SSLContext:
    context = create_urllib3_context()
    context.load_verify_locations(order["ca_file"])
    context.load_cert_chain(*order["cert"])
    return context


def _by_urllib3(stack: ExitStack, order: Mapping[str, Any]) -> Call:
    manager = stack.enter_context(
        urllib3.PoolManager(ssl_context=_context(order), maxsize=len(order["methods"]))
    )

    def call(method: str) -> None:
        body = _BODY if method == "POST" else None
        answer = manager.request(method, order["url"], body=body, timeout=LONG_TIMEOUT, retries=False)
        if answer.status != 200:
            raise OSError(f"status {answer.status}")

    return call


def _by_hand(order: Mapping[str, Any]) -> Call:
    context = ssl.create_default_context(cafile=order["ca_file"])
    context.load_cert_chain(*order["cert"])
    where = urlsplit(order["url"])
    host, port = str(where.hostname), int(where.port or 443)

    def call(method: str) -> None:
        head = f"{method} {where.path or '/'} HTTP/1.1\r\nHost: {host}\r\n"
        body = _BODY if method == "POST" else b""
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        plain = socket.create_connection((host, port), LONG_TIMEOUT)
        # As urllib3 does: otherwise the request waits for a round trip behind the end of the handshake.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_hostname=host) as sock:
            sock.sendall(head.encode() + b"\r\n" + body)
            # The end of the connection, which stock does not wait for either, may come a round trip later.
            answer = b""
            while b"\r\n\r\n" not in answer and (piece := sock.recv(65536)):
                answer += piece
        if not answer.startswith(b"HTTP/1.1 200"):
            raise OSError(f"answered {answer[:80]!r}")

    return call


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
