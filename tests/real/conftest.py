"""Fixtures that start real servers. Without the programs a person's run skips these tests, and CI fails."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter
from resilient_transport.testing import Authority
from tests.missing import missing
from tests.real.servers import LOOPBACK, HAProxy, Nginx, Server, find_binary
from tests.slate import clean_slate  # noqa: F401 - a fixture
from tests.timeouts import LONG_TIMEOUT

ServerType = TypeVar("ServerType", bound=Server)


def require(binary: str) -> None:
    """Skip the test if a program is missing; fail it in CI, so that a green run has tried everything."""
    if find_binary(binary) is None:
        missing(
            f"{binary} is not installed (Debian: apt-get install nginx-light haproxy redis-server chromium)"
        )


def starter(
    kind: type[ServerType], directory: Path, authority: Authority, running: contextlib.ExitStack
) -> Any:
    """Return a function that starts a server with the options of its class; certificates are filled in."""

    def start(**options: Any) -> ServerType:
        place = directory / f"{kind.binary}{len(list(directory.glob(kind.binary + '*')))}"
        place.mkdir()
        options.setdefault("certificate", authority.server("good"))
        options.setdefault("client_ca", authority.ca_file)
        server = kind(place, **options)
        running.enter_context(server)
        return server

    return start


@pytest.fixture
def nginx(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Nginx]]:
    """`nginx(verify_client="on", ...)` starts one; it ends with the test."""
    require("nginx")
    with contextlib.ExitStack() as running:
        yield starter(Nginx, tmp_path, authority, running)


@pytest.fixture
def haproxy(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., HAProxy]]:
    """`haproxy(verify_client="required", ...)` starts one; it ends with the test."""
    require("haproxy")
    with contextlib.ExitStack() as running:
        yield starter(HAProxy, tmp_path, authority, running)


class Backend(ThreadingHTTPServer):
    """A plain HTTP server for behind nginx or HAProxy; it answers "ok" to nobody before `may_answer` says so.

    That takes the number of requests that have come so far, and is not asked any more once it was true.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, may_answer: Callable[[int], object]) -> None:
        super().__init__((LOOPBACK, 0), _Held)
        self.may_answer = may_answer
        #: How often each request was executed: its method, and its X-Request-Id.
        self.executed: collections.Counter[tuple[str, str]] = collections.Counter()
        self.lock = threading.Lock()
        self.released = threading.Event()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server_address[1]

    @property
    def came(self) -> int:
        """How many requests have come."""
        with self.lock:
            return self.executed.total()

    def hold(self, request: tuple[str, str]) -> bool:
        """Note a request and wait until it may be answered; False when that takes too long."""
        with self.lock:
            self.executed[request] += 1
        deadline = time.monotonic() + LONG_TIMEOUT
        while not self.released.is_set() and time.monotonic() < deadline:
            if self.may_answer(self.came):
                self.released.set()
            self.released.wait(0.005)
        return self.released.is_set()

    def handle_error(self, *_: object) -> None:
        """Say nothing when who has asked is gone."""


class _Held(BaseHTTPRequestHandler):
    """One request of a `Backend`."""

    server: Backend

    def do_GET(self) -> None:
        """Answer when it is time."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = (self.command, self.headers.get("X-Request-Id", ""))
        content = b"ok" if self.server.hold(request) else b"too late"
        self.send_response(200 if content == b"ok" else 500)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def backend() -> Iterator[Callable[[Callable[[int], object]], Backend]]:
    """`backend(lambda came: came == 8)` starts one that answers when 8 requests are there."""
    with contextlib.ExitStack() as running:

        def start(may_answer: Callable[[int], object]) -> Backend:
            server = running.enter_context(Backend(may_answer))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
            return server

        yield start


@pytest.fixture
def dial(authority: Authority) -> Iterator[Callable[..., requests.Session]]:
    """`dial(adapter)` makes a session with alice's certificate, closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def session_with(adapter: HTTPAdapter | None = None, **settings: Any) -> requests.Session:
            session = stack.enter_context(requests.Session())
            session.trust_env = False
            session.verify, session.cert = authority.ca_file, settings.pop("cert", authority.client)
            session.mount("https://", adapter or ResilientAdapter(**settings))
            return session

        yield session_with


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make calls in threads that start together; return what each has returned, or how it failed."""
    together = threading.Barrier(len(calls))

    def make(call: Callable[[], Any]) -> Any:
        together.wait(LONG_TIMEOUT)
        try:
            return call()
        except requests.RequestException as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(make, calls))
