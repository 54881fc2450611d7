"""A connection that marks its stages, and settles its permit.

Leans on these names of urllib3 and http.client, pinned in `tests/test_upstream.py`: `_new_conn`, `_tunnel`,
`_tunnel_host`, `getresponse`, `sock`, `_HTTPConnection__response`.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from http.client import SWITCHING_PROTOCOLS
from time import monotonic
from typing import Any, NoReturn

from urllib3.exceptions import NameResolutionError
from urllib3.response import HTTPResponse

from ..events import HandshakeDone
from ..gate.permit import Permit
from ..gate.shared_failure import WIRE_ERRORS, SharedFailure
from ..gate.waiter import Charges
from ..retry.deadline import Deadline
from ..retry.stages import Cause, Stage, classify
from .connect import in_time, is_urllib3s, reach
from .eof import refuse_ragged_end
from .keepalive import KeepAlivePolicy, hints
from .preconnect import Route, finish
from .request_head import is_asked_for
from .response_head import WatchedHTTPResponse
from .timed_stream import rearm
from .tls_sessions import TLSSessions
from .writer import Sending


class Staged(Sending):
    """What the plain and the TLS connection have in common."""

    #: Leave to connect, then membership of the gate; set by the pool, ended by `close`.
    permit: Permit | None = None
    #: Another caller's failure, which this connection meets instead of the server; set by the pool.
    told: SharedFailure | None = None
    #: The TLS sessions of its shared pool; set by the pool.
    sessions: TLSSessions | None = None
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
    #: The registry's generation in which it was made: after a fork it is not the child's.
    generation: int = 0
    #: When it was last known to work, on the monotonic clock; set here and at each check-in.
    proven_at: float = 0.0
    #: When it was made, on the monotonic clock.
    made_at: float = 0.0
    #: For how many seconds the server keeps it when it is idle, and how many requests more it takes, as far
    #: as it has said so.
    hint: float | None = None
    requests_left: int | None = None
    #: What is known of the server; set by the pool.
    keep_alive: KeepAlivePolicy | None = None
    #: When the caller got it that has it, on the monotonic clock; set here and at each checkout.
    taken_at: float = 0.0
    #: Seconds that the TCP connect took.
    _dialled_in: float = 0.0
    #: Seconds that it waited for proof.
    _waited: float = 0.0
    #: The response that was received last.
    _answer: Any = None

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
        trace = self.trace
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
                trace.fail(error)
            if trace.stage is Stage.CONFIRM and isinstance(error, ConnectionError):
                # As http.client does when it meets the same while it waits for the response; urllib3 tells
                # by it whether to blame a proxy.
                super().close()
            self._fail(error, outside)
            raise
        self.made_at = self.proven_at = self.taken_at = trace.connected = monotonic()
        # Before others are let in: they may resume it.
        self.keep_session()
        if self.permit is not None:
            self.permit.succeeded(self.proven_at - began - self._waited, self.is_proven)
        if trace.counters is not None and trace.tls_version is not None:
            trace.counters.shook_hands(trace.resumed)
        dispatcher, trace.dispatcher = trace.dispatcher, None
        if dispatcher is not None:
            confirmed = self.wants_proof and self.is_proven and trace.tls_version is not None
            dispatcher(HandshakeDone, trace.tls_version, trace.resumed, confirmed, self.made_at - began)

    def _connect(self) -> None:
        super().connect()

    def _meet(self, told: SharedFailure) -> NoReturn:
        """Fail as the caller did that this one has waited for, with an exception of one's own."""
        self.trace.borrowed = self.trace.paced = True
        self.trace.mark(told.stage)
        self._has_connected_to_proxy = told.reached_proxy
        raise told.again(self)

    def _fail(self, error: BaseException, outside: BaseException | None) -> None:
        """Settle the permit after a failure; what is the caller's own affair is nobody else's."""
        permit, stage = self.permit, self.trace.stage
        if permit is None:
            return
        cause = classify(error)
        if cause is Cause.TIMEOUT or not isinstance(error, WIRE_ERRORS):
            permit.unused()
            return
        self.trace.paced = permit.failed(
            SharedFailure.of(error, stage, self.has_connected_to_proxy, outside),
            reset=stage.rank >= Stage.TUNNEL.rank and cause in (Cause.RESET, Cause.TLS),
            fatal=cause in (Cause.CERTIFICATE, Cause.DENIED),
            charges=self.trace.charges,
        )

    def _prove(self) -> None:
        """A TCP connection is its own proof."""

    def keep_session(self) -> None:
        """Keep the TLS session, if there is one; for who resumes it."""

    def _new_conn(self) -> socket.socket:
        trace = self.trace
        trace.mark(Stage.CONNECT)
        try:
            sock = self._dialled() or self._dial()
        except NameResolutionError:
            trace.mark(Stage.RESOLVE)
            raise
        self._dialled_in = monotonic() - trace.marked
        trace.mark(Stage.TUNNEL if self._tunnel_host is not None else Stage.HANDSHAKE)
        rearm(sock)
        return sock

    def _dial(self) -> socket.socket:
        """Connect as urllib3 does; by our own hand where there is a deadline, or an order of addresses."""
        deadline, order = self.trace.deadline, self.trace.connection_options.dns_order
        limited = deadline is not None and deadline.is_limited()
        stock = super()._new_conn
        if not limited and order == "system":
            return stock()
        if not is_urllib3s(stock):
            # Somebody else connects: PySocks, or what a program has put in the place of urllib3's way.
            return in_time(stock, self, deadline) if limited else stock()
        return reach(self, deadline or Deadline(), order)

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
        rearm(self.sock)
        self.trace.mark(Stage.HANDSHAKE)

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        """Receive the head of the response."""
        trace = self.trace
        if trace.warming:
            return nothing_asked()
        sock = self.sock
        self._bound_timeout()
        # http.client closes the connection as soon as it knows that it will not be used again.
        permit = self.permit
        try:
            response = super().getresponse()
        except Exception as error:
            unsent, self._unsent = self._unsent, None
            trace.fail(unsent or error)
            self._hear(permit, unsent or error)
            self._suspect(unsent or error)
            if unsent is None:
                raise
            raise unsent from None
        trace.error = None
        trace.mark(Stage.BODY)
        if trace.charges is not None and trace.charges.suspect is not None:
            self._learn(trace.charges)
        if not self.is_proven:
            self._hear(permit, None)
        answer: Any = response._original_response
        self._answer = answer
        if answer.will_close and answer.length is None and not answer.chunked and trace.require_close_notify:
            refuse_ragged_end(sock)
        trace.status = status = response.status
        if status in (401, 407) and is_asked_for(response.headers):
            self.has_owner = True
        if "keep-alive" in response.headers or self.requests_left:
            self._obey(response.headers.get("keep-alive", ""))
        # An idle connection keeps its trace, and no more than that.
        on_answer, trace.on_answer = trace.on_answer, None
        if on_answer is not None and answer.fp is not None:
            on_answer(response)
        return response

    def _hear(self, permit: Permit | None, error: Exception | None) -> None:
        """The first response of a connection, or its absence, says whether the server has accepted it."""
        if permit is None or self.trace.reused:
            return
        cause = None if error is None else classify(error)
        if cause is None:
            self.is_proven = True
            permit.proved()
        elif cause is Cause.CERTIFICATE and error is not None:
            permit.refused(SharedFailure.of(error, self.trace.stage, self.has_connected_to_proxy))
        elif cause is Cause.RESET and not self.wants_proof:
            # With TLS 1.3 it may have been the handshake.
            permit.doubted()

    def _suspect(self, error: Exception) -> None:
        """A request has met its end on a connection that was idle before: one of both is to blame.

        Where it may be sent again, its next answer tells. Where not, the next one had better be careful.
        """
        trace = self.trace
        if not trace.reused or trace.charges is None or classify(error) is not Cause.RESET:
            return
        trace.charges.suspect = self.taken_at - self.proven_at
        if not trace.replayable:
            self._learn(trace.charges)

    def _learn(self, charges: Charges) -> None:
        """The server had closed a connection that was idle: sent again, its request was answered."""
        idle_for, charges.suspect = charges.suspect, None
        if self.keep_alive is not None and idle_for is not None:
            self.keep_alive.closed_after(idle_for)

    def _obey(self, field: str) -> None:
        """Take the server's word for how long, and how often, it may be used again."""
        seconds, count = hints(field)
        if seconds is not None:
            self.hint = seconds
        left = count if count is not None else self.requests_left
        self.requests_left = None if left is None else max(0, left if count is not None else left - 1)

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
