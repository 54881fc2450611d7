"""TLS inside TLS: what the thread that carries the bytes does when a connection has no room."""

import socket
import ssl

from resilient_transport.cli.doctor.tls_relay import _receive, _send


class Reluctant:
    """A TLS connection that cannot go on at first."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self.sent, self.asked = sock, b"", 0

    def fileno(self) -> int:
        """Be what a selector takes."""
        return self._sock.fileno()

    def send(self, data: memoryview) -> int:
        """Take a part, and not at once."""
        self.asked += 1
        if self.asked == 1:
            raise ssl.SSLWantWriteError
        self.sent += bytes(data[:3])
        return len(data[:3])

    def recv(self, size: int) -> bytes:
        """Have half a record."""
        raise ssl.SSLWantReadError


def test_all_is_sent_even_where_there_is_no_room_at_first() -> None:
    """It waits until there is, and sends the rest."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outer = Reluctant(ours)
        whole, end = _send(outer, b"0123456789"), _send(outer, b"")

    assert (outer.sent, whole, end) == (b"0123456789", True, False)


def test_half_a_record_is_no_end() -> None:
    """The rest of it is still to come, and nothing is passed on."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        goes_on = _receive(Reluctant(ours), theirs)

    assert goes_on
