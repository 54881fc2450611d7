"""A plain socket whose bytes travel inside a TLS connection, since `ssl` wraps no socket a second time.

That is how a server's TLS goes through a proxy that speaks TLS itself. A thread carries the bytes; it ends
with either side.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
from contextlib import suppress
from typing import Final

_PIECE: Final = 65536


def inside(outer: ssl.SSLSocket) -> socket.socket:
    """Give a socket that `ssl` can wrap.

    Args:
        outer: leads to the proxy. The thread has it from now on, and closes it when the returned socket is
            closed.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(outer.gettimeout())
    outer.setblocking(False)
    threading.Thread(target=_carry, args=(outer, theirs), name="resilient-doctor-tls", daemon=True).start()
    return ours


def _carry(outer: ssl.SSLSocket, theirs: socket.socket) -> None:
    # By one thread: OpenSSL's state is not for two, and one of them would always wait in a read.
    with outer, theirs, selectors.DefaultSelector() as ready, suppress(OSError, ValueError):
        ready.register(outer, selectors.EVENT_READ)
        ready.register(theirs, selectors.EVENT_READ)
        while True:
            found = {key.fileobj for key, _ in ready.select(0 if outer.pending() else None)}
            if theirs in found and not _send(outer, theirs.recv(_PIECE)):
                return
            if (outer in found or outer.pending()) and not _receive(outer, theirs):
                return


def _send(outer: ssl.SSLSocket, data: bytes) -> bool:
    """Send all of it; whether there was any."""
    left = memoryview(data)
    while left:
        try:
            left = left[outer.send(left) :]
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            with selectors.DefaultSelector() as room:
                room.register(outer, selectors.EVENT_WRITE)
                room.select()
    return bool(data)


def _receive(outer: ssl.SSLSocket, theirs: socket.socket) -> bool:
    """Pass on what has come, which may be less than a record; whether the proxy is still there."""
    try:
        data = outer.recv(_PIECE)
    except ssl.SSLWantReadError:
        return True
    theirs.sendall(data)
    return bool(data)
