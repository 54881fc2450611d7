"""A connection that marks its stages, is proven before it is used, and can say whether it is alive.

Leans on these names of urllib3 and http.client, pinned in `tests/test_upstream.py`: `_new_conn`, `_tunnel`,
`_tunnel_host`, `send`, `getresponse`, `request`, `sock`.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Mapping
from http.client import SWITCHING_PROTOCOLS, BadStatusLine, HTTPException, RemoteDisconnected
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError
from urllib3.util.wait import wait_for_read

from ..retry.stages import Cause, Stage, classify
from .ending import WatchedHTTPResponse, WatchedSSLSocket, refuse_ragged_end
from .gate import Permit
from .trail import Trail

if TYPE_CHECKING:
    import socket

    from urllib3.response import HTTPResponse

#: The least time that the server's first flight after the handshake is waited for, in seconds.
PROOF_WAIT: Final = 0.020
#: The same after a reset, when a busy machine must not pass for a server that accepts.
PROOF_WAIT_IN_DOUBT: Final = 0.100

#: Schemes that authenticate the connection and not the request (RFC 4559; MS-NTHT).
_CONNECTION_AUTH: Final = ("ntlm", "negotiate")
_AUTH_HEADERS: Final = ("authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate")
_AUTH_LENGTHS: Final = frozenset(map(len, _AUTH_HEADERS))


def is_alive(sock: Any) -> bool:
    """Whether an idle connection can carry a request: where something has come, one read that does not block.

    Nothing to read: alive. An end of file or an error: dead. Data nobody asked for: a protocol
    violation, so dead. The read also takes in TLS session tickets, which make a healthy socket
    readable and would pass for data if one only looked at that.
    """
    try:
        if not wait_for_read(sock, timeout=0) and not _pending(sock):
            return True
        sock.settimeout(0)
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except (OSError, ValueError):
        return False
    return False


def _pending(sock: Any) -> int:
    """Bytes that TLS has decrypted and nobody has read."""
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0


def confirm(sock: Any, patience: float) -> bool:
    """Wait for the server's first flight after a TLS 1.3 handshake, and take it in.

    The client's handshake ends one flight before the server has checked the client's certificate
    (RFC 8446 section 4.6.1 and appendix A.2): a refusal, or a reset in its place, arrives afterwards.

    Args:
        sock: the TLS socket.
        patience: seconds to wait for the flight.

    Returns:
        True: the server sent a session ticket or finished a TLS 1.2 handshake, which proves that it
        accepted the client. False: it was silent, which is weak proof; some servers send no tickets.

    Raises:
        ssl.SSLError: the alert with which it refused.
        OSError: it reset or closed the connection.
        http.client.BadStatusLine: it sent data before it was asked.
    """
    if not isinstance(sock, ssl.SSLSocket) or sock.version() != "TLSv1.3":
        return isinstance(sock, ssl.SSLSocket)
    timeout = sock.gettimeout()
    until = monotonic() + patience
    try:
        while not _has_ticket(sock):
            left = until - monotonic()
            if left <= 0 or not wait_for_read(sock, timeout=left):
                return False
            sock.settimeout(0)
            _take_in(sock)
    finally:
        sock.settimeout(timeout)
    return True


def _has_ticket(sock: ssl.SSLSocket) -> bool:
    session = sock.session
    return session is not None and session.has_ticket


def _take_in(sock: ssl.SSLSocket) -> None:
    try:
        data = sock.recv(1)
    except ssl.SSLWantReadError:
        return
    if data:
        raise BadStatusLine("data before the request")
    # What stock urllib3 raises when it finds the same end of file as it waits for the response.
    raise RemoteDisconnected("Remote end closed connection without response")


class _Staged(HTTPConnection):
    """What the plain and the TLS connection have in common."""

    #: The record of the attempt that uses this connection; set by the pool at each checkout.
    trail: Trail
    #: Leave to connect; set by the pool before, settled by `connect` or `close`.
    permit: Permit | None = None
    #: Whether to wait for proof after the handshake; set by the pool.
    wants_proof: bool = False
    #: Whether the last handshake of this pool was reset; set by the pool.
    in_doubt: bool = False
    #: It was asked for, or carried, NTLM or Negotiate: it belongs to one lease for ever.
    has_owner: bool = False
    #: The registry's generation in which it was made: after a fork it is not the child's.
    generation: int = 0
    #: When it was last known to work, on the monotonic clock; set here and at each check-in.
    proven_at: float = 0.0
    #: The response that was received last.
    _answer: Any = None
    #: Whether the last request was sent to its end; an early answer may cut it short.
    _sent_whole: bool = True

    def is_drained(self) -> bool:
        """Whether the last response was read to its end, so that another request may follow."""
        if not self._sent_whole:
            return False
        answer = self._answer
        return answer is None or (answer.isclosed() and answer.status != SWITCHING_PROTOCOLS)

    #: A connection that lost its socket stays lost: http.client would reconnect in the middle of a request.
    auto_open = 0
    #: What http.client parses a response with.
    response_class = WatchedHTTPResponse
    #: The class of urllib3 that messages name, as they do in stock.
    stock_name = "HTTPConnection"

    def __str__(self) -> str:
        return f"{self.stock_name}(host={self.host!r}, port={self.port!r})"

    def connect(self) -> None:
        """Connect, shake hands, wait for proof; settle the permit."""
        trail = self.trail
        self._bound_timeout()
        try:
            super().connect()
            self._prove()
        except BaseException as error:
            trail.fail(error)
            self._settle(Permit.failed if _was_reset(trail.stage, error) else Permit.unused)
            if trail.stage is Stage.CONFIRM and isinstance(error, ConnectionError):
                # As http.client does when it meets the same while it waits for the response; urllib3 tells
                # by it whether to blame a proxy.
                self.close()
            raise
        self.proven_at = trail.connected = monotonic()
        self._settle(Permit.succeeded)

    def _settle(self, how: Callable[[Permit], None]) -> None:
        permit, self.permit = self.permit, None
        if permit is not None:
            how(permit)

    def _prove(self) -> None:
        """A TCP connection is its own proof."""

    def _new_conn(self) -> socket.socket:
        trail = self.trail
        trail.mark(Stage.CONNECT)
        try:
            sock = super()._new_conn()
        except NameResolutionError:
            trail.mark(Stage.RESOLVE)
            raise
        trail.mark(Stage.TUNNEL if self._tunnel_host is not None else Stage.HANDSHAKE)
        return sock

    def _tunnel(self) -> None:
        super()._tunnel()
        self.trail.mark(Stage.HANDSHAKE)

    def send(self, data: Any) -> None:
        """Send bytes of the request, or of the CONNECT before it."""
        trail = self.trail
        if trail.stage is not Stage.TUNNEL and trail.stage is not Stage.REQUEST:
            trail.mark(Stage.REQUEST)
            if trail.send_timeout is not None and self.sock is not None:
                # urllib3 sends within the time-out for connecting.
                self.sock.settimeout(trail.patience_to_send())
        try:
            super().send(data)
        except OSError as error:
            trail.fail(error)
            raise
        if trail.stage is Stage.REQUEST:
            trail.bytes_out += memoryview(data).nbytes

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        """Send a request; one that authenticates the connection gives it an owner."""
        if headers and _authenticates(headers):
            self.has_owner = True
        self._bound_timeout()
        self._sent_whole = False
        super().request(method, url, body=body, headers=headers, **options)
        self._sent_whole = True

    def _bound_timeout(self) -> None:
        """Let no socket operation wait longer than what the deadline leaves; 0 would mean "do not block"."""
        deadline = self.trail.deadline
        if deadline is not None and deadline.expires != math.inf:
            self.timeout = max(deadline.bound(self.timeout) or 0.0, 0.001)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Receive the head of the response."""
        trail = self.trail
        trail.sock = sock = self.sock
        self._bound_timeout()
        try:
            response = super().getresponse()
        except Exception as error:
            trail.fail(error)
            raise
        trail.error = None
        trail.mark(Stage.BODY)
        answer: Any = response._original_response
        self._answer = answer
        if answer.will_close and answer.length is None and not answer.chunked and trail.require_close_notify:
            refuse_ragged_end(sock)
        if response.status in (401, 407) and _authenticates(response.headers):
            self.has_owner = True
        return response

    def close(self) -> None:
        """Close the socket; a permit that was never used goes back."""
        self._settle(Permit.unused)
        super().close()


