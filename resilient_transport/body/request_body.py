"""Request bodies: whether one can be sent again, and how to get back to where it began.

Leans on `_body_position` of requests' `PreparedRequest`, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final

from requests import PreparedRequest
from requests.exceptions import UnrewindableBodyError

from ..retry.stages import Stage
from ..util.bounded_dict import keep_newest
from ..util.identity_dict import IdentityDict

#: How much of a file is sent at a time, in bytes; as much as urllib3 takes.
_BLOCK: Final = 16384

#: Bodies that were touched and cannot be rewound: a redirect or a second call would send what is left.
_TOUCHED: Final[IdentityDict[bool]] = IdentityDict()
#: The same for those that take no weak reference, such as `iter([...])`, by their request: they last as long.
_TOUCHED_WITH: Final[IdentityDict[Any]] = IdentityDict()
#: And the newest of these by their `id`, which is nobody else's while they are here: for who sends one again
#: when its request is gone.
_TOUCHED_LAST: Final[dict[int, Any]] = {}
#: How many of them are kept. One that is at its end takes a few bytes; another keeps what it has not given.
_MOST_KEPT: Final = 64
#: Where files began when they were sent first.
_BEGAN: Final[IdentityDict[int]] = IdentityDict()


class RequestBody:
    """Whether a request's body can be sent again, and how to get back to where it began.

    There are five kinds: what is in memory, or begins anew with each `iter`, is sent again as it is; a file
    that can seek is rewound; what is spooled is read from there; an iterator, or a file that cannot seek, is
    gone once it was touched, for other calls, too; and of what else can be iterated nobody knows whether it
    begins anew, so that it is sent once in a call.

    Args:
        request: whose body it is.

    Raises:
        requests.exceptions.UnrewindableBodyError: it was touched by another call, and what is left of it is
            not what the caller means.
    """

    __slots__ = ("_body", "_position", "_request", "_size", "rewindable")

    def __init__(self, request: PreparedRequest) -> None:
        body: Any = request.body
        self._body, self._request = body, request
        self._position: int | None = None
        self._size = 0
        if isinstance(body, Spool):
            self.rewindable = body.rewind() is None
        elif hasattr(body, "seek") and hasattr(body, "tell"):
            self.rewindable = self._remember(getattr(request, "_body_position", None))
        elif hasattr(body, "read"):
            self.rewindable = False
        else:
            self.rewindable = body is None or isinstance(body, Collection) or _is_buffer(body)
        if not self.rewindable and (isinstance(body, Spool) or was_touched(body)):
            raise UnrewindableBodyError(
                "The body was sent before, at least in part, and cannot be rewound for another call or a "
                "redirect: give bytes or a file that can seek (spool_bytes serves within one call)",
                request=request,
            )

    def _remember(self, prepared_at: Any) -> bool:
        """Note where a file begins: where it is; at its end, where it was when it was prepared or sent."""
        body = self._body
        try:
            now = body.tell()
            self._size = _end_of(body)
            if now == self._size:
                now = min(now, _BEGAN.get(body, prepared_at if isinstance(prepared_at, int) else now))
            body.seek(now)
        except Exception:
            # Whatever a file of somebody's own raises: it cannot seek.
            return False
        self._position = now
        with suppress(TypeError):
            _BEGAN.put_first(body, now)
        return True

    def rewind(self) -> str | None:
        """Go back to where the body began; why it must not be sent, if that failed."""
        if isinstance(self._body, Spool):
            return self._body.rewind()
        if self._position is None:
            return None if self.rewindable else "its body was touched and cannot be rewound"
        try:
            size = _end_of(self._body)
            self._body.seek(self._position)
        except Exception:
            self.rewindable = False
            return "its body cannot be rewound any more"
        if size != self._size:
            self.rewindable = False
            return "its body is a file whose size has changed"
        return None

    def is_spent(self, stage: Stage) -> bool:
        """Whether an attempt that got this far leaves nothing that could be sent again."""
        spent = not self.rewindable and stage.rank >= Stage.REQUEST.rank
        if spent:
            touch(self._body, self._request)
        return spent

    def close(self) -> None:
        """Throw away what was kept of it."""
        if isinstance(self._body, Spool):
            self._body.close()


def _is_buffer(body: Any) -> bool:
    try:
        memoryview(body)
    except TypeError:
        return False
    return True


def _end_of(file: Any) -> int:
    """Go to a file's end; what `seek` returns is not always a number."""
    file.seek(0, os.SEEK_END)
    return int(file.tell())


