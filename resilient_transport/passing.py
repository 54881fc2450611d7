"""Responses of which nothing, or not the beginning, is wanted."""

from __future__ import annotations

from http.client import IncompleteRead
from typing import Any, Final

from .wire.trail import Trail

#: How much is passed over at once, in bytes.
_PIECE: Final = 65536


def pass_over(trail: Trail, response: Any, count: int) -> None:
    """Read so many bytes of a response's body that are there already, with no wait beyond the deadline.

    Raises:
        OSError, http.client.HTTPException: it broke, or it took too long; it is closed then.
    """
    patience = trail.sock.gettimeout() if trail.sock is not None else None
    try:
        while count:
            _hurry(trail, patience)
            data = response._fp.read1(min(count, _PIECE))
            if not data:
                raise IncompleteRead(b"", count)
            count -= len(data)
    except BaseException as error:
        trail.fail(error)
        be_done_with(response)
        raise
    if trail.sock is not None:
        trail.sock.settimeout(patience)


def _hurry(trail: Trail, patience: float | None) -> None:
    deadline = trail.deadline
    if deadline is None or not deadline.is_limited() or trail.sock is None:
        return
    if deadline.is_over():
        raise TimeoutError("the deadline was over while what is there already came again")
    trail.sock.settimeout(deadline.for_socket(patience))


def be_done_with(response: Any) -> None:
    """Close urllib3's response, and give its place in the pool back."""
    response.close()
    response.release_conn()
