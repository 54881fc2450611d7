"""A connection that marks its stages, knows what it has sent, and settles its permit.

It sends in pieces, each in its own time, and no byte more or less than was said.

Where a usual request meets an idle connection, it goes past urllib3 (`exchange`), unless somebody has patched
that (`shipped.py`). Whatever is met there urllib3 is made to meet again, so that it says what it always says.

Leans on these names of urllib3 and http.client, pinned in `tests/test_upstream.py`: `_new_conn`, `_tunnel`,
`_tunnel_host`, `send`, `request`, `getresponse`, `sock`, `_method`, `_HTTPConnection__response`,
`_HTTPConnection__state`, `_response_options` and `_ResponseOptions`.
"""

from __future__ import annotations

import errno
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from http.client import SWITCHING_PROTOCOLS
from http.client import HTTPConnection as HTTPClientConnection
from random import random
from typing import Any, Final, NoReturn

from urllib3._base_connection import _ResponseOptions
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NameResolutionError, ProtocolError
from urllib3.response import HTTPResponse
from urllib3.util.wait import wait_for_read

from ..events import HandshakeDone
from ..gate.caller import Caller
from ..gate.permit import Permit
from ..gate.shared_failure import WIRE_ERRORS, SharedFailure
from ..retry.causes import LASTING, Cause, classify
from ..retry.deadline import Deadline
from ..retry.stages import Stage
from ..util.clock import monotonic
from ..util.frozen import dataclass
from .connect import in_time, is_urllib3s, lacks_descriptors, peer_of, reach, spelled
from .eof import refuse_ragged_end
from .failed_addresses import FAILED
from .keepalive import KeepAlivePolicy, hints
from .open_sockets import note
from .preconnect import Begun, Route
from .request_head import host_line, is_asked_for, rendered, told_by
from .response_head import ConnectAnswer, HurriedHTTPResponse, WatchedHTTPResponse
from .timed_stream import rearm, set_timeout
from .tls_sessions import TLSSessions
from .trace import Trace

#: Bytes that are sent at once: so many have to get through within a time-out. `socket.sendall` counts that
#: for all it is given, so that a large body would have to arrive within it.
PIECE: Final = 65536

#: Bytes of a body that leave in one piece with its head.
_SMALL: Final = 16384
#: Bytes that are read at once of an answer, so that a small body comes with its head: a record of TLS has as
#: many at the most (RFC 8446 section 5.1). `http.client` reads 8 kB, and from Python 3.14 on 128 kB.
_READ_AHEAD: Final = 16384
#: What `http.client` calls a connection over which nothing is asked, and one that is asked.
_IDLE: Final = "Idle"
_SENT: Final = "Request-sent"
#: What urllib3 calls the version in which it asks.
_VERSION: Final = "HTTP/1.1"

#: The smallest share of `max_age` that a connection lives for.
LEAST_SHARE_OF_AGE: Final = 0.9

#: What a connect may meet that is nobody else's affair.
_ONES_OWN: Final = (Cause.TIMEOUT, Cause.LOCAL)
#: What a server does that bears no more handshakes at once.
_TOO_MANY: Final = (Cause.RESET, Cause.DAMAGED, Cause.TLS)
#: What a server may say of a handshake when the client has finished it already.
_REFUSALS: Final = (Cause.CERTIFICATE, Cause.CLIENT_CERTIFICATE, Cause.NO_COMMON_TLS)
#: Statuses that may be about who the client is, on this connection or at all; 495 and 496 are nginx's.
_ABOUT_CREDENTIALS: Final = frozenset({400, 401, 403, 407, 495, 496})
#: Errors after which urllib3 looks for an answer, whoever has raised them.
_PASSED_OVER: Final = (errno.EPIPE, errno.ESHUTDOWN, errno.ECONNRESET, errno.EPROTOTYPE)


