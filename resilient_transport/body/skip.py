"""Responses of which nothing, or not the beginning, is wanted."""

from __future__ import annotations

from http.client import IncompleteRead
from typing import Any, Final

from ..connection.trace import Trace

#: How much is passed over at once, in bytes.
_PIECE: Final = 65536


def pass_over(trace: Trace, response: Any, count: int) -> bool:
    """Read so many bytes of a response's body that are there already; whether it has so many.

    Raises:
        OSError, http.client.HTTPException: it broke, or it took too long; it is closed then.
    """
    try:
        while count:
            data = response._fp.read1(min(count, _PIECE))
            if not data and response._fp.chunked:
                # It ends in order. Any other framing tells its length before, or ends with a cut.
                return False
            if not data:
                raise IncompleteRead(b"", count)
            count -= len(data)
    except BaseException as error:
        trace.fail(error)
        be_done_with(response)
        raise
    return True


def be_done_with(response: Any) -> None:
    """Close urllib3's response, and give its place in the pool back."""
    response.close()
    response.release_conn()
