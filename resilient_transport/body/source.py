"""The stream under a response's body, which goes on over another connection when its own breaks.

It lies below the buffer that `http.client` reads from, so that whoever reads, in whatever way, reads on: the
response, its `raw` and what others have wrapped around it stay the same objects.

Leans on `fp` of `http.client.HTTPResponse`, a `BufferedReader` over a `socket.SocketIO`, and on the latter's
`_sock`; on `length` and `chunked`; on `_fp`, `_pool`, `_connection`, `_sock_shutdown` of urllib3's response,
and on `_put_conn` of its pool.
Pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import errno
import socket
import weakref
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, IncompleteRead
from io import BufferedReader
from typing import Any, Final, NoReturn, Protocol

from ..connection.connection import ResilientConnection
from ..connection.response_head import Chunks, may_be_size
from ..connection.timed_stream import Timed, hasten
from ..util.frozen import dataclass
from .framing import Chunked, Listener, Sized

#: Seconds for which the end of a response is waited for of which all that was wanted is there.
_MOMENT: Final = 1.0
#: How much is read at once where the bytes do not go straight to who has asked for them.
_PIECE: Final = 65536


@dataclass(frozen=True, slots=True)
class Rest:
    """A response that goes on with a body."""

    #: urllib3's response, read up to the first byte that is missing.
    response: Any
    #: How many of its bytes are wanted; None: all.
    length: int | None
    #: How many bytes the body has, as far as that is known by now.
    size: int | None
    #: Whether the response ends with what is wanted of it.
    is_end: bool = True


class Sequel(Protocol):
    """Who goes on with a body that breaks."""

    #: Is shown the body's bytes as they come.
    listener: Listener | None
    #: The pool of the connection that broke: its place there is now this one's. Set before `go_on`.
    slot_of: Any
    #: The last bytes that came. Set before `go_on`.
    tail: bytes

    def go_on(self, received: int, owed: int, error: Exception | None) -> Rest | None:
        """Get the rest of a body; None: there is none.

        Args:
            received: how many bytes of it came.
            owed: how many have to follow, whatever its length is.
            error: what went wrong; None: the connection ended, or there is more than the last response was
                to bring.
        """

    def refuse(self, why: str) -> NoReturn:
        """Raise an error: what went on with the body is not what its head says."""

    def finish(self, received: int) -> None:
        """Learn that all of a body that was gone on with came; raise if it is not what it should be."""


class Source(Timed):
    """A socket's raw stream, until it breaks; then that of its sequel, in the same frame."""

    #: None: nothing is read, so that a look at what was read ahead does not wait.
    framing: Sized | Chunked | None = None
    #: Who goes on; None once it is over, since what it holds may hold an error that holds this.
    sequel: Sequel | None = None
    #: urllib3's response; weak, since it owns this.
    owner: Callable[[], Any]
    #: What goes on with the body, and how many of its bytes are still wanted.
    _rest: Rest | None = None
    _wanted: int | None = None
    #: Bytes in the body's frame that are handed on before anything is read.
    _ready: memoryview | bytes = b""
    #: Bytes that came and make no whole line yet.
    _held = b""
    #: Whether nothing is read any more: all was, or nobody goes on.
    _over = False

    def readinto(self, buffer: Any) -> int | None:
        """Read what has come; wait only while nothing has."""
        framing = self.framing
        if framing is None:
            return None
        if self._rest is not None or self._ready or self._held or self._over:
            return self._hand_on(framing, memoryview(buffer))
        if self._sock is None:
            # Another thread has closed it.
            raise OSError(errno.EBADF, "the response was closed")
        try:
            self.hurry()
            count: int = self._sock.recv_into(buffer)
        except BlockingIOError:
            return None
        except OSError as error:
            self._go_on(framing, error)
            return self._hand_on(framing, memoryview(buffer))
        if not count:
            self._end_of_file(framing)
            return self._hand_on(framing, memoryview(buffer))
        admitted = framing.admit(buffer, count)
        if admitted == count:
            return count
        self._held = bytes(memoryview(buffer)[admitted:count])
        return admitted or self._hand_on(framing, memoryview(buffer))

    def start(self, framing: Chunked, ahead: bytes) -> None:
        """Begin with bytes that were read ahead."""
        self.framing = framing
        admitted = framing.admit(ahead, len(ahead))
        self._ready, self._held = memoryview(ahead)[:admitted], ahead[admitted:]

    def _hand_on(self, framing: Sized | Chunked, buffer: memoryview) -> int:
        while not self._ready and not self._over:
            if self._rest is None:
                self._read_held(framing)
            else:
                self._read_rest(framing, self._rest)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _read_held(self, framing: Sized | Chunked) -> None:
        """Read on from this connection while a line is not whole."""
        try:
            self.hurry()
            data = self._held + self._sock.recv(_PIECE)
        except OSError as error:
            self._go_on(framing, error)
            return
        if len(data) == len(self._held):
            self._end_of_file(framing)
            return
        admitted = framing.admit(data, len(data))
        self._ready, self._held = memoryview(data)[:admitted], data[admitted:]

    def _end_of_file(self, framing: Sized | Chunked) -> None:
        if framing.may_end() or not (framing.owed or may_be_size(self._held.removeprefix(b"\r\n"))):
            self._stop()
        else:
            self._go_on(framing, None)

    def _stop(self) -> None:
        """Hand on what is left as it is, and then no more."""
        self._ready, self._held, self._over = memoryview(self._held), b"", True
        self.sequel = None

    def _read_rest(self, framing: Sized | Chunked, rest: Rest) -> None:
        """Read a piece of what goes on with the body."""
        wanted = _PIECE if self._wanted is None else min(_PIECE, self._wanted)
        answer = rest.response._fp
        try:
            data = answer.read1(wanted) if wanted else b""
            if answer.length == 0:
                # Before Python 3.13, read1 does not close what it has read (python/cpython#113199).
                answer.read(0)
        except (OSError, HTTPException) as error:
            self._go_on(framing, error)
            return
        if data:
            if self._wanted is not None:
                self._wanted -= len(data)
            self._ready = memoryview(framing.framed(data))
        if self._wanted == 0 or (self._wanted is None and not data):
            self._end_of_rest(framing, rest)
        elif not data and (answer.chunked or answer.length is None):
            # It ends in order, as chunks say, or as a body without a length does.
            self._refuse(rest, "Content-Range: less came than it says")
        elif not data:
            self._go_on(framing, None)

    def _end_of_rest(self, framing: Sized | Chunked, rest: Rest) -> None:
        has_more, is_whole = False, rest.response._fp.isclosed()
        if rest.is_end and not is_whole:
            has_more, is_whole = _end_of(rest.response._fp)
        if has_more and self._wanted is not None:
            self._refuse(rest, "Content-Range: more came than it says")
        if rest.size is not None and framing.received < rest.size:
            # A server may send less of a range than it was asked for (RFC 9110 section 15.3.7).
            self._go_on(framing, None)
            return
        owner = self.owner()
        if owner is not None and owner._connection is not None and not is_whole:
            # Nobody may find what follows in a response of his own.
            owner._connection.close()
        sequel, self.sequel, self._over = self.sequel, None, True
        if sequel is not None:
            sequel.finish(framing.received)
        self._ready = memoryview(bytes(self._ready) + framing.ending())

    def _refuse(self, rest: Rest, why: str) -> None:
        """Raise an error: what went on with the body is not what its head says."""
        free_slot(self._part())
        rest.response.close()
        sequel, self.sequel, self._over = self.sequel, None, True
        if sequel is not None:
            sequel.refuse(why)

    def _go_on(self, framing: Sized | Chunked, error: Exception | None) -> None:
        """Get the rest of the body from elsewhere.

        Raises:
            OSError, http.client.HTTPException: nobody has it.
        """
        if framing.is_over():
            # All that can be missing are trailers, which nobody reads: not the next response's reader either.
            free_slot(self._part())
            self._over = True
            return
        before, self._rest = self._rest, None
        slot_of = self._part()
        if before is not None:
            before.response.close()
        sequel, rest = None if framing.broken else self.sequel, None
        if sequel is None:
            free_slot(slot_of)
        else:
            sequel.slot_of, sequel.tail = slot_of, framing.tail
            rest = sequel.go_on(framing.received, framing.owed, error)
        if rest is not None:
            self._take(rest, framing)
            return
        self._stop()
        if error is None and before is not None:
            error = IncompleteRead(b"", None if framing.length is None else framing.length - framing.received)
        try:
            if error is not None:
                raise error
        finally:
            # The traceback holds this frame: what the frame holds must not be the exception.
            del error

    def _take(self, rest: Rest, framing: Sized | Chunked) -> None:
        """Let the response own the connection that its body comes on from now on."""
        self._rest, self._wanted, self._held = rest, rest.length, b""
        framing.length = rest.size
        if not self._ready:
            self._ready = framing.framed(b"")
        owner, other = self.owner(), rest.response
        if owner is not None:
            owner._pool, owner._connection, other._connection = other._pool, other._connection, None
            owner._sock_shutdown = getattr(other, "_sock_shutdown", None)

    def _part(self) -> Any:
        """Close the connection that broke; return the pool in which it had a place."""
        owner = self.owner()
        connection = None if owner is None else owner._connection
        if connection is None:
            return None
        if isinstance(connection, ResilientConnection):
            connection.let_go_of_answer()
        connection.close()
        # What still reads from it keeps the descriptor open.
        with suppress(OSError, AttributeError):
            self._sock.shutdown(socket.SHUT_RDWR)
        owner._connection = None
        return owner._pool


