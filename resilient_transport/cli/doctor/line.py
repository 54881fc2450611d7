"""A connection that is made by hand, with `socket` and `ssl` alone, step by step.

It shares nothing with the adapter, nor with urllib3: what it can do, the network can do. Each step is kept
with its time, and what it meets is raised as the standard library has it.
"""

from __future__ import annotations

import http.client
import selectors
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from time import monotonic, time
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ...call.redaction import describe
from ...retry.causes import Cause, classify
from ...waterfall.chart import Bar, Phase
from .allowance import Budget
from .socks_client import connect_through
from .target import Target
from .tls_relay import inside

#: What a step raises if the network does something wrong.
FAILURES: Final = (OSError, http.client.HTTPException, ValueError)
#: Bytes of a body that are read at the most. No body is read for longer than a step may take, either.
MOST_BYTES: Final = 4_000_000
_PIECE: Final = 65536
#: The least time that is waited for a server's word after the handshake, in seconds.
PROOF: Final = 0.02
#: Seconds between two looks at a connection that is held.
_LOOK: Final = 0.5


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a line has met, and where."""

    #: The step.
    phase: Phase
    #: What the adapter would call it.
    cause: Cause
    #: The error's type and reason, without secrets.
    error: str
    #: Seconds from the start of the step.
    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, as far as it came."""

    #: Its status.
    status: int
    #: Its header, by names in lower case. No value of it is ever shown.
    headers: Mapping[str, str] = field(repr=False)
    #: Bytes of the body that came, as encoded on the wire.
    body_bytes: int = 0
    #: The first kilobyte of the body.
    beginning: bytes = field(default=b"", repr=False)
    #: Why the body is not whole; None: it is.
    cut: Trouble | None = None
    #: Whether the rest of the body was left, since what came is enough.
    is_left: bool = False
    #: Whether the server keeps the connection, by its own word.
    keeps: bool = True
    #: POSIX time when the head came.
    came_at: float = 0.0
    #: 10 for HTTP/1.0, 11 for HTTP/1.1.
    version: int = 11


class How(str, Enum):
    """How a server ends a connection that nobody uses."""

    FIN = "by a FIN"
    RESET = "by a reset"
    #: Such as a response with status 408.
    UNASKED = "by a word that nobody has asked for"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of a connection that nobody used."""

    #: Seconds since it was looked at first.
    seconds: float
    #: What showed it.
    how: How


class ConnectRefused(OSError):
    """A proxy has answered CONNECT with another status than 200."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered CONNECT with status {status}")
        #: The status.
        self.status = status


