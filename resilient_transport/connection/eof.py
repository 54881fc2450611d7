"""The end of a TLS connection: told apart where `ssl` makes all endings look alike."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from .open_sockets import note
from .timed_stream import rearm

_CUT: Final = (
    "closed without close_notify: the body may be cut "
    "(RetryPolicy(require_close_notify=False) takes it for whole)"
)


class WatchedSSLSocket(ssl.SSLSocket):
    """A TLS socket that knows whether it was closed in order, and may refuse if it was not."""

    #: Set by the connection when only an orderly close can say that a body is whole.
    refuses_ragged_end = False
    #: Reads what comes first, in the place of the first read; None: that is a read as any other. Set by the
    #: connection.
    reads_first: Callable[[Callable[[], Any]], Any] | None = None

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands; an error says whether the server had answered: then it is about what it got since."""
        note(self)
        try:
            super().do_handshake(block)
        except ssl.SSLError as error:
            # In TLS 1.2 a server that misses a client certificate says no more than handshake_failure.
            error.answered = self.cipher() is not None  # type: ignore[attr-defined]
            raise

    def getpeername(self) -> Any:
        """Return the peer's address; a socket that has lost its peer before TLS has begun is closed.

        `ssl` asks for it before it shakes hands. Where there is no peer any more, it leaves the socket open
        (before Python 3.13), or takes one whose reset was met already for one that is to connect later.
        """
        try:
            return super().getpeername()
        except OSError as error:
            if error.errno != errno.ENOTCONN or self.version() is not None:
                raise
            met = self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or errno.ECONNRESET
            self.close()
            raise OSError(met, os.strerror(met)) from None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive; this is how TLS within TLS shakes hands, in as many steps as the peer likes."""
        rearm(self)
        return super().recv(buflen, flags)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - the name in `ssl`
        """Read and decrypt; an end without close_notify is an end of file, as with `suppress_ragged_eofs`."""
        if self.reads_first is not None:
            first, self.reads_first = self.reads_first, None
            return first(lambda: self.read(len, buffer))
        try:
            return super().read(len, buffer)
        except ssl.SSLError as error:
            if not is_ragged(error):
                raise
        if self.refuses_ragged_end:
            raise ConnectionResetError(errno.ECONNRESET, _CUT)
        return b"" if buffer is None else 0


def is_ragged(error: ssl.SSLError) -> bool:
    """Whether an error means that TCP ended before TLS did; Debian's 3.11 raises no SSLEOFError for it."""
    return (
        isinstance(error, ssl.SSLEOFError) or getattr(error, "reason", None) == "UNEXPECTED_EOF_WHILE_READING"
    )


def refuse_ragged_end(sock: Any) -> None:
    """Make an end without close_notify an error: only an orderly close can say that the body is whole.

    A socket of another kind (of a context of the caller's own, TLS within TLS) raises its own error for it.
    """
    if isinstance(sock, WatchedSSLSocket):
        sock.refuses_ragged_end = True
    elif hasattr(sock, "suppress_ragged_eofs"):
        sock.suppress_ragged_eofs = False
