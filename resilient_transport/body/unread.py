"""A response that is handed out before its body was read, though nobody streams it: its first read reads all.

Somebody looks at its head first. A response hook may refuse it by its size, the handler of a 401 reads the
peer's certificate off the living connection, and what a redirect says in its body is nobody's business.

Leans on `_fp`, `_fp_bytes_read`, `_uncached_read_occurred` and `chunked` of urllib3's response, pinned in
`tests/test_upstream.py`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, Final

from requests import Response
from requests.exceptions import RequestException, Timeout
from requests.models import REDIRECT_STATI
from requests.utils import get_encoding_from_headers
from urllib3.exceptions import DecodeError, HTTPError, ProtocolError
from urllib3.response import HTTPResponse

from .decoded_end import decoder_of
from .release import close_and_release

#: How much of a redirect's body is read at a time, in bytes.
_PIECE: Final = 65536


class Unread(HTTPResponse):
    """urllib3's response, until something of its body is asked for."""

    #: Reads the body and puts it in place. Set when the response is handed out.
    read_body: Callable[[Any], None]

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read all of the body, and hand out what was asked for."""
        _begin_for_itself(self)
        return HTTPResponse.read(self, *args, **kwargs)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:  # type: ignore[override]
        """Read all of the body, and hand it out piece by piece."""
        _begin(self)
        yield from HTTPResponse.stream(self, *args, **kwargs)

    def read_chunked(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:  # type: ignore[override]
        """Read all of the body, and hand it out piece by piece: its chunks are no more."""
        hand_out = HTTPResponse.stream if self.chunked else HTTPResponse.read_chunked
        _begin_for_itself(self)
        yield from hand_out(self, *args, **kwargs)

    if hasattr(HTTPResponse, "read1"):

        def read1(self, *args: Any, **kwargs: Any) -> bytes:
            """Read all of the body, and hand out some of it."""
            _begin_for_itself(self)
            return HTTPResponse.read1(self, *args, **kwargs)

    def close(self) -> None:
        """Close it, and give its place in a blocking pool back; nothing is read any more."""
        abandon(self)
        close_and_release(self)

    if hasattr(HTTPResponse, "shutdown"):

        def shutdown(self) -> None:
            """Wake up a reader in another thread, as urllib3 does: nothing is read any more."""
            abandon(self)
            HTTPResponse.shutdown(self)

    def __del__(self) -> None:
        # That of `io.IOBase` does not close what is closed already, as it is if a ring goes in its own order.
        if self._connection is not None:
            self.close()


class _Reading(HTTPResponse):
    """urllib3's response while its body is read: who closes it ends that."""

    #: Whether the response was closed, maybe by another thread: then its body is not asked for again.
    is_abandoned = False

    def close(self) -> None:
        """Close it, as urllib3 does."""
        self.is_abandoned = True
        HTTPResponse.close(self)

    if hasattr(HTTPResponse, "shutdown"):

        def shutdown(self) -> None:
            """Wake up a reader in another thread, as urllib3 does."""
            self.is_abandoned = True
            HTTPResponse.shutdown(self)


def _begin(response: HTTPResponse) -> None:
    """Read the body of a response, and let it be urllib3's own from now on; or fail, whenever it is read.

    Somebody may hold a method of it for longer than that, as `shutil.copyfileobj` does.
    """
    if type(response) is not Unread:
        return
    raw: Any = response
    read_body = vars(raw).pop("read_body", None)
    if read_body is None:
        # Another thread has just begun.
        return
    raw.__class__ = _Reading
    try:
        read_body(raw)
    except RequestException as error:
        if not raw.is_abandoned:
            # Without its traceback, which holds the response.
            raw.read_body = _failing(type(error), str(error), getattr(error, "attempts", ()))
            raw.__class__ = Unread
        raise
    finally:
        if type(raw) is _Reading:
            raw.__class__ = HTTPResponse  # type: ignore[assignment]


