"""What a socket says of TCP keep-alive, once it has the options that the adapter gives its sockets."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from urllib3.connection import HTTPConnection

from ...connection.preconnect import made
from ...connection.socket_options import with_keepalive

#: The options by their numbers, where this platform has them.
_NAMES: Final = {
    (level, getattr(socket, name)): name
    for level, name in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE"),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE"),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL"),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT"),
    )
    if hasattr(socket, name)
}


@dataclass(frozen=True, slots=True)
class SocketWord:
    """An option of a socket: what it was set to, and what the socket says."""

    #: Such as "TCP_KEEPIDLE".
    name: str
    #: What it was set to.
    wanted: int
    #: What the socket says.
    told: int

    @property
    def is_honoured(self) -> bool:
        """Whether the socket does as it was told; a switch that is on is any number but 0."""
        if self.name == "SO_KEEPALIVE":
            return bool(self.wanted) == bool(self.told)
        return self.wanted == self.told


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """TCP keep-alive as it is set, and as a socket has it."""

    #: Seconds of silence until the first question, as the setting says; 0: never.
    seconds: int
    #: Whether the program's own `HTTPConnection.default_socket_options` decide.
    is_own: bool
    #: Each option that was set.
    words: tuple[SocketWord, ...]
    #: Why no socket could be asked; empty: one was.
    error: str = ""


def probe(seconds: int, is_said: bool) -> KeepAlive:
    """Connect a socket to loopback, with the adapter's options, and ask it.

    Args:
        seconds: the setting `tcp_keepalive`.
        is_said: whether somebody has set that.
    """
    options = [option for option in with_keepalive(seconds, is_said) if option[:2] in _NAMES]
    own = any(tuple(option[:2]) in _NAMES for option in HTTPConnection.default_socket_options)
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            made(socket.AF_INET, options, None) as sock,
        ):
            sock.settimeout(5)
            sock.connect(listener.getsockname())
            words = tuple(
                SocketWord(_NAMES[level, name], value, sock.getsockopt(level, name))
                for level, name, value in options
            )
    except OSError as error:
        return KeepAlive(seconds, own and not is_said, (), error.strerror or type(error).__name__)
    return KeepAlive(seconds, own and not is_said, words)