def _was_reset(stage: Stage, error: BaseException) -> bool:
    """Whether a failure says that the server bears fewer handshakes at once.

    A refused port, a name that is not found, a bad certificate and a time-out of the caller's own say
    nothing about that.
    """
    late = stage.rank >= Stage.TUNNEL.rank
    ours = isinstance(error, (OSError, HTTPException))
    return late and ours and classify(error) in (Cause.RESET, Cause.TLS)


def _authenticates(headers: Mapping[str, str]) -> bool:
    """Whether headers ask for, or are, authentication of the connection."""
    for name in headers:
        # `get` costs an exception for each name that is not there, and most requests have none.
        if len(name) in _AUTH_LENGTHS and _lower(name) in _AUTH_HEADERS:
            text = _lower(headers[name])
            if any(scheme in text for scheme in _CONNECTION_AUTH):
                return True
    return False


def _lower(text: str | bytes) -> str:
    return (text.decode("latin-1") if isinstance(text, bytes) else str(text)).lower()


class PlainConnection(_Staged):
    """A connection without TLS to the server or to a forwarding proxy."""


class TLSConnection(_Staged, HTTPSConnection):
    """A connection with TLS."""

    stock_name = "HTTPSConnection"

    def _prove(self) -> None:
        trail = self.trail
        sock: Any = self.sock
        trail.resumed = bool(getattr(sock, "session_reused", False))
        if isinstance(sock, WatchedSSLSocket):
            sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        if self.wants_proof:
            # Twice the handshake just measured, never TCP's round trip: a proxy or a sidecar answers that.
            floor = PROOF_WAIT_IN_DOUBT if self.in_doubt else PROOF_WAIT
            patience = max(floor, 2 * (monotonic() - trail.marked))
            trail.mark(Stage.CONFIRM)
            left = trail.deadline.bound(None) if trail.deadline else None
            confirm(sock, patience if left is None else min(patience, left))
