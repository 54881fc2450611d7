"""How a lease uses its connections: frozen values that go with each attempt.

They say nothing of who the connections belong to, so leases of one shared pool may differ in them.
"""

from __future__ import annotations

import socket
from typing import Final

from urllib3.connection import HTTPConnection

#: What a sixth of the silence before the first question is: the pause between two.
_SHARE: Final = 6

SocketOptions = list[tuple[int, int, int]]


def with_keepalive(seconds: int) -> SocketOptions:
    """urllib3's own socket options, and TCP keep-alive after so many seconds of silence; 0: without.

    A server that does not answer is asked six times, a sixth of that time apart, and then given up.
    """
    options: SocketOptions = list(HTTPConnection.default_socket_options)
    if not seconds:
        return options
    options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    # macOS spells the first otherwise; a platform that has none keeps its own times.
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))
    pause, count = getattr(socket, "TCP_KEEPINTVL", None), getattr(socket, "TCP_KEEPCNT", None)
    times = ((idle, seconds), (pause, max(1, seconds // _SHARE)), (count, _SHARE))
    return options + [(socket.IPPROTO_TCP, name, value) for name, value in times if name is not None]
