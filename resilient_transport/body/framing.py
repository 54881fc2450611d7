"""How the bytes of a body lie in the stream that carries them (RFC 9112 section 6).  No I/O.

A framing is shown what comes, says how much of that may be handed on, and counts the body's own bytes. When
they go on coming from somewhere else it puts them into the same frame, so that who reads notices nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

#: The longest line of a chunk that is looked for; `http.client` gives up there, too.
_LINE_AT_MOST: Final = 65536
#: How much of the stream is looked at for the end of such a line, at first.
_GLANCE: Final = 64

#: How many of the last bytes are remembered.
_TAIL: Final = 64

Listener = Callable[[memoryview], object]


def last_of(before: bytes, data: memoryview) -> bytes:
    """The last bytes of a body, by which another response is known to have the same ones there."""
    return bytes(data[-_TAIL:]) if len(data) >= _TAIL else (before + bytes(data))[-_TAIL:]


class Sized:
    """A body of a known length, or one that ends with its connection.

    Args:
        length: how many bytes it has; None: it ends with its connection.
        listener: is shown the body's bytes as they come.
    """

    #: Bytes that have to come whatever the body's length turns out to be: a frame without chunks owes none.
    owed = 0
    #: Nor can it make no sense.
    broken = False

    def __init__(self, length: int | None, listener: Listener | None = None) -> None:
        self.length = length
        self._listener = listener
        #: Bytes of the body that came, and the last of them.
        self.received = 0
        self.tail = b""

    def admit(self, data: Any, count: int) -> int:
        """Take in the first `count` bytes of what came; return how many may be handed on."""
        self.received += count
        came = memoryview(data)[:count]
        self.tail = last_of(self.tail, came)
        if self._listener is not None:
            self._listener(came)
        return count

    def is_over(self) -> bool:
        """Whether all of it came for certain."""
        return self.length is not None and self.received >= self.length

    def may_end(self) -> bool:
        """Whether an end of file is its end."""
        return self.length is None or self.is_over()

    def framed(self, data: bytes) -> bytes:
        """Take in bytes of the body that came otherwise; return them as they would be in the stream."""
        self.admit(data, len(data))
        return data

    def ending(self) -> bytes:
        """What ends the body in the stream."""
        return b""


class Chunked:
    """A body in chunks (RFC 9112 section 7.1). A line that is not whole is held back.

    Args:
        listener: is shown the body's bytes as they come.
    """

    #: Known only once another response has told it.
    length: int | None = None

    def __init__(self, listener: Listener | None = None) -> None:
        self._listener = listener
        #: Bytes of the body that came, and the last of them.
        self.received = 0
        self.tail = b""
        #: Bytes of the present chunk that are still to come.
        self.owed = 0
        #: Whether the line's end that follows a chunk is still to come.
        self._owes_end = False
        #: Whether a line made no sense, so that nobody can go on with it.
        self.broken = False
        #: Whether the last chunk has begun, or that: from there on everything is handed on.
        self._over = False

    def admit(self, data: Any, count: int) -> int:
        """Take in the first `count` bytes of what came; return how many may be handed on."""
        came = memoryview(data)[:count]
        at = 0
        while at < count and not self._over:
            step = self._step(came[at:])
            if step == 0:
                return at
            at += step
        return count

    def is_over(self) -> bool:
        """Whether all of it came for certain."""
        return self._over and not self.broken

    def may_end(self) -> bool:
        """Whether an end of file is its end, or of no account: nobody goes on with what made no sense."""
        return self._over

    def framed(self, data: bytes) -> bytes:
        """Take in bytes of the body that came otherwise; return them as they would be in the stream."""
        framed, data = data[: self.owed], data[self.owed :]
        if framed:
            self._hear(memoryview(framed))
            self.owed -= len(framed)
            framed += b"" if self.owed else b"\r\n"
        framed = self._line_end() + framed
        if data:
            self._hear(memoryview(data))
            framed += b"%x\r\n%b\r\n" % (len(data), data)
        return framed

    def ending(self) -> bytes:
        """What ends the body in the stream."""
        self._over = True
        return self._line_end() + b"0\r\n\r\n"

    def _step(self, data: memoryview) -> int:
        """Take in the next piece of data, line's end or line; 0 if it is not all there."""
        if self.owed:
            step = min(self.owed, len(data))
            self._hear(data[:step])
            self.owed -= step
            self._owes_end = not self.owed
            return step
        if self._owes_end:
            self._owes_end = len(data) < 2
            return 0 if self._owes_end else 2
        return self._size_line(data)

    def _size_line(self, data: memoryview) -> int:
        line = bytes(data[:_GLANCE])
        if b"\n" not in line:
            line = bytes(data[:_LINE_AT_MOST])
        end = line.find(b"\n") + 1
        if not end and len(line) < _LINE_AT_MOST:
            return 0
        try:
            # As `http.client` reads it, which has the last word.
            size = int(line[:end].split(b";", 1)[0], 16)
        except ValueError:
            size = -1
        self.broken, self._over, self.owed = size < 0, size <= 0, max(size, 0)
        return end or len(line)

    def _hear(self, data: memoryview) -> None:
        self.received += len(data)
        self.tail = last_of(self.tail, data)
        if self._listener is not None and data:
            self._listener(data)

    def _line_end(self) -> bytes:
        owed, self._owes_end = self._owes_end, False
        return b"\r\n" if owed else b""
