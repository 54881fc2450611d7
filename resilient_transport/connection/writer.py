"""The half of a connection that sends: in pieces, each in its own time, no byte more or less than was said.

Leans on these names of urllib3 and http.client, pinned in `tests/test_upstream.py`: `send`, `request`,
`sock`.
"""

from __future__ import annotations

import errno
import ssl
from typing import Any, Final

from urllib3.connection import HTTPConnection
from urllib3.exceptions import ProtocolError
from urllib3.util.wait import wait_for_read

from ..retry.stages import Stage
from .request_head import told_by
from .response_head import HurriedHTTPResponse
from .trace import Trace

#: Bytes that are sent at once: so many have to get through within a time-out. `socket.sendall` counts that
#: for all it is given, so that a large body would have to arrive within it.
PIECE: Final = 65536

#: Errors after which urllib3 looks for an answer, whoever has raised them.
_PASSED_OVER: Final = (errno.EPIPE, errno.ESHUTDOWN, errno.ECONNRESET, errno.EPROTOTYPE)


class Sending(HTTPConnection):
    """A connection that knows what it has sent, and how."""

    #: The record of the attempt that uses this connection; set by the pool at each checkout.
    trace: Trace
    #: It was asked for, or carried, NTLM or Negotiate: it belongs to one lease for ever.
    has_owner: bool = False
    #: Whether its last user has asked anything; who warms it does not.
    was_asked: bool = True
    #: Whether the last request has asked to close it, which a server may do without a word (RFC 9112, 9.6).
    _closing: bool = False
    #: Whether the last request was sent to its end; an early answer may cut it short.
    _sent_whole: bool = True
    #: Why it was not, if the server may have answered all the same.
    _unsent: OSError | None = None
    #: Bytes of the body that the head has promised and that are still to come; None: it has promised none.
    _due: int | None = None

    def send(self, data: Any) -> None:
        """Send bytes of the request, or of the CONNECT before it."""
        trace = self.trace
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        if trace.stage is Stage.REQUEST:
            self._due = self._left_after(size)
        elif trace.stage is not Stage.TUNNEL:
            trace.mark(Stage.REQUEST)
            owned, self._closing, self._due = told_by(data)
            self.has_owner = self.has_owner or owned
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
            self.sock.settimeout(deadline.for_socket(granted) if deadline is not None else granted)

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        """Send a request; one that authenticates the connection gives it an owner."""
        self.was_asked = not self.trace.warming
        if not self.was_asked:
            return
        self._bound_timeout()
        self._sent_whole, self._unsent, self._due = False, None, None
        try:
            super().request(method, url, body=body, headers=headers, **options)
        except OSError as error:
            if not self._may_be_answered(error):
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
