"""Responses of which nothing, or not the beginning, is wanted."""

from __future__ import annotations

from http.client import IncompleteRead
from typing import Any, Final

from ..connection.trace import Trace
from .framing import last_of

#: How much is passed over at once, in bytes.
_PIECE: Final = 65536


def pass_over(trace: Trace, response: Any, count: int, tail: bytes) -> str | None:
    """Read so many bytes of a response's body that are there already.

    Args:
        trace: the attempt's.
        response: urllib3's.
        count: how many.
        tail: the last bytes of what is there.

    Returns:
        Why these are not the same bytes; None: they are, as far as the last of them show.

    Raises:
        OSError, http.client.HTTPException: it broke, or it took too long; it is closed then.
    """
    passed = b""
    try:
        while count:
            data = response._fp.read1(min(count, _PIECE))
            if not data and response._fp.chunked:
                # It ends in order. Any other framing tells its length before, or ends with a cut.
                return "it ends before the bytes that are missing"
            if not data:
                raise IncompleteRead(b"", count)
            count -= len(data)
            passed = last_of(passed, memoryview(data))
    except BaseException as error:
        trace.fail(error)
        be_done_with(response)
        raise
    known = min(len(passed), len(tail))
    if known and passed[-known:] != tail[-known:]:
        return "its bytes are not those that came before"
    return None


def be_done_with(response: Any) -> None:
    """Close urllib3's response, and give its place in the pool back."""
    response.close()
    response.release_conn()
