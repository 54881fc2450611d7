"""What each contestant does: one class for each library.

Nothing of a library is imported before it is used: a worker holds its own and no other, in an environment
that may have no other.
"""

import importlib
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from benchmarks.contestants import FLOOR, HTTPX, NIQUESTS, OURS, RETRY, URLLIB3, WARMED
from benchmarks.floor import Floor

#: Seconds; never reached.
TIMEOUT: Final = 10.0
#: What a streaming caller asks for at a time, in bytes.
CHUNK: Final = 65_536


class Client(Protocol):
    """Makes calls; an answer other than 200 is an error, and a body is read to its end."""

    def call(self, method: str, url: str, body: bytes | None = None) -> bytes:
        """Make a call; return the body of its answer."""

    def prepared(self, method: str, url: str) -> Callable[[], bytes]:
        """Return a function that makes this call, with as much done beforehand as the library allows."""

    def stream(self, url: str) -> int:
        """Fetch a body bit by bit; return its length."""

    def close(self) -> None:
        """Close all connections."""


class Requests:
    """A session of `requests`, or of niquests."""

    def __init__(self, library: Any, adapter: Any, ca_file: str, cert: tuple[str, str]) -> None:
        self._library = library
        self.session = library.Session()
        self.session.trust_env = False
        self.session.verify, self.session.cert = ca_file, cert
        if adapter is not None:
            self.session.mount("https://", adapter)
        self.close = self.session.close

    def call(self, method: str, url: str, body: bytes | None = None) -> bytes:
        """Make a call as most people do: GETs by `Session.get`."""
        if method == "GET":
            response = self.session.get(url, timeout=TIMEOUT)
        else:
            response = self.session.request(method, url, data=body, timeout=TIMEOUT)
        response.raise_for_status()
        return response.content

    def prepared(self, method: str, url: str) -> Callable[[], bytes]:
        """Return a function that sends a prepared request by `adapter.send`, and reads the body."""
        session = self.session
        request = session.prepare_request(self._library.Request(method, url))
        send = session.get_adapter(url).send
        return lambda: send(request, timeout=TIMEOUT, verify=session.verify, cert=session.cert).content

    def stream(self, url: str) -> int:
        """Fetch a body by `iter_content`."""
        with self.session.get(url, stream=True, timeout=TIMEOUT) as response:
            return sum(map(len, response.iter_content(CHUNK)))


class Urllib3:
    """A `PoolManager` of urllib3."""

    def __init__(self, context: ssl.SSLContext) -> None:
        import urllib3

        timeout = urllib3.Timeout(TIMEOUT)
        self._pool = urllib3.PoolManager(ssl_context=context, maxsize=32, retries=False, timeout=timeout)
        self.close = self._pool.clear

    def call(self, method: str, url: str, body: bytes | None = None) -> bytes:
        """Make a call."""
        response = self._pool.request(method, url, body=body)
        if response.status != 200:
            raise ConnectionError(f"no good answer: {response.status}")
        return response.data

    def prepared(self, method: str, url: str) -> Callable[[], bytes]:
        """Return a function that sends the request over the pool of its server."""
        pool, path = self._pool.connection_from_url(url), "/" + url.split("/", 3)[3]
        return lambda: pool.urlopen(method, path).data

    def stream(self, url: str) -> int:
        """Fetch a body by `stream`."""
        response = self._pool.request("GET", url, preload_content=False)
        return sum(map(len, response.stream(CHUNK)))


class Httpx:
    """A client of httpx that repeats by httpx-retries."""

    def __init__(self, context: ssl.SSLContext) -> None:
        import httpx
        import httpx_retries

        transport = httpx_retries.RetryTransport(transport=httpx.HTTPTransport(verify=context))
        self._client = httpx.Client(transport=transport, trust_env=False, timeout=TIMEOUT)
        self.close = self._client.close

    def call(self, method: str, url: str, body: bytes | None = None) -> bytes:
        """Make a call."""
        return self._client.request(method, url, content=body).raise_for_status().content

    def prepared(self, method: str, url: str) -> Callable[[], bytes]:
        """Return a function that sends a request which is built anew: a built one may be used once."""
        request = self._client.build_request(method, url)
        return lambda: self._client.send(request).content

    def stream(self, url: str) -> int:
        """Fetch a body by `iter_bytes`."""
        with self._client.stream("GET", url) as response:
            return sum(map(len, response.iter_bytes(CHUNK)))


def context_for(ca_file: str, cert: tuple[str, str]) -> ssl.SSLContext:
    """Return a context that trusts these CAs and shows this certificate."""
    context = ssl.create_default_context(cafile=ca_file)
    context.load_cert_chain(*cert)
    return context


def adapter_of(contestant: str) -> Any:
    """Return an adapter for `requests`."""
    if contestant in (OURS, WARMED):
        from resilient_transport import ResilientAdapter

        return ResilientAdapter()
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    return HTTPAdapter(max_retries=Retry(3)) if contestant == RETRY else HTTPAdapter()


#: What each needs to have imported. `resilient_transport` alone imports nothing before its first name.
_LIBRARIES: Final[dict[str, tuple[str, ...]]] = {
    # The codec is what `requests` and urllib3 have imported, too; `ssl` needs it for the server's name.
    FLOOR: ("encodings.idna",),
    URLLIB3: ("urllib3",),
    HTTPX: ("httpx", "httpx_retries"),
    NIQUESTS: ("niquests",),
    OURS: ("requests", "resilient_transport.public_names"),
    WARMED: ("requests", "resilient_transport.public_names"),
}


def load(contestant: str) -> None:
    """Import the contestant's library: that is in no measurement here."""
    for name in _LIBRARIES.get(contestant, ("requests",)):
        importlib.import_module(name)


def maker(contestant: str, ca_file: str, cert: tuple[str, str]) -> Callable[[], Client]:
    """Return a function that makes the client of one caller.

    Callers of the floor share a context, those of urllib3 its pool too. All others know nothing of each
    other.
    """
    if contestant == FLOOR:
        return partial(Floor, context_for(ca_file, cert))
    if contestant == URLLIB3:
        shared = Urllib3(context_for(ca_file, cert))
        return lambda: shared
    if contestant == HTTPX:
        return lambda: Httpx(context_for(ca_file, cert))
    return partial(_session, contestant, ca_file, cert)


def _session(contestant: str, ca_file: str, cert: tuple[str, str]) -> Requests:
    """Return a session of `requests` or niquests."""
    if contestant == NIQUESTS:
        return Requests(importlib.import_module("niquests"), None, ca_file, cert)
    return Requests(importlib.import_module("requests"), adapter_of(contestant), ca_file, cert)
