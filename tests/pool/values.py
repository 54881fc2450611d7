"""Connections for tests of pools: real sockets, and nobody's server."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from resilient_transport.connection.connection import PlainConnection


@contextmanager
def idle_connection() -> Iterator[tuple[PlainConnection, socket.socket]]:
    """Give a connection that can be idle, and the other end of its socket."""
    ours, theirs = socket.socketpair()
    connection = PlainConnection("localhost")
    connection.sock = ours
    connection.made_at = connection.proven_at = monotonic()
    with ours, theirs:
        yield connection, theirs


def is_closed(connection: PlainConnection) -> bool:
    """Whether a connection has no socket any more."""
    return connection.sock is None