class Line:
    """A connection by hand.

    Args:
        target: where it leads.
        budget: what it takes its leave from.
        timeout: seconds for each step.
        address: a family, and what `connect` takes, as `socket.getaddrinfo` gives it; None: the name's first.
    """

    def __init__(
        self,
        target: Target,
        budget: Budget,
        timeout: float,
        address: tuple[int, tuple[object, ...]] | None = None,
    ) -> None:
        self.target, self.budget, self.timeout, self.address = target, budget, timeout, address
        self.proxy = urlsplit(target.proxy) if target.proxy else None
        #: The socket; None: it is not connected.
        self.sock: socket.socket | ssl.SSLSocket | None = None
        #: Where it leads, as people write it.
        self.peer: str | None = None
        #: The steps so far; their times are on the monotonic clock.
        self.bars: list[Bar] = []
        #: What it has met last.
        self.trouble: Trouble | None = None
        #: The method of its last request, and the answer; empty and None: there was none.
        self.asked = ""
        self.answer: Answer | None = None
        #: "TLSv1.3" and the like, once hands were shaken.
        self.tls_version: str | None = None

    @property
    def is_socks(self) -> bool:
        """Whether the proxy speaks SOCKS, so that it sees no request."""
        return self.proxy is not None and self.proxy.scheme.startswith("socks")

    @contextmanager
    def step(self, phase: Phase) -> Iterator[None]:
        """Keep a step with its time, and what it meets, which is raised all the same."""
        began = monotonic()
        try:
            yield
        except FAILURES as error:
            seconds = monotonic() - began
            self.trouble = Trouble(phase, classify(error), describe(error), seconds)
            self.bars.append(Bar(phase, began, seconds, True, self.trouble.error))
            raise
        self.bars.append(Bar(phase, began, monotonic() - began))

    def dial(self) -> None:
        """Find the address, and connect by TCP: to the proxy, if there is one."""
        self.budget.connect()
        address = self.address
        if address is None:
            with self.step(Phase.NAME):
                address = self._looked_up()
        with self.step(Phase.DIAL):
            sock = socket.socket(address[0], socket.SOCK_STREAM)
            self.sock = sock
            sock.settimeout(self.timeout)
            sock.connect(address[1])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # It fails if the other side has reset the connection meanwhile.
            host, port = sock.getpeername()[:2]
        self.peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def tunnel(self) -> None:
        """Have the proxy connect to the server; an http proxy is not asked to for a plain target.

        Raises:
            ConnectRefused: the proxy does not.
            SocksRefused: a SOCKS proxy does not.
        """
        proxy = self.proxy
        if proxy is None:
            return
        with self.step(Phase.TUNNEL):
            if self.is_socks:
                connect_through(self._open(), proxy, self.target.host, self.target.port)
                return
            if proxy.scheme == "https":
                self.sock = self._context_for_proxy().wrap_socket(
                    self._open(), server_hostname=proxy.hostname
                )
            if self.target.is_tls:
                self._connect_through(proxy.username, proxy.password)

    def shake_hands(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        """Shake hands by TLS; nothing is done for a plain target.

        Args:
            context: the client's side.
            session: is offered.
        """
        if not self.target.is_tls:
            return
        with self.step(Phase.HANDSHAKE):
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock = inside(self.sock)
            shaken = context.wrap_socket(self._open(), server_hostname=self.target.host, session=session)
            self.sock, self.tls_version = shaken, shaken.version()

    def confirm(self, patience: float = PROOF) -> bool:
        """Wait for the server's first word after the handshake; whether it has accepted the client.

        In TLS 1.3 the server refuses a client certificate only then (RFC 8446 section 4.6.1); a ticket is
        its consent, silence is no proof. In TLS 1.2 the handshake is; that the server ends the connection
        right after it is noticed all the same.

        Args:
            patience: seconds that are waited at the least.
        """
        sock = self.sock
        if not isinstance(sock, ssl.SSLSocket) or not self.target.is_tls:
            return True
        before, is_proven = sock.session, sock.version() != "TLSv1.3"
        with self.step(Phase.CONFIRM):
            until = monotonic() + max(patience, 2 * self.bars[-1].seconds)
            sock.settimeout(0)
            try:
                while not _has_word(sock, before) and (left := until - monotonic()) > 0:
                    _wait_for(sock, left)
            finally:
                sock.settimeout(self.timeout)
        return is_proven or _has_ticket(sock, before)

    def ask(
        self,
        method: str = "GET",
        resource: str | None = None,
        headers: Mapping[str, str] | None = None,
        listener: Callable[[bytes], object] = lambda _: None,
    ) -> Answer:
        """Send a request, and read all of its response; a body that is cut is no error here.

        Args:
            method: GET or HEAD.
            resource: path and query; None: the target's.
            headers: besides Host, User-Agent and Accept.
            listener: is shown the body's bytes as they come.
        """
        self.budget.request()
        sock = self._open()
        self.asked, self.answer = method, None
        with self.step(Phase.FIRST_BYTE):
            sock.sendall(self._head(method, resource or self.target.resource, headers or {}))
            response = _Response(sock, method=method)
            response.begin()
        fields = {name.lower(): value for name, value in response.getheaders()}
        keeps, version = not response.will_close, response.version
        answer = Answer(response.status, fields, keeps=keeps, came_at=time(), version=version)
        with response:
            self.answer = self._with_body(answer, response, listener)
        return self.answer

    def end_within(self, seconds: float, tick: Callable[[float], object] = lambda _: None) -> Ended | None:
        """Hold the connection, and watch for its end; None: it is still open.

        Args:
            seconds: for how long.
            tick: is told now and then how many seconds have passed.
        """
        sock, began = self._open(), monotonic()
        sock.setblocking(False)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(sock, selectors.EVENT_READ)
                while (how := _end_of(sock)) is None and (left := began + seconds - monotonic()) > 0:
                    tick(monotonic() - began)
                    selector.select(min(left, _LOOK))
        finally:
            sock.settimeout(self.timeout)
            passed = monotonic() - began
            self.bars.append(Bar(Phase.WAIT, began, passed))
        return None if how is None else Ended(passed, how)

    def close(self) -> None:
        """Close it; again is harmless."""
        sock, self.sock = self.sock, None
        if sock is not None:
            with suppress(OSError):
                sock.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _with_body(
        self, answer: Answer, response: http.client.HTTPResponse, listener: Callable[[bytes], object]
    ) -> Answer:
        """The answer with what came of its body."""
        count, beginning, cut, is_left = 0, b"", None, False
        until = monotonic() + self.timeout
        try:
            with self.step(Phase.BODY):
                while not is_left and (piece := response.read1(_PIECE)):
                    listener(piece)
                    count += len(piece)
                    beginning = (beginning + piece)[:1024] if len(beginning) < 1024 else beginning
                    is_left = bool(response.length != 0 and (count >= MOST_BYTES or monotonic() > until))
                if response.length and not is_left:
                    # `http.client` takes a piece that is short for the end of a body.
                    raise http.client.IncompleteRead(b"", response.length)
        except FAILURES:
            cut = self.trouble
        return replace(answer, is_left=is_left, beginning=beginning, cut=cut, body_bytes=count)

    def _head(self, method: str, resource: str, headers: Mapping[str, str]) -> bytes:
        proxy = self.proxy
        if proxy is not None and not self.is_socks and not self.target.is_tls:
            resource = f"{self.target.origin}{resource}"
            headers = {**_authorization(proxy.username, proxy.password), **headers}
        about = {"Host": self.target.host_field, "User-Agent": "resilient-transport-doctor", "Accept": "*/*"}
        lines = [
            f"{method} {resource} HTTP/1.1",
            *(f"{name}: {value}" for name, value in {**about, **headers}.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _connect_through(self, user: str | None, password: str | None) -> None:
        sock, target = self._open(), self.target
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"Host: {host}:{target.port}"]
        lines += [f"{name}: {value}" for name, value in _authorization(user, password).items()]
        sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        # Not buffered: what follows the head is the server's handshake.
        response = http.client.HTTPResponse(sock, method="CONNECT")
        response.begin()
        if response.status != 200:
            raise ConnectRefused(response.status)

    def _context_for_proxy(self) -> ssl.SSLContext:
        return ssl.create_default_context(
            cafile=self.target.verify if isinstance(self.target.verify, str) else None
        )

    def _looked_up(self) -> tuple[int, tuple[object, ...]]:
        target = self.target
        host, port = (target.host, target.port) if self.proxy is None else target.dialled
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return found[0], found[4]

    def _open(self) -> socket.socket:
        if self.sock is None:
            raise RuntimeError("it is not connected: call dial() first")
        return self.sock


def _has_ticket(sock: ssl.SSLSocket, before: ssl.SSLSession | None) -> bool:
    """Whether a TLS 1.3 server has sent a ticket since."""
    now = sock.session if sock.version() == "TLSv1.3" else None
    return now is not None and now.has_ticket and (before is None or now.id != before.id)


def _has_word(sock: ssl.SSLSocket, before: ssl.SSLSession | None) -> bool:
    """Read what TLS itself has to say, and whether that was a word: a ticket, or data that came unasked."""
    try:
        if not sock.recv(1):
            raise ConnectionResetError("closed right after the handshake")
    except ssl.SSLWantReadError:
        return _has_ticket(sock, before)
    return True


def _wait_for(sock: ssl.SSLSocket, seconds: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        selector.select(seconds)


class _Response(http.client.HTTPResponse):
    """A response whose head must be whole; `http.client` takes an end of file for the end of a head."""

    def begin(self) -> None:
        """Read the head."""
        stream: Any = self.fp
        lines: Any = _Lines(stream)
        self.fp = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = stream
        if not lines.last:
            raise http.client.RemoteDisconnected("the head was cut")


class _Lines:
    """A stream that is read by lines, and remembers the last one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        """The next line; nothing at the end."""
        self.last = self._stream.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _end_of(sock: socket.socket) -> How | None:
    """How a connection has ended on which nothing is due; None: it has not. A ticket is no end."""
    try:
        came = sock.recv(4096)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None
    except OSError:
        return How.RESET
    return How.UNASKED if came else How.FIN


def _authorization(user: str | None, password: str | None) -> dict[str, str]:
    """What a proxy is shown."""
    if user is None:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