def _failing(kind: type[RequestException], words: str, attempts: Any) -> Callable[[Any], None]:
    """What reads a body that could not be read: an error like the first, each time."""

    def fail(_: Any) -> None:
        error = kind(words)
        error.attempts = attempts  # type: ignore[attr-defined]
        raise error

    return fail


def _begin_for_itself(raw: Any) -> None:
    """The same for who reads urllib3's response, and not through requests': the errors are urllib3's."""
    try:
        _begin(raw)
    except RequestException as error:
        inner = error.args[0] if error.args else None
        if isinstance(error, Timeout):
            raise
        found = inner if isinstance(inner, HTTPError) else ProtocolError(str(inner))
        found.attempts = getattr(error, "attempts", ())  # type: ignore[attr-defined]
    else:
        return
    try:
        raise found
    finally:
        # The traceback holds this frame: what the frame holds must not be the exception.
        del found, inner


def abandon(raw: Any) -> None:
    """Let nothing be read any more of a response that is handed out to nobody, or closed."""
    raw.is_abandoned = True
    if type(raw) is Unread:
        raw.__class__ = HTTPResponse  # type: ignore[assignment]
        vars(raw).pop("read_body", None)


def leave_unread(raw: Any, read_body: Callable[[Any], None]) -> bool:
    """Let the first read of a response read all of its body; False: it is not urllib3's own response.

    Args:
        raw: urllib3's response.
        read_body: reads the body of this response and puts it in place.
    """
    if type(raw) is not HTTPResponse:
        return False
    raw.__class__ = Unread
    raw.read_body = read_body  # type: ignore[attr-defined]
    return True


def put_in_place(raw: Any, body: io.BytesIO) -> None:
    """Let a response of urllib3's be read from its body, still encoded, from the beginning."""
    length = body.seek(0, io.SEEK_END)
    body.seek(0)
    raw._fp = body
    raw._fp_bytes_read = 0
    raw._uncached_read_occurred = False
    if raw.length_remaining is not None:
        raw.length_remaining = length


def read_leniently(raw: Any) -> None:
    """Read the body of a redirect, as much as there is: it is nobody's business, and so never an error."""
    pieces = []
    try:
        for piece in raw.stream(_PIECE, decode_content=False):
            pieces.append(piece)
    except (HTTPError, HTTPException, OSError):
        HTTPResponse.close(raw)
    raw.release_conn()
    body = b"".join(pieces)
    try:
        decoder_of(body, raw.headers.get("content-encoding", ""))
    except DecodeError:
        body = b""
    put_in_place(raw, io.BytesIO(body))


def take_place(raw: Any, response: Response | None, new: Response) -> None:
    """Let a response whose body was cut have the body and the head of the one that came in its place.

    Args:
        raw: urllib3's response whose head was seen.
        response: requests' response around it; None: it is gone.
        new: came in its place, with the same status; its body is in place, and it is used up.
    """
    head = raw.headers
    vars(raw).update({name: value for name, value in vars(new.raw).items() if name not in _THE_CALLERS})
    # Or the new one would close what it shares when it goes.
    new.raw._fp = None
    if response is None:
        return
    if response.encoding == get_encoding_from_headers(response.headers):
        response.encoding = new.encoding
    # What somebody has written into it meanwhile stays.
    own = {name: value for name, value in response.headers.items() if head.get(name) != value}
    response.headers.clear()
    response.headers.update({**new.headers, **own})
    response.reason = new.reason
    response.cookies.update(new.cookies)


#: What a caller may set on urllib3's response.
_THE_CALLERS: Final = ("decode_content", "auto_close", "enforce_content_length")


def is_redirect(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a response is a redirect, as requests has it."""
    return status in REDIRECT_STATI and "location" in headers


def is_looked_at_first(response: Response) -> bool:
    """Whether somebody looks at a response before its body is read: a hook, or who answers a 401 or 407."""
    hooks = getattr(response.request, "hooks", None) or {}
    return response.status_code in (401, 407) or bool(hooks.get("response"))
