"""A request's bytes in pieces, each of which has the time that may pass between two bytes.

`socket.sendall` counts its time-out for all it is given, so that a large body would have to arrive within it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

#: Bytes that are sent at once: so many have to get through within a time-out.
PIECE: Final = 65536


def pieces_of(data: Any) -> Iterator[Any] | tuple[bytes]:
    """What is sent, in pieces; what is short is one.

    Args:
        data: bytes, or what has their buffer.
    """
    if isinstance(data, bytes) and len(data) <= PIECE:
        return (data,)
    view = memoryview(data).cast("B")
    return (view[at : at + PIECE] for at in range(0, len(view), PIECE))