@dataclass(frozen=True, slots=True)
class ConnectionPlan:
    """What a connection is made from. Nobody changes it afterwards."""

    #: Leave to connect, and then membership of the gate.
    permit: Permit | None = None
    #: Another caller's failure, which this connection meets instead of the server.
    shared_failure: SharedFailure | None = None
    #: The TLS sessions of its shared pool.
    sessions: TLSSessions | None = None
    #: What is known of how long the server keeps idle connections.
    keep_alive: KeepAlivePolicy | None = None
    #: The shared pool that it is put back into.
    home: Any = None
    #: A TCP connect that was begun ahead.
    begun: Begun | None = None
    #: Begins connects for those that wait, once this one's has succeeded; None: nobody waits for that.
    dial_for_others: Callable[[Route | None, bool], None] | None = None
    #: Whether to wait for proof after the handshake; and whether the request leaves first, since it may be
    #: repeated.
    wants_proof: bool = False
    sends_first: bool = False
    #: Whether the last handshake of its pool was reset.
    in_doubt: bool = False
    #: The registry's generation: after a fork it is not the child's.
    generation: int = 0
    #: Closes idle connections where no descriptor is left; whether there were any.
    free_descriptors: Callable[[], bool] = bool


class NamedConnection:
    """What the pickle of an error has of the connection that it is about: its name.

    Args:
        name: as the connection told it.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}>"

    def __str__(self) -> str:
        return self._name

    def __reduce__(self) -> tuple[Any, ...]:
        return NamedConnection, (self._name,)


class ResilientConnection(HTTPConnection):
    """What the plain and the TLS connection have in common."""

    #: What it was made from. Set by the pool, once.
    plan: ConnectionPlan = ConnectionPlan()
    #: The record of the attempt that uses this connection. Set by the pool at each checkout.
    trace: Trace
    #: Membership of the gate, until the connection is closed; and a connect that was begun ahead, until it is
    #: taken.
    permit: Permit | None = None
    _begun: Begun | None = None
    #: The address that it is connected to, as sockets and as people have it; None: to none yet.
    address: Any = None
    peer: str | None = None
    #: Whether its name has other addresses, as far as anybody knows. Set by who connects.
    has_others: bool = True
    #: Whether the server has accepted it, as far as a ticket, TLS 1.2 or a response can say.
    is_proven: bool = True
    #: When it was last known to work, on the monotonic clock. Set here and at each check-in.
    proven_at: float = 0.0
    #: When it was made, on the monotonic clock; and what share of `max_age` it lives for, so that those that
    #: were made together do not end together (gRPC's `max_connection_age` has a tenth, too).
    made_at: float = 0.0
    share_of_age: float = 1.0
    #: When the present caller got it, on the monotonic clock. Set here and at each checkout.
    taken_at: float = 0.0
    #: For how many seconds the server keeps it when it is idle, and how many more requests it takes, as far
    #: as the server has said so.
    hint: float | None = None
    requests_left: int | None = None
    #: Whether NTLM or Negotiate was asked for, or carried: then it belongs to one lease for ever.
    has_owner: bool = False
    #: Whether its last user has asked anything; warming asks nothing.
    was_asked: bool = True
    #: Whether the last request has asked to close it, which a server may do without a word (RFC 9112, 9.6).
    _closing: bool = False
    #: Whether the last request was sent to its end; an early answer may cut it short.
    _sent_whole: bool = True
    #: Why it was not, if the server may have answered all the same.
    _unsent: OSError | None = None
    #: Bytes of the body that the head has promised and that are still to come; None: it has promised none.
    _due: int | None = None
    #: Seconds that the TCP connect took, and seconds that it waited for proof.
    _dialled_in: float = 0.0
    _waited: float = 0.0
    #: The response that was received last.
    _answer: Any = None
    #: The line of the Host field that `http.client` writes; None: it has written none yet.
    _host_line: str | None = None
    #: Whether the request that is sent has that line from `http.client`, and not from the caller.
    _learns_host: bool = False
    #: What an exchange has met that went past urllib3, and whether it was while the request was sent. urllib3
    #: is to meet it again, and makes of it what it makes of such errors.
    met: tuple[BaseException, bool] | None = None

    def prepare(self, plan: ConnectionPlan, trace: Trace) -> None:
        """Take what it is made from, before anything is done with it."""
        self.trace, self.permit, self._begun = trace, plan.permit, plan.begun
        self.plan = plan

    @property
    def generation(self) -> int:
        """The registry's generation in which it was made."""
        return self.plan.generation

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

    def __reduce__(self) -> tuple[Any, ...]:
        # urllib3's errors hold the connection that they are about.
        return NamedConnection, (str(self),)

    def connect(self) -> None:
        """Connect, shake hands, wait for proof; settle the permit."""
        trace = self.trace
        began = monotonic()
        outside = sys.exc_info()[1]
        try:
            if self.plan.shared_failure is not None:
                self._meet(self.plan.shared_failure)
            self._bound_timeout()
            self._connect()
            note(self.sock)
            self._prove()
        except BaseException as error:
            if isinstance(error, WIRE_ERRORS):
                trace.fail(error)
                trace.failed_in = self.plan.home
                self._leave_address(error)
            if trace.stage is Stage.CONFIRM and isinstance(error, ConnectionError):
                # As http.client does when it meets the same while it waits for the response; urllib3 tells
                # by it whether to blame a proxy.
                super().close()
            self._fail(error, outside)
            raise
        self.made_at = self.proven_at = self.taken_at = trace.connected = monotonic()
        self.share_of_age = 1.0 - (1.0 - LEAST_SHARE_OF_AGE) * random()
        if self.is_proven:
            self._trust_address()
        self._settle()
        if trace.counters is not None and trace.tls_version is not None:
            trace.counters.shook_hands(trace.tls_resumed)
        dispatcher, trace.dispatcher = trace.dispatcher, None
        if dispatcher is not None:
            confirmed = self.plan.wants_proof and self.is_proven and trace.tls_version is not None
            dispatcher(HandshakeDone, trace.tls_version, trace.tls_resumed, confirmed, self.made_at - began)

    def _settle(self) -> None:
        """Settle the permit after a success."""
        if self.permit is not None:
            self.permit.succeeded(self.is_proven)

    def _connect(self) -> None:
        super().connect()

    def _meet(self, failure: SharedFailure) -> NoReturn:
        """Fail as the caller did that this one has waited for, with an exception of one's own."""
        self.trace.borrowed = self.trace.paced = True
        self.trace.mark(failure.stage)
        self._has_connected_to_proxy = failure.reached_proxy
        raise failure.again(self)

    def _fail(self, error: BaseException, outside: BaseException | None) -> None:
        """Settle the permit after a failure; what is the caller's own affair is nobody else's."""
        permit, stage = self.permit, self.trace.stage
        if permit is None:
            return
        cause = classify(error)
        if cause in _ONES_OWN or not isinstance(error, WIRE_ERRORS):
            permit.unused()
            return
        # Some kernels tell a connect that the server has accepted, and reset: it is there.
        was_reset = isinstance(error.__cause__ or error, ConnectionResetError)
        self.trace.paced = permit.failed(
            SharedFailure.of(error, stage, self.has_connected_to_proxy, outside),
            reset=cause in _TOO_MANY and (stage.rank >= Stage.TUNNEL.rank or was_reset),
            fatal=cause in LASTING,
            caller=self.trace.as_caller(),
        )

    def _leave_address(self, error: BaseException) -> None:
        """What followed TCP's connect has failed: let the next connection try another address first.

        Not where the call's own time was over, nor where another address would say the same.
        """
        is_told = self.address is not None and self.has_others and not self.trace.is_last()
        if is_told and classify(error) not in LASTING:
            FAILED.add(self._dns_host, self.address)

    def _trust_address(self) -> None:
        """The server has accepted this connection: nothing is held against its address any more."""
        FAILED.forgive(self._dns_host, (self.address,))

    def _prove(self) -> None:
        """A TCP connection is its own proof."""

    def keep_session(self) -> None:
        """Keep the TLS session, if there is one; for who resumes it."""

    def _new_conn(self) -> socket.socket:
        trace = self.trace
        try:
            # Its owner from now on is this connection, which is closed when anything below raises.
            self.sock = sock = self._dial()
        except NameResolutionError:
            trace.mark(Stage.RESOLVE)
            raise
        peer = peer_of(sock)
        self.peer = trace.address = spelled(peer)
        if self.address is None:
            # Somebody else has connected it.
            self.address = peer
        self._dialled_in = monotonic() - trace.marked
        trace.mark(Stage.TUNNEL if self._tunnel_host is not None else Stage.HANDSHAKE)
        rearm(sock)
        return sock

    def _dial(self) -> socket.socket:
        """Connect; where no descriptor is left, close idle connections and try once more."""
        try:
            return self._dial_once()
        except (OSError, HTTPError) as error:
            if not lacks_descriptors(error):
                raise
        # Another caller may have closed them all already.
        self.plan.free_descriptors()
        return self._dial_once()

    def _dial_once(self) -> socket.socket:
        """Connect by our own hand, to whichever address answers first; or in the way of somebody else."""
        deadline, (begun, self._begun) = self.trace.deadline, (self._begun, None)
        stock = super()._new_conn
        is_ours = is_urllib3s(stock)
        if begun is not None and (not is_ours or begun.address in FAILED.of(self._dns_host)):
            begun.sock.close()
            begun = None
        if is_ours:
            order = self.trace.connection_options.dns_order
            return self._announce(reach(self, deadline or Deadline(), order, begun))
        # Somebody else connects: PySocks, or what a program has put in the place of urllib3's way.
        self.trace.mark(Stage.CONNECT)
        limited = deadline is not None and deadline.is_limited()
        return in_time(stock, self, deadline) if limited else stock()

    def _announce(self, sock: socket.socket) -> socket.socket:
        """Own a socket that is connected, and tell audit hooks, which may refuse it by raising."""
        self.sock = sock
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def _tunnel(self) -> None:
        # `http.client` closes the connection before it raises: what has failed is still to be told.
        permit, self.permit = self.permit, None
        # And it makes the response by this, and drops all that it says but its status.
        usual = self.response_class
        self.response_class = answer = ConnectAnswer(usual)  # type: ignore[assignment]
        try:
            super()._tunnel()
        except OSError as error:
            error.retry_after = answer.retry_after()  # type: ignore[attr-defined]
            raise
        finally:
            self.response_class, self.permit = usual, permit
        rearm(self.sock)
        self.trace.mark(Stage.HANDSHAKE)

    def send(self, data: Any) -> None:
        """Send bytes of the request, or of the CONNECT before it."""
        trace = self.trace
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        if trace.stage is Stage.REQUEST:
            self._due = self._left_after(size)
        elif trace.stage is not Stage.TUNNEL:
            self._begin_request(data)
            if self._host_line is None and self._learns_host:
                self._host_line = host_line(data)
        try:
            if size <= PIECE:
                self._bound_sending()
                super().send(data)
            else:
                self._send_in_pieces(memoryview(data).cast("B"))
        except OSError as error:
            trace.fail(error)
            raise
        if trace.stage is Stage.REQUEST and size <= PIECE:
            trace.bytes_out += size

    def _begin_request(self, head: bytes) -> None:
        """From here on bytes of the request leave."""
        self.trace.mark(Stage.REQUEST)
        owned, self._closing, self._due = told_by(head)
        self.has_owner = self.has_owner or owned

    def _send_at_once(self, head: bytes, body: bytes | None) -> None:
        """Send a request whose body is what its head says; a small one in one piece."""
        if body is not None and len(body) > _SMALL:
            self.send(head)
            self.send(body)
            return
        trace = self.trace
        self._begin_request(head)
        data, self._due = head if body is None else head + body, None
        try:
            self._bound_sending()
            super().send(data)
        except OSError as error:
            trace.fail(error)
            raise
        trace.bytes_out += len(data)

    def _send_in_pieces(self, data: memoryview) -> None:
        for at in range(0, len(data), PIECE):
            self._bound_sending()
            piece = data[at : at + PIECE]
            super().send(piece)
            if self.trace.stage is Stage.REQUEST:
                self.trace.bytes_out += len(piece)

    def _left_after(self, size: int) -> int | None:
        """What is due after some bytes of the body; more than that would be taken for another request."""
        if self._due is None:
            return None
        left = self._due - size
        if left < 0:
            raise ProtocolError(f"The body has {-left} bytes more than its Content-Length says")
        return left

    def _bound_sending(self) -> None:
        """Grant what may pass between two bytes; urllib3 grants what connecting may take."""
        trace = self.trace
        # What a proxy is told belongs to getting a connection.
        granted = trace.connect_timeout if trace.stage is Stage.TUNNEL else trace.send_timeout
        deadline = trace.deadline
        if deadline is not None and deadline.is_over():
            raise TimeoutError("the deadline was over while the request was being sent")
        if self.sock is not None and (granted is None or granted >= 0):
            set_timeout(self.sock, deadline.for_socket(granted) if deadline is not None else granted)

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        """Send a request; one that authenticates the connection gives it an owner."""
        if self.met is not None:
            if self.met[1]:
                self._meet_again()
            return
        self.was_asked = not self.trace.warming
        if not self.was_asked:
            return
        if self._host_line is None:
            # A name may be bytes.
            names = {name.lower() for name in headers or ()}
            self._learns_host = url.startswith("/") and names.isdisjoint(("host", b"host"))
        self._ask(partial(super().request, method, url, body=body, headers=headers, **options), body)

    def usual_head(self, method: str, url: str, headers: Any, body: Any) -> bytes | None:
        """The head of a request that may be exchanged over this connection; None: urllib3 is to write it."""
        if self._host_line is None or self._HTTPConnection__state != _IDLE or self.debuglevel > 0:
            return None
        return rendered(method, url, self._host_line, headers, body)

    def exchange(
        self, method: str, url: str, head: bytes, body: bytes | None, timeout: float | None
    ) -> HTTPResponse:
        """Send a request and receive the head of its response, past urllib3; `met` has what was met.

        Args:
            method, url: of the request; the response has them.
            head: as `usual_head` has it.
            body: what follows.
            timeout: seconds to wait between two bytes of the answer.
        """
        # `is_drained` has said that it was read to its end.
        self._HTTPConnection__response: Any = None
        is_sent = False
        try:
            self._HTTPConnection__state, self._method = _SENT, method
            self._response_options = _ResponseOptions(method, url, False, False, True)
            self.was_asked = True
            self._ask(partial(self._send_at_once, head, body), body)
            is_sent, self.timeout = True, timeout
            return self.getresponse(at_once=True)
        except BaseException as error:
            self.met = error, not is_sent
            raise

    def _meet_again(self) -> None:
        met, self.met = self.met, None
        try:
            if met is not None:
                raise met[0]
        finally:
            # The traceback holds this frame: what the frame holds must not be the exception.
            del met

    def _receive(self) -> HTTPResponse:
        """Receive the head of a response: in one piece, if it comes in one; otherwise as urllib3 does."""
        sock: Any = self.sock
        # Closing the connection forgets it.
        asked: Any = self._response_options
        set_timeout(sock, self.timeout)
        kind = self.response_class
        answer: Any = kind(_Wide(sock), method=self._method)  # type: ignore[arg-type]
        self.response_class = lambda *args, **kwargs: answer  # type: ignore[assignment]
        try:
            if not answer.begin_at_once():
                return super().getresponse()
            HTTPClientConnection.getresponse(self)
        finally:
            self.response_class = kind
        # Nobody may find in a response of his own what follows this one.
        self._closing = self._closing or answer.has_surplus()
        self._response_options = None
        return HTTPResponse(
            body=answer,
            headers=answer.usual_headers,
            status=answer.status,
            version=answer.version,
            version_string=_VERSION,
            reason=answer.reason,
            preload_content=False,
            decode_content=False,
            original_response=answer,
            request_method=asked.request_method,
            request_url=asked.request_url,
            sock_shutdown=getattr(sock, "shutdown", None),
        )

    def _ask(self, send: Callable[[], object], body: Any) -> None:
        """Send a request, and look for an answer where it could not be sent to its end."""
        self._bound_timeout()
        self._sent_whole, self._unsent, self._due = False, None, None
        try:
            send()
        except OSError as error:
            if not self._may_be_answered(error):
                if self.trace.error is error and isinstance(error, TimeoutError) and not self.trace.is_late():
                    # The server takes nothing; neither the body's source nor the deadline is to blame.
                    self._suspect(error)
                raise
            # After a reset what is met next is told, as newer versions of urllib3 do.
            self._unsent = None if isinstance(error, ConnectionResetError) else error
            return
        if self._due and body is not None:
            raise ProtocolError(f"The body ended {self._due} bytes before its Content-Length")
        self._sent_whole = True

    def _may_be_answered(self, error: OSError) -> bool:
        """Whether there may be an answer to what could not be sent to its end.

        There are three cases: the body's own source has failed, which urllib3 must not take for the server's
        doing; the server has closed, or takes no more and has said something; anything else.
        """
        if self.trace.error is not error:
            if error.errno in _PASSED_OVER:
                raise ProtocolError("The source of the body has failed", error) from error
            return False
        if isinstance(error, TimeoutError):
            return self.sock is not None and bool(wait_for_read(self.sock, timeout=0))
        # After a broken pipe urllib3 looks by itself.
        return isinstance(error, (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError))

    def _bound_timeout(self) -> None:
        """Let no socket operation wait longer than what the deadline leaves; 0 would mean "do not block"."""
        deadline = self.trace.deadline
        if deadline is not None and deadline.is_limited():
            self.timeout = deadline.for_socket(self.timeout)
            # From now on; who has no deadline is not hurried by it.
            self.response_class = HurriedHTTPResponse

    def getresponse(self, *, at_once: bool = False) -> HTTPResponse:  # type: ignore[override]
        """Receive the head of the response.

        Args:
            at_once: in one piece, if it comes in one, past urllib3.
        """
        if self.met is not None:
            self._meet_again()
        trace = self.trace
        if trace.warming:
            return nothing_asked()
        sock = self.sock
        self._bound_timeout()
        # http.client closes the connection as soon as it knows that it will not be used again.
        permit = self.permit
        # Its traceback holds this connection, and this frame: neither may hold it for longer.
        unsent, self._unsent = self._unsent, None
        try:
            response = self._receive() if at_once else super().getresponse()
        except Exception as error:
            if classify(error) in _REFUSALS or not (self.is_proven or isinstance(unsent, TimeoutError)):
                # It says more of why the server took no more; of one that is new, at any rate.
                unsent = None
            trace.fail(unsent or error)
            self._hear(permit, unsent or error)
            if not isinstance(unsent, TimeoutError):
                # Otherwise it has said something while it took no more.
                self._suspect(unsent or error)
            if unsent is None:
                raise
            raise unsent from None
        finally:
            del unsent
        trace.error = None
        trace.mark(Stage.BODY)
        caller = trace.caller
        if caller is not None and caller.suspect is not None:
            self._learn(caller)
        if caller is not None and caller.silent is not None:
            self._acquit_page(caller)
        if not self.is_proven:
            self._hear(permit, None)
        answer: Any = response._original_response
        self._answer = answer
        if not answer.chunked:
            # urllib3 goes by the field, and would wait for chunks of a 204.
            response.chunked = False
        if answer.will_close and answer.length is None and not answer.chunked and trace.require_close_notify:
            refuse_ragged_end(sock)
        trace.status = status = response.status
        if status in _ABOUT_CREDENTIALS:
            self._heed(status, response.headers)
        if "keep-alive" in response.headers or self.requests_left:
            self._obey(response.headers.get("keep-alive", ""))
        # An idle connection keeps its trace, and no more than that.
        on_answer, trace.on_answer = trace.on_answer, None
        if on_answer is not None and answer.fp is not None:
            on_answer(response)
        return response

    def _heed(self, status: int, headers: Any) -> None:
        """A status with which a server may ask for other credentials, or refuse those of the connection."""
        if status not in (401, 407):
            self.trace.failed_in = self.plan.home
        elif is_asked_for(headers):
            self.has_owner = True

    def _hear(self, permit: Permit | None, error: Exception | None) -> None:
        """The first response of a connection, or its absence, says whether the server has accepted it."""
        if permit is None or self.trace.reused:
            return
        cause = None if error is None else classify(error)
        if cause is None:
            self.is_proven = True
            permit.proved()
            self._trust_address()
        elif cause in _REFUSALS and error is not None:
            self.trace.failed_in = self.plan.home
            # Who shares it has sent nothing.
            permit.refused(SharedFailure.of(error, Stage.CONFIRM, self.has_connected_to_proxy))
        elif cause in (Cause.RESET, Cause.DAMAGED) and error is not None:
            self._leave_address(error)
            if not self.plan.wants_proof or self.plan.sends_first:
                # With TLS 1.3 it may have been the handshake.
                permit.doubted()

    def _suspect(self, error: Exception) -> None:
        """A request has met its end on a connection that was idle before: one of both is to blame.

        Where it may be sent again, its next answer tells. Where not, the next one had better be careful.
        """
        trace, cause = self.trace, classify(error)
        if cause is Cause.TIMEOUT:
            self._blame_for_silence()
            self._leave_address(error)
        caller = trace.as_caller()
        if not trace.reused or caller is None or cause is not Cause.RESET:
            return
        caller.suspect = self.taken_at - self.proven_at
        if not trace.replayable:
            self._learn(caller)

    def _blame_for_silence(self) -> None:
        """Doubt others that were idle all the while, and for as long; a page that is silent anew was slow."""
        trace, home, caller = self.trace, self.plan.home, self.trace.as_caller()
        if home is None:
            return
        if not trace.reused:
            if caller is not None and caller.silent is not None:
                caller.silent = None
                home.trust()
            return
        idle_for = self.taken_at - self.proven_at
        before = min(self.taken_at, monotonic() - idle_for)
        if home.doubts(self):
            home.close_idle(before)
        home.doubt(before)
        if caller is not None:
            caller.silent = before

    def _acquit_page(self, caller: Caller) -> None:
        """What was asked again on a new connection was answered: those that are as old may be as dead."""
        before, caller.silent = caller.silent, None
        if not self.trace.reused and before is not None and self.plan.home is not None:
            self.plan.home.close_idle(before)

    def _learn(self, caller: Caller) -> None:
        """The server had closed a connection that was idle: sent again, its request was answered."""
        idle_for, caller.suspect = caller.suspect, None
        if self.plan.keep_alive is not None and idle_for is not None:
            self.plan.keep_alive.closed_after(idle_for)

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
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.sock.close()
        super().close()


class _Wide:
    """A socket of which a response reads more at once than `http.client` lets it.

    Args:
        sock: the socket.
    """

    __slots__ = ("_sock",)

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def makefile(self, mode: str) -> Any:
        """The file that the response reads from."""
        return self._sock.makefile(mode, _READ_AHEAD)


def nothing_asked() -> HTTPResponse:
    """What a connection answers when nothing was asked over it."""
    return HTTPResponse(body=b"", status=204, preload_content=False)


class PlainConnection(ResilientConnection):
    """A connection without TLS to the server or to a forwarding proxy."""
