"""A connection that marks its stages, and settles its permit.

Leans on these names of urllib3 and http.client, pinned in `tests/test_upstream.py`: `_new_conn`, `_tunnel`,
`_tunnel_host`, `send`, `getresponse`, `request`, `sock`, `_HTTPConnection__response`.
"""

from __future__ import annotations

import math
import socket
import ssl
import sys
from collections.abc import Callable
from http.client import SWITCHING_PROTOCOLS
from time import monotonic
from typing import Any, NoReturn

from urllib3.connection import HTTPConnection
from urllib3.exceptions import NameResolutionError
from urllib3.response import HTTPResponse

from ..retry.stages import Cause, Stage, classify
from .dial import Route, finish
from .ending import WatchedHTTPResponse, refuse_ragged_end
from .owner import is_asked_for, told_by
from .permit import Permit
from .refusal import WIRE_ERRORS, Refusal
from .resumption import Sessions
from .sending import pieces_of
from .trail import Trail


class Staged(HTTPConnection):
    """What the plain and the TLS connection have in common."""

    #: The record of the attempt that uses this connection; set by the pool at each checkout.
    trail: Trail
    #: Leave to connect, then membership of the gate; set by the pool, ended by `close`.
    permit: Permit | None = None
    #: Another caller's failure, which this connection meets instead of the server; set by the pool.
    told: Refusal | None = None
    #: The TLS sessions of its shelf; set by the pool.
    sessions: Sessions | None = None
    #: A TCP connect that was begun ahead; set by the pool, taken by `connect`.
    begun: socket.socket | None = None
    #: Begins connects for those that wait, once this one's has succeeded; set by the pool while it is cold.
    dial_for_others: Callable[[Route | None], None] | None = None
    #: Whether the server has accepted it, as far as a ticket, TLS 1.2 or a response can say.
    is_proven: bool = True
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
    #: When the caller got it that has it, on the monotonic clock; set here and at each checkout.
    taken_at: float = 0.0
    #: Seconds that the TCP connect took.
    _dialled_in: float = 0.0
    #: Seconds that it waited for proof.
    _waited: float = 0.0
    #: Whether its last user has asked anything; who warms it does not.
    was_asked: bool = True
    #: The response that was received last.
    _answer: Any = None
    #: Whether the last request has asked to close it, which a server may do without a word (RFC 9112, 9.6).
    _closing: bool = False
    #: Why the last request was not sent to its end, if the server may have answered all the same.
    _unsent: ssl.SSLError | None = None
    #: Whether the last request was sent to its end; an early answer may cut it short.
    _sent_whole: bool = True

    def is_drained(self) -> bool:
        """Whether the last response was read to its end, so that another request may follow."""
        if not self._sent_whole or self._closing:
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
        began = monotonic()
        outside = sys.exc_info()[1]
        try:
            if self.told is not None:
                self._meet(self.told)
            self._bound_timeout()
            self._connect()
            self._prove()
        except BaseException as error:
            if isinstance(error, WIRE_ERRORS):
                trail.fail(error)
            if trail.stage is Stage.CONFIRM and isinstance(error, ConnectionError):
                # As http.client does when it meets the same while it waits for the response; urllib3 tells
                # by it whether to blame a proxy.
                super().close()
            self._fail(error, outside)
            raise
        self.proven_at = self.taken_at = trail.connected = monotonic()
        # Before others are let in: they may resume it.
        self.keep_session()
        if self.permit is not None:
            self.permit.succeeded(self.proven_at - began - self._waited, self.is_proven)

    def _connect(self) -> None:
        super().connect()

    def _meet(self, told: Refusal) -> NoReturn:
        """Fail as the caller did that this one has waited for, with an exception of one's own."""
        self.trail.borrowed = self.trail.paced = True
        self.trail.mark(told.stage)
        self._has_connected_to_proxy = told.reached_proxy
        raise told.again(self)

    def _fail(self, error: BaseException, outside: BaseException | None) -> None:
        """Settle the permit after a failure; what is the caller's own affair is nobody else's."""
        permit, stage = self.permit, self.trail.stage
        if permit is None:
            return
        cause = classify(error)
        if cause is Cause.TIMEOUT or not isinstance(error, WIRE_ERRORS):
            permit.unused()
            return
        self.trail.paced = permit.failed(
            Refusal.of(error, stage, self.has_connected_to_proxy, outside),
            reset=stage.rank >= Stage.TUNNEL.rank and cause in (Cause.RESET, Cause.TLS),
            fatal=cause in (Cause.CERTIFICATE, Cause.DENIED),
            charges=self.trail.charges,
        )

    def _prove(self) -> None:
        """A TCP connection is its own proof."""

    def keep_session(self) -> None:
        """Keep the TLS session, if there is one; for who resumes it."""

    def _new_conn(self) -> socket.socket:
        trail = self.trail
        trail.mark(Stage.CONNECT)
        try:
            sock = self._dialled() or super()._new_conn()
        except NameResolutionError:
            trail.mark(Stage.RESOLVE)
            raise
        self._dialled_in = monotonic() - trail.marked
        trail.mark(Stage.TUNNEL if self._tunnel_host is not None else Stage.HANDSHAKE)
        return sock

    def _dialled(self) -> socket.socket | None:
        """The connect that was begun ahead, once it is done; None when there is none, or it has failed."""
        begun, self.begun = self.begun, None
        if begun is None:
            return None
        try:
            sock = finish(begun, self.timeout)
        except OSError:
            return None
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def _tunnel(self) -> None:
        super()._tunnel()
        self.trail.mark(Stage.HANDSHAKE)

    def send(self, data: Any) -> None:
        """Send bytes of the request, or of the CONNECT before it."""
        trail = self.trail
        if trail.stage is not Stage.TUNNEL and trail.stage is not Stage.REQUEST:
            trail.mark(Stage.REQUEST)
            owned, self._closing = told_by(data)
            self.has_owner = self.has_owner or owned
            self._bound_sending()
        try:
            for piece in pieces_of(data):
                super().send(piece)
                if trail.stage is Stage.REQUEST:
                    self._sent(piece)
        except OSError as error:
            trail.fail(error)
            raise

    def _sent(self, piece: bytes | memoryview) -> None:
        trail = self.trail
        trail.bytes_out += len(piece)
        if trail.deadline is not None and trail.deadline.expires != math.inf:
            self._bound_sending()

    def _bound_sending(self) -> None:
        """Grant what may pass between two bytes; urllib3 grants what connecting may take."""
        if self.sock is not None and (self.trail.send_timeout is None or self.trail.send_timeout >= 0):
            self.sock.settimeout(self.trail.patience_to_send())

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        """Send a request; one that authenticates the connection gives it an owner."""
        self.was_asked = not self.trail.warming
        if not self.was_asked:
            return
        self._bound_timeout()
        self._sent_whole = False
        self._unsent = None
        try:
            super().request(method, url, body=body, headers=headers, **options)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            # urllib3 looks for an answer after a reset or a broken pipe, but not after these.
            self._unsent = error
            return
        self._sent_whole = True

    def _bound_timeout(self) -> None:
        """Let no socket operation wait longer than what the deadline leaves; 0 would mean "do not block"."""
        deadline = self.trail.deadline
        if deadline is not None and deadline.expires != math.inf:
            self.timeout = max(deadline.bound(self.timeout) or 0.0, 0.001)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Receive the head of the response."""
        trail = self.trail
        if trail.warming:
            return nothing_asked()
        trail.sock = sock = self.sock
        self._bound_timeout()
        # http.client closes the connection as soon as it knows that it will not be used again.
        permit = self.permit
        try:
            response = super().getresponse()
        except Exception as error:
            unsent, self._unsent = self._unsent, None
            trail.fail(unsent or error)
            self._hear(permit, unsent or error)
            if unsent is None:
                raise
            raise unsent from None
        trail.error = None
        trail.mark(Stage.BODY)
        if not self.is_proven:
            self._hear(permit, None)
        answer: Any = response._original_response
        self._answer = answer
        if answer.will_close and answer.length is None and not answer.chunked and trail.require_close_notify:
            refuse_ragged_end(sock)
        trail.status = status = response.status
        if status in (401, 407) and is_asked_for(response.headers):
            self.has_owner = True
        if trail.on_answer is not None and answer.fp is not None:
            trail.on_answer(response)
        return response

    def _hear(self, permit: Permit | None, error: Exception | None) -> None:
        """The first response of a connection, or its absence, says whether the server has accepted it."""
        if permit is None or self.trail.reused:
            return
        cause = None if error is None else classify(error)
        if cause is None:
            self.is_proven = True
            permit.proved()
        elif cause is Cause.CERTIFICATE and error is not None:
            permit.refused(Refusal.of(error, self.trail.stage, self.has_connected_to_proxy))
        elif cause is Cause.RESET and not self.wants_proof:
            # With TLS 1.3 it may have been the handshake.
            permit.doubted()

    def let_go_of_answer(self) -> None:
        """Leave the response that is being read open when this is closed: its body goes on elsewhere."""
        self._HTTPConnection__response = None

    def close(self) -> None:
        """Close the socket; a permit that was never used goes back."""
        permit, self.permit = self.permit, None
        if permit is not None:
            permit.closed()
        begun, self.begun = self.begun, None
        if begun is not None:
            begun.close()
        super().close()


def nothing_asked() -> HTTPResponse:
    """What a connection answers when nothing was asked over it."""
    return HTTPResponse(body=b"", status=204, preload_content=False)


class PlainConnection(Staged):
    """A connection without TLS to the server or to a forwarding proxy."""
