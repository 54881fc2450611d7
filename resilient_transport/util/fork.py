"""What a forked child makes anew, in one list and in one order.

Of all threads only the one that forked goes on in the child. A lock that another thread held stays held for
ever there, and what another thread was about to finish is never finished. Every module that has such state
says here how it is made anew; nobody else asks the operating system to be told of forks.

What cannot be made anew, a fork waits for (`Undivided`). OpenSSL has locks for the whole process, which it
takes while other threads run Python, and it knows nothing of forks. A child whose parent held one of them in
another thread waits for it for ever, as soon as it builds a TLS context. (Measured, OpenSSL 3.0, beside four
threads: 1 child in 200 beside threads that build contexts, 1 in 900 beside handshakes.)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from threading import get_ident
from time import sleep
from typing import Final
from weakref import WeakKeyDictionary

from .clock import monotonic

#: Seconds between two looks of who waits.
_NAP: Final = 0.0005
#: Seconds that a block waits for forks of other threads, at the most.
_PATIENCE: Final = 2.0


class Turn(IntEnum):
    """When something is made anew, besides what has the same turn."""

    #: Locks come first, so that all that follows may take them.
    LOCKS = 0
    #: Then what is remembered.
    MEMORY = 1
    #: Then what was inherited is closed, which may run anybody's finalisers.
    CONNECTIONS = 2


Renewal = Callable[[], object]

_preparations: Final[list[Renewal]] = []
_resumptions: Final[list[Renewal]] = []
_renewals: Final[list[tuple[Turn, str, Renewal]]] = []
_beginnings: Final[list[Renewal]] = []
#: What forks children that work on something else: multiprocessing, and Celery's twin of it. Each has
#: `register_after_fork`, and calls what was registered before such a child begins to work.
_FORKING_FOR_WORK: Final = ("multiprocessing.util", "billiard.util")
#: Those of them with which this process, or one that it was forked by, has registered.
_followed: Final[set[str]] = set()


def before_fork(preparation: Renewal) -> Renewal:
    """Register a function that is called before a fork. It waits for no lock."""
    _preparations.append(preparation)
    return preparation


def in_parent(resumption: Renewal) -> Renewal:
    """Register a function that is called after a fork, in the parent."""
    _resumptions.append(resumption)
    return resumption


def in_child(turn: Turn) -> Callable[[Renewal], Renewal]:
    """Register a function that makes state anew in a forked child. It takes no lock that it has not renewed.

    Args:
        turn: when it is called. Of one turn, that of the module whose name sorts first comes first.
    """

    def register(renewal: Renewal) -> Renewal:
        _renewals.append((turn, renewal.__module__, renewal))
        _renewals.sort(key=lambda registered: registered[:2])
        return renewal

    return register


def in_worker(renewal: Renewal) -> Renewal:
    """Register a function that is called where a forked child begins to work on something else.

    A program that forks by itself goes on where it was. A child of multiprocessing's never comes back to
    there, and nothing that was to end there would ever end.
    """
    _beginnings.append(renewal)
    return renewal


class Undivided:
    """A block that the forks of other threads wait for; and while they fork, it waits to begin.

    There is no lock: a thread that dies in a block, or is interrupted anywhere, holds up no fork.

    Args:
        seconds: a fork waits until so long after the beginning of the block, at the most.
    """

    __slots__ = ("__weakref__", "_seconds", "thread", "until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.thread = get_ident()
        #: When a fork waits for it no longer, on the monotonic clock.
        self.until = 0.0

    def __enter__(self) -> Undivided:
        late = monotonic() + _PATIENCE
        while True:
            while self._is_held_up(late):
                sleep(_NAP)
            self.until = monotonic() + self._seconds
            _undivided[self] = None
            # Each of both says what it is about to do before it looks at the other.
            if not self._is_held_up(late):
                return self
            _undivided.pop(self, None)

    def __exit__(self, *raised: object) -> None:
        _undivided.pop(self, None)

    def _is_held_up(self, late: float) -> bool:
        """Whether another thread forks. A signal handler may be in the middle of its own thread's fork."""
        if not _forking:
            return False
        now = monotonic()
        return now < late and any(thread != self.thread and now < end for thread, end in list(_forking))


#: The blocks that threads are in; weakly, so that one which is lost is forgotten.
_undivided: WeakKeyDictionary[Undivided, None] = WeakKeyDictionary()
#: The threads that fork, and until when blocks wait for each, on the monotonic clock. An interrupt may strike
#: after the fork, before a thread is taken out.
_forking: Final[list[tuple[int, float]]] = []


def _is_in_between(thread: int) -> bool:
    """Whether a thread other than this one is in a block that a fork waits for."""
    now = monotonic()
    blocks = [block for found in _undivided.keyrefs() if (block := found()) is not None]
    return any(block.thread != thread and block.until > now for block in blocks)


def _prepare() -> None:
    """Before a fork: what takes long first, and then no block begins any more."""
    try:
        for preparation in _preparations:
            preparation()
    finally:
        # An interrupt in the middle of the above does not stop the fork.
        thread = get_ident()
        _forking.append((thread, monotonic() + _PATIENCE))
        while _is_in_between(thread):
            sleep(_NAP)


def _go_on() -> None:
    """After a fork, in the parent."""
    thread, now = get_ident(), monotonic()
    mine = [entry for entry in _forking.copy() if entry[0] == thread][-1:]
    for entry in (*mine, *(entry for entry in _forking.copy() if entry[1] < now)):
        with suppress(ValueError):
            _forking.remove(entry)
    for resumption in _resumptions:
        resumption()


def _begin_to_work(_: object) -> None:
    for beginning in _beginnings:
        beginning()


def _begin_anew() -> None:
    """In the child: call them all. What one raises keeps none of the others from its turn."""
    global _undivided
    _forking.clear()
    _undivided = WeakKeyDictionary()
    for name in _FORKING_FOR_WORK:
        # Whoever forks has imported it; nobody has to. The children of this child inherit it.
        if name not in _followed and (util := sys.modules.get(name)) is not None:
            _followed.add(name)
            util.register_after_fork(_begin_to_work, _begin_to_work)
    failed: list[Exception] = []
    for _, _, renewal in list(_renewals):
        try:
            renewal()
        except Exception as error:
            failed.append(error)
    if failed:
        # Python writes it to standard error, and the child goes on.
        raise failed[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_prepare,
        after_in_parent=_go_on,
        after_in_child=_begin_anew,
    )
