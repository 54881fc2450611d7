"""CONNECT: bytes carried between a client and a port of this machine, resets and half-closes included."""

from __future__ import annotations

import contextlib
import select
import socket
import time

from ..script import How
from .channel import Channel
from .peer import LIMIT
from .termination import Ending, PeerGone

_LOOPBACK = {"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1", "::1": "::1"}
_CONNECT_TIMEOUT = 5.0
_SLICE_MS = 100


def dial(target: str) -> socket.socket | None:
    """Return a connection to a `host:port` of this machine, or `None` if there is none."""
    host, _, port = target.rpartition(":")
    address = _LOOPBACK.get(host.strip("[]"))
    if address is None or not port.isdigit():
        return None
    try:
        return socket.create_connection((address, int(port)), _CONNECT_TIMEOUT)
    except OSError:
        return None


def splice(channel: Channel, upstream: socket.socket, first: bytes) -> None:
    """Carry bytes both ways until both sides have ended; raises `Ending` for the client's side."""
    upstream.settimeout(LIMIT)
    upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with upstream:
        try:
            _Splice(channel, upstream).run(first)
        except (PeerGone, Ending):
            upstream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raise
        except OSError as error:
            raise Ending(How.RST) from error


class _Splice:
    """Two sockets and one poll: OpenSSL's objects want one thread."""

    def __init__(self, channel: Channel, upstream: socket.socket) -> None:
        self._channel, self._upstream = channel, upstream
        self._poll = select.poll()
        self._open = {channel.peer.fileno(): self._up, upstream.fileno(): self._down}
        for fd in self._open:
            self._poll.register(fd, select.POLLIN)

    def run(self, first: bytes) -> None:
        if first:
            self._upstream.sendall(first)
        # What came in one packet with the CONNECT is decrypted already, and no poll tells of it.
        self._up(readable=False)
        while self._open:
            for fd in self._wait():
                if not self._open[fd]():
                    self._poll.unregister(fd)
                    del self._open[fd]

    def _wait(self) -> list[int]:
        # In slices: once the client has sent its FIN, a doom no longer wakes the poll.
        patience = time.monotonic() + LIMIT
        while time.monotonic() < patience:
            ready = [fd for fd, _ in self._poll.poll(_SLICE_MS)]
            self._channel.peer.obey()
            if ready:
                return ready
        raise PeerGone("silent")

    def _up(self, readable: bool = True) -> bool:
        data, more = self._channel.available(readable)
        if data:
            self._upstream.sendall(data)
        if not more:
            with contextlib.suppress(OSError):
                self._upstream.shutdown(socket.SHUT_WR)
        return more

    def _down(self) -> bool:
        data = self._upstream.recv(65536)
        if data:
            self._channel.send(data)
            return True
        self._channel.notify()
        self._channel.peer.shutdown_write()
        return False
