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
from requests.models import REDIRECT_STATI
from requests.utils import get_encoding_from_headers
from urllib3.exceptions import DecodeError, HTTPError
from urllib3.response import HTTPResponse

#: How much of a redirect's body is read at a time, in bytes.
_PIECE: Final = 65536


class Unread(HTTPResponse):
    """urllib3's response, until something of its body is asked for."""

    #: Reads the body and puts it in place. Set when the response is handed out.
    read_body: Callable[[Any], None]

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read all of the body, and hand out what was asked for."""
        _begin(self)
        return HTTPResponse.read(self, *args, **kwargs)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:  # type: ignore[override]
        """Read all of the body, and hand it out piece by piece."""
        _begin(self)
        yield from HTTPResponse.stream(self, *args, **kwargs)

    def read_chunked(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:  # type: ignore[override]
        """Read all of the body, and hand it out piece by piece: its chunks are no more."""
        _begin(self)
        yield from HTTPResponse.stream(self, *args, **kwargs)

    if hasattr(HTTPResponse, "read1"):

        def read1(self, *args: Any, **kwargs: Any) -> bytes:
            """Read all of the body, and hand out some of it."""
            _begin(self)
            return HTTPResponse.read1(self, *args, **kwargs)

    def close(self) -> None:
        """Close it, and give its place in a blocking pool back."""
        super().close()
        self.release_conn()

    def __del__(self) -> None:
        # That of `io.IOBase` does not close what is closed already, as it is if a ring goes in its own order.
        if self._connection is not None:
            self.close()


def _begin(raw: Any) -> None:
    """Read the body of a response, and let it be urllib3's own from now on.

    Somebody may hold a method of it for longer than that, as `shutil.copyfileobj` does.
    """
    if type(raw) is not Unread:
        return
    read_body = raw.read_body
    del raw.read_body
    raw.__class__ = HTTPResponse  # type: ignore[assignment]
    read_body(raw)


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
    raw._fp = body
    raw._fp_bytes_read = 0
    raw._uncached_read_occurred = False
    if raw.length_remaining is not None:
        raw.length_remaining = len(body.getbuffer())


def read_leniently(raw: Any) -> None:
    """Read the body of a redirect, as much as there is: it is nobody's business, and so never an error."""
    pieces = []
    try:
        for piece in raw.stream(_PIECE, decode_content=False):
            pieces.append(piece)
    except (HTTPError, HTTPException, OSError):
        raw.close()
    raw.release_conn()
    body = b"".join(pieces)
    if "content-encoding" in raw.headers and not _can_be_decoded(body, raw):
        body = b""
    put_in_place(raw, io.BytesIO(body))


def _can_be_decoded(body: bytes, raw: Any) -> bool:
    reader = HTTPResponse(body=io.BytesIO(body), headers=raw.headers, preload_content=False)
    try:
        for _ in reader.stream(_PIECE, decode_content=True):
            pass
    except DecodeError:
        return False
    return True


def take_place(raw: Any, response: Response | None, new: Response) -> None:
    """Let a response whose body was cut have the body and the head of the one that came in its place.

    Args:
        raw: urllib3's response whose head was seen.
        response: requests' response around it; None: it is gone.
        new: came in its place, with the same status; its body is in place, and it is used up.
    """
    vars(raw).update(vars(new.raw))
    # Or the new one would close what it shares when it goes.
    new.raw._fp = None
    if response is None:
        return
    if response.encoding == get_encoding_from_headers(response.headers):
        response.encoding = new.encoding
    response.headers, response.reason = new.headers, new.reason
    response.cookies.update(new.cookies)


def is_redirect(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a response is a redirect, as requests has it."""
    return status in REDIRECT_STATI and "location" in headers


def is_looked_at_first(response: Response) -> bool:
    """Whether somebody looks at a response before its body is read: a hook, or who answers a 401 or 407."""
    hooks = getattr(response.request, "hooks", None) or {}
    return response.status_code in (401, 407) or bool(hooks.get("response"))
