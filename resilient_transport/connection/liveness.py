"""Whether a connection can carry a request: what a socket says that is not asked anything yet."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from http.client import BadStatusLine, RemoteDisconnected
from typing import Any, Final

from urllib3.util.wait import wait_for_read

from ..util.clock import monotonic

#: The least time that the server's first flight after the handshake is waited for, in seconds.
PROOF_WAIT: Final = 0.020
#: The same after a reset, when a busy machine must not pass for a server that accepts.
PROOF_WAIT_IN_DOUBT: Final = 0.100


def has_something_to_read(sock: Any) -> bool:
    """Whether something has come on an idle connection, or it is no connection any more."""
    try:
        return sock is None or wait_for_read(sock, timeout=0)
    except (OSError, ValueError):
        return True


def is_alive(sock: Any) -> bool:
    """Whether an idle connection can carry a request: where something has come, one read that does not block.

    Nothing to read: alive. An end of file or an error: dead. Data nobody asked for: a protocol
    violation, so dead. The read also takes in TLS session tickets, which make a healthy socket
    readable and would pass for data if one only looked at that.
    """
    if sock is None:
        return False
    # One read takes in every ticket that has come: `ssl` sets SSL_MODE_AUTO_RETRY.
    try:
        if not wait_for_read(sock, timeout=0) and not _pending(sock):
            return True
        sock.settimeout(0)
        sock.recv(1)
    except (OSError, ValueError) as error:
        return would_block(error)
    return False


def would_block(error: BaseException) -> bool:
    """Whether a read has raised this because nothing has come.

    Sockets of eventlet, and those of urllib3's pyOpenSSL, raise a time-out then. One with a number is the
    kernel's, and the end of the connection.
    """
    if isinstance(error, TimeoutError):
        return error.errno is None
    return isinstance(error, (BlockingIOError, ssl.SSLWantReadError))


def _pending(sock: Any) -> int:
    """Bytes that TLS has decrypted and nobody has read."""
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0


def confirm(sock: Any, patience: float, resumed: bytes | None = None) -> ssl.SSLSession | bool:
    """Wait for the server's first flight after a TLS 1.3 handshake, and take it in.

    The client's handshake ends one flight before the server has checked the client's certificate
    (RFC 8446 section 4.6.1 and appendix A.2): a refusal, or a reset in its place, arrives afterwards.

    Args:
        sock: the TLS socket.
        patience: seconds to wait for the flight.
        resumed: the id of the TLS session that was resumed: it came with a ticket, which proves nothing now.

    Returns:
        The session of a ticket that the server sent, or True for a finished TLS 1.2 handshake: either proves
        that it accepted the client. False: it was silent, which is weak proof; some servers send no tickets.

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
        # No ticket can be there yet: the handshake takes in nothing that comes after it.
        session: ssl.SSLSession | None = None
        while session is None:
            left = until - monotonic()
            if left <= 0 or not wait_for_read(sock, timeout=left):
                return False
            sock.settimeout(0)
            _take_in(sock)
            session = new_session(sock, resumed)
        # A reset may be right behind the ticket.
        sock.settimeout(0)
        _take_in(sock)
    finally:
        sock.settimeout(timeout)
    return session


def listen(
    sock: Any, patience: float, resumed: bytes | None, read: Callable[[], Any]
) -> tuple[ssl.SSLSession | bool, Any]:
    """Wait for the same flight with the request already on its way; the first read of the answer takes it in.

    Args:
        sock: the TLS socket.
        patience: seconds to wait for the flight; no longer than the socket's time-out.
        resumed: the id of the TLS session that was resumed.
        read: reads of the answer what has come.

    Returns:
        The session of a ticket that the server sent, or whether it began to answer; and what was read; None:
        nothing yet.

    Raises:
        OSError: as `read` does; the server has refused, reset or closed the connection.
    """
    timeout = sock.gettimeout()
    until = monotonic() + (patience if timeout is None else min(patience, timeout))
    try:
        while (left := until - monotonic()) > 0 and wait_for_read(sock, timeout=left):
            sock.settimeout(0)
            data = _unless_it_blocks(read)
            if data is not None:
                return bool(data), data
            session = new_session(sock, resumed)
            if session is not None:
                return session, None
    finally:
        sock.settimeout(timeout)
    return False, None


def read_for_the_rest(sock: Any, since: float, read: Callable[[], Any]) -> Any:
    """Read within what is left of the socket's time-out, which has run since a moment.

    Raises:
        OSError: as `read` does; nothing came in time.
    """
    timeout = sock.gettimeout()
    if timeout is None:
        return read()
    left = timeout - (monotonic() - since)
    if left <= 0:
        raise TimeoutError("The read operation timed out")
    sock.settimeout(left)
    try:
        return read()
    finally:
        sock.settimeout(timeout)


def _unless_it_blocks(read: Callable[[], Any]) -> Any:
    """What was read; None: nothing has come."""
    try:
        return read()
    except OSError as error:
        if not would_block(error):
            raise
    return None


def new_session(sock: ssl.SSLSocket, resumed: bytes | None) -> ssl.SSLSession | None:
    """The session of a connection, if it has a ticket and is not the one that was resumed.

    `ssl` copies a session each time that it is asked for it, which takes as long as a third of a handshake.
    """
    session = sock.session
    return session if session is not None and session.has_ticket and session.id != resumed else None


def _take_in(sock: ssl.SSLSocket) -> None:
    data = _unless_it_blocks(lambda: sock.recv(1))
    if data is None:
        return
    if data:
        raise BadStatusLine("data before the request")
    # What stock urllib3 raises when it finds the same end of file as it waits for the response.
    raise RemoteDisconnected("Remote end closed connection without response")
