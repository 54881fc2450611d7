"""The sockets of this process, so that a forked child is cut off from those that it has inherited.

Parent and child share an inherited connection. What one of them reads the other never sees: a body would lack
a piece in its middle, and have the right length once its end was asked for again. What both write the server
takes for one stream. And as long as the child holds it, the parent cannot close it.

So in the child each of these descriptors leads nowhere: what is read or written there meets an error, whoever
does it. Other threads' connections are gone with their threads, and a response that is open at the fork is
the parent's. The child goes on with its body as with any that breaks.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from ..util.fork import Turn, in_child

_open: WeakKeyDictionary[Any, None] = WeakKeyDictionary()


def note(sock: Any) -> None:
    """Remember a socket for as long as it lives; not one of a kind that cannot be referred to weakly."""
    with suppress(TypeError):
        _open[sock] = None


def _descriptors() -> list[int]:
    """Those of all sockets that are open."""
    found = set()
    for known in _open.keyrefs():
        sock: Any = known()
        # It may be gone, and one that stands in for a socket in a test may not know its descriptor.
        with suppress(AttributeError, OSError, TypeError):
            found.add(sock.fileno())
    return [number for number in found if isinstance(number, int) and number >= 0]


def _nowhere() -> int:
    """A new descriptor, open for writing only."""
    try:
        return os.open(os.devnull, os.O_WRONLY)
    except OSError:
        # A jail may have none. Nobody reads from this pipe.
        reader, writer = os.pipe()
        os.close(reader)
        return writer


@in_child(Turn.CONNECTIONS)
def cut_off() -> None:
    """In a forked child: let every inherited descriptor lead nowhere. The parent's stay as they are.

    Each operation of a socket fails at what is none, and so does each read of OpenSSL at what is open for
    writing only. At a socket that is not connected OpenSSL would try again for ever, and at one whose other
    end is closed a body without a length would seem whole.
    """
    global _open
    inherited = _descriptors()
    # Never a second time, in a child of this child: a daemon closes all descriptors without asking whose they
    # are, and then their numbers are those of its files.
    _open = WeakKeyDictionary()
    if not inherited:
        return
    # The table of descriptors may be full. One that was closed behind its socket's back leaves the others.
    with suppress(OSError):
        os.close(inherited[0])
    nowhere = _nowhere()
    for number in inherited:
        if number != nowhere:
            os.dup2(nowhere, number, inheritable=False)
    if nowhere not in inherited:
        os.close(nowhere)