def free_slot(pool: Any) -> None:
    """Give a place in a pool back; None: there is none."""
    if pool is not None:
        pool._put_conn(None)


def _end_of(answer: Any) -> tuple[bool, bool]:
    """Wait a moment for the end of a response: whether it has more, and whether it ends in order.

    Where it breaks, or its end is late, all that was wanted is there.
    """
    lines = answer.fp
    hasten(lines, _MOMENT)
    try:
        has_more = bool(answer.read1(1))
        if not has_more:
            # Before Python 3.13, read1 does not close what it has read (python/cpython#113199).
            answer.close()
    except (OSError, HTTPException, TypeError):
        # The last: where reading is not to wait, http.client takes the length of None.
        return False, False
    return has_more, not has_more and (not isinstance(lines, Chunks) or lines.last in (b"\r\n", b"\n"))


def watch(response: Any, sequel: Sequel) -> bool:
    """Let a sequel go on with the body of a response when its connection breaks; False: this one's cannot be.

    Args:
        response: urllib3's, of which nothing was read yet.
        sequel: who goes on.
    """
    answer = response._original_response
    file = answer.fp
    reader = file.file if isinstance(file, Chunks) else file
    raw = getattr(reader, "raw", None)
    if type(reader) is not BufferedReader or type(raw) not in (socket.SocketIO, Timed):
        return False
    raw.__class__ = Source
    source: Any = raw
    source.sequel, source.owner = sequel, weakref.ref(response)
    ahead = reader.peek()
    if not answer.chunked:
        source.framing = framing = Sized(answer.length, sequel.listener)
        if ahead:
            framing.admit(ahead, min(len(ahead), answer.length or len(ahead)))
        return True
    # What came of it already may end within a line: take it back.
    source.start(Chunked(sequel.listener), reader.read(len(ahead)) if ahead else b"")
    answer.fp = Chunks(BufferedReader(reader.detach()))
    return True