def touch(body: Any, request: PreparedRequest) -> None:
    """Remember that a body was touched, if it is one that will not begin anew."""
    if not hasattr(body, "read") and iter(body) is not body:
        return
    try:
        _TOUCHED.put(body, True)
    except TypeError:
        _TOUCHED_WITH.put(request, body)
        _TOUCHED_LAST[id(body)] = body
        keep_newest(_TOUCHED_LAST, _MOST_KEPT)


def was_touched(body: Any) -> bool:
    """Whether a call has touched a body that cannot be rewound."""
    return (
        _TOUCHED.get(body, False)
        or id(body) in _TOUCHED_LAST
        or any(one is body for one in _TOUCHED_WITH.values())
    )


class Spool:
    """A body that can be read once, as one that can be read again: what it gave is kept.

    Args:
        request: whose body it is: an iterable of bytes and text, or a file.
        most: bytes that are kept in memory; more go to a temporary file.
    """

    def __init__(self, request: PreparedRequest, most: int) -> None:
        self._request = request
        self._pieces: Iterator[Any] | None = None
        #: Whether the source has failed, so that it gives no more though it is not at its end.
        self._failed = False
        self._kept = tempfile.SpooledTemporaryFile(max_size=most)  # noqa: SIM115 - closed by `close`
        weakref.finalize(self, self._kept.close)

    def __iter__(self) -> Iterator[bytes]:
        """What was kept, and then what the source still gives."""
        while kept := self._kept.read(_BLOCK):
            yield kept
        try:
            for piece in self._source():
                if piece:
                    data = piece if isinstance(piece, bytes) else _bytes_of(piece)
                    self._kept.write(data)
                    yield data
        except GeneratorExit:
            # Nobody wants more of it now.
            raise
        except BaseException:
            self._failed = True
            raise

    def _source(self) -> Iterator[Any]:
        if self._pieces is None:
            body: Any = self._request.body
            touch(body, self._request)
            self._pieces = _blocks_of(body) if hasattr(body, "read") else iter(body)
        return self._pieces

    def rewind(self) -> str | None:
        """Begin anew; why that is not possible, if it is not."""
        if self._failed:
            return "the source of its body has failed"
        try:
            self._kept.seek(0)
        except (OSError, ValueError):
            return "what was kept of its body is gone"
        return None

    def close(self) -> None:
        """Throw away what was kept."""
        self._kept.close()


def _bytes_of(piece: Any) -> bytes:
    """Text as UTF-8, as urllib3 sends it; whatever else is no buffer is refused, as it would be."""
    return piece.encode() if isinstance(piece, str) else memoryview(piece).tobytes()


def _blocks_of(file: Any) -> Iterator[Any]:
    while block := file.read(_BLOCK):
        yield block


#: What is in memory, or nothing: there is nothing to remember of it.
_IN_MEMORY: Final = RequestBody(PreparedRequest())


def body_of(request: PreparedRequest) -> RequestBody:
    """The body of a request; one for all that are in memory, as most are."""
    body = request.body
    return _IN_MEMORY if body is None or isinstance(body, (bytes, str)) else RequestBody(request)


def spooled(request: PreparedRequest, most: int) -> PreparedRequest:
    """A copy of a request whose body can be sent again; the request itself if that is so anyway.

    Args:
        request: the caller's, which is left as it is.
        most: bytes of its body that may be kept in memory.
    """
    body: Any = request.body
    if body_of(request).rewindable or not (isinstance(body, Iterable) or hasattr(body, "read")):
        return request
    copy = request.copy()
    copy.body = Spool(request, most)  # type: ignore[assignment]
    return copy
