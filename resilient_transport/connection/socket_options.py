"""The options of sockets: urllib3's, TCP keep-alive, and what a program has set in the place of either."""

from __future__ import annotations

import socket
from typing import Final

from urllib3.connection import HTTPConnection

#: What a sixth of the silence before the first question is: the pause between two.
_SHARE: Final = 6

#: What the times of TCP keep-alive are called: macOS spells the first otherwise, and a platform that has none
#: keeps its own.
_IDLE: Final = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
_PAUSE: Final = getattr(socket, "TCP_KEEPINTVL", None)
_COUNT: Final = getattr(socket, "TCP_KEEPCNT", None)

#: Options by which a program decides about keep-alive itself. They belong together: who has set one of them
#: means the system's values for the others.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    *((socket.IPPROTO_TCP, name) for name in (_IDLE, _PAUSE, _COUNT) if name is not None),
)

SocketOptions = list[tuple[int, int, int]]


def with_keepalive(seconds: int, is_said: bool = False) -> SocketOptions:
    """urllib3's own socket options, and TCP keep-alive; a server that does not answer is asked six times.

    A program may have set its own keep-alive in `HTTPConnection.default_socket_options`. That stays as it is,
    unless a setting of this package says otherwise.

    Args:
        seconds: of silence until the first question; the others follow a sixth of that apart. 0: never.
        is_said: whether somebody has set that, and it is no default.
    """
    options: SocketOptions = [tuple(option) for option in HTTPConnection.default_socket_options]
    own = [option for option in options if option[:2] in _KEEPALIVE]
    if own and not is_said:
        return options
    options = [option for option in options if option not in own]
    if not seconds:
        return options
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    times = ((_IDLE, seconds), (_PAUSE, max(1, seconds // _SHARE)), (_COUNT, _SHARE))
    return options + [(socket.IPPROTO_TCP, name, value) for name, value in times if name is not None]
