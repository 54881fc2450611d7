"""How a connection's thread is told to stop: by an exception that says how the connection shall end."""

from __future__ import annotations

from ..script import How


class Ending(Exception):
    """The connection ends now, in this way."""

    def __init__(self, how: How, seconds: float = 0.0, spoil: bytes = b"HTTP/1.1 200 OK\r\n") -> None:
        """Take the way, how long a stall lasts, and the plain text of a record to be spoilt."""
        super().__init__(how.value)
        self.how = how
        self.seconds = seconds
        self.spoil = spoil


class PeerGone(Exception):
    """The client closed or reset the connection, or stayed silent for too long."""
