"""Request bodies: whether one can be sent again, and how to get back to where it began.

Leans on `_body_position` of requests' `PreparedRequest`, pinned in `tests/spine/test_upstream.py`.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from requests import PreparedRequest
from requests.exceptions import UnrewindableBodyError

from .retry.stages import Stage

#: How much of a file is sent at a time, in bytes; as much as urllib3 takes.
_BLOCK: Final = 16384

#: Bodies that were touched and cannot be rewound: a redirect or a second call would send what is left.
_TOUCHED: Final[weakref.WeakValueDictionary[int, Any]] = weakref.WeakValueDictionary()
#: The same for those that take no weak reference, such as `iter([...])`: the latest ones.
_TOUCHED_OF_LATE: Final[deque[Any]] = deque(maxlen=64)
_LOCK: Final = threading.Lock()


class RequestBody:
    """Whether a request's body can be sent again, and how to get back to where it began.

    There are four kinds: what is in memory is sent again as it is; a file that can seek is rewound to where
    it was when the request was prepared; what is spooled is read from there; everything else (a generator, a
    pipe) is gone once it was touched.

    Args:
        request: whose body it is.

    Raises:
        requests.exceptions.UnrewindableBodyError: it was touched by another call, and what is left of it is
            not what the caller means.
    """

    __slots__ = ("_body", "_position", "_size", "rewindable")

    def __init__(self, request: PreparedRequest) -> None:
        body: Any = request.body
        self._body = body
        self._position: Any = None
        self._size = 0
        if body is None or isinstance(body, (bytes, str, bytearray, memoryview)):
            self.rewindable = True
        elif isinstance(body, Spool):
            self.rewindable = body.rewind() is None
        elif hasattr(body, "seek") and hasattr(body, "tell"):
            self.rewindable = self._remember(getattr(request, "_body_position", None))
        else:
            # A list or a tuple begins anew with each `iter`.
            self.rewindable = isinstance(body, (list, tuple))
        if not self.rewindable and was_touched(body):
            raise UnrewindableBodyError(
                "The body was sent before, at least in part, and cannot be rewound: give bytes or a seekable "
                "file, or set RetryPolicy(spool_bytes=...)",
                request=request,
            )

    def _remember(self, prepared_at: Any) -> bool:
        try:
            now = self._body.tell()
            self._position = prepared_at if isinstance(prepared_at, int) else now
            self._size = self._body.seek(0, os.SEEK_END)
            self._body.seek(self._position)
        except (OSError, ValueError, TypeError):
            self._position = None
            return False
        return True

    def rewind(self) -> str | None:
        """Go back to where the body began; why it must not be sent, if that failed."""
        if isinstance(self._body, Spool):
            return self._body.rewind()
        if self._position is None:
            return None if self.rewindable else "its body was touched and cannot be rewound"
        try:
            size = self._body.seek(0, os.SEEK_END)
            self._body.seek(self._position)
        except (OSError, ValueError):
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
            touch(self._body)
        return spent


def touch(body: Any) -> None:
    """Remember that a body was touched and cannot be rewound."""
    with _LOCK:
        try:
            _TOUCHED[id(body)] = body
        except TypeError:
            if not any(one is body for one in _TOUCHED_OF_LATE):
                _TOUCHED_OF_LATE.append(body)


def was_touched(body: Any) -> bool:
    """Whether a call has touched a body that cannot be rewound."""
    with _LOCK:
        return _TOUCHED.get(id(body)) is body or any(one is body for one in _TOUCHED_OF_LATE)


class Spool:
    """A body that can be read once, as one that can be read again: what it gave is kept.

    Args:
        source: an iterable of bytes or text, or a file.
        most: bytes that are kept in memory; more go to a temporary file.
    """

    def __init__(self, source: Any, most: int) -> None:
        self._pieces = _blocks_of(source) if hasattr(source, "read") else iter(source)
        self._kept = tempfile.SpooledTemporaryFile(max_size=most)  # noqa: SIM115 - closed by `close`
        weakref.finalize(self, self._kept.close)

    def __iter__(self) -> Iterator[bytes]:
        """What was kept, and then what the source still gives."""
        while kept := self._kept.read(_BLOCK):
            yield kept
        for piece in self._pieces:
            data = piece.encode() if isinstance(piece, str) else bytes(piece)
            self._kept.write(data)
            yield data

    def rewind(self) -> str | None:
        """Begin anew; why that is not possible, if it is not."""
        try:
            self._kept.seek(0)
        except (OSError, ValueError):
            return "what was kept of its body is gone"
        return None

    def close(self) -> None:
        """Throw away what was kept."""
        self._kept.close()


def _blocks_of(file: Any) -> Iterator[Any]:
    while block := file.read(_BLOCK):
        yield block


def spooled(request: PreparedRequest, most: int) -> PreparedRequest:
    """A copy of a request whose body can be sent again; the request itself if that is so anyway.

    Args:
        request: the caller's, which is left as it is.
        most: bytes of its body that may be kept in memory; 0: nothing is kept.
    """
    body: Any = request.body
    if not most or body is None or isinstance(body, (bytes, str, list, tuple)):
        return request
    if not isinstance(body, Iterable) and not hasattr(body, "read"):
        return request
    if RequestBody(request).rewindable:
        return request
    copy = request.copy()
    copy.body = Spool(body, most)  # type: ignore[assignment]
    touch(body)
    return copy
