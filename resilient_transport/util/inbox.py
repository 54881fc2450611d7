"""The lock of all pools, which its own thread may meet, and what is to be done under it.

A finaliser, `close()` and a signal handler run in the middle of anything, in a thread that may hold the lock
already. So they only leave work here; the next holder of the lock does it.

There is one lock for all pools, gates, the registry and its contexts. With one for each, a handler in the
middle of one would wait for another, whose holder may wait for the first. It is never held for I/O.

Nor may an interrupt leave the lock held. From Python 3.12 on, the jump at the end of a loop or comprehension
is not covered by the `with` around it in the same function. So a block that holds a lock calls functions, and
the loops are in these.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

from .fork import Turn, in_child


class Inbox:
    """What the next holder of the lock has to do for one owner of an inbox.

    Whoever takes the lock to change something empties the inbox first. Leans on `_is_owned` of
    `threading.RLock`, which `threading.Condition` leans on, too; pinned in `tests/util/test_inbox.py`.
    """

    __slots__ = ("work",)

    #: The one of all inboxes.
    lock: ClassVar[Any] = threading.RLock()
    #: Whether this thread holds the lock, so that it is in the middle of what the lock guards.
    is_mine: ClassVar[Any] = staticmethod(lock._is_owned)

    def __init__(self) -> None:
        #: What the next holder of the lock has to do.
        self.work: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()

    def leave(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Have something done by the next holder of the lock."""
        self.work.append((work, arguments))

    def do(self, work: Callable[..., Any], *arguments: Any) -> None:
        """Have something done now, or, in the middle of what the lock guards, by its next holder."""
        self.work.append((work, arguments))
        if not self.is_mine():
            with self.lock:
                self.empty()

    def try_to_do(self, work: Callable[..., Any], *arguments: Any) -> bool:
        """Do what was left, and then this, unless anybody holds the lock; whether it was done."""
        if self.is_mine():
            return False
        is_done = False
        try:
            # An interrupt may strike as soon as the lock is taken, so that it is released in any case.
            if self.lock.acquire(blocking=False):
                self.empty()
                work(*arguments)
                is_done = True
        finally:
            try:
                self.lock.release()
            except RuntimeError:
                # Another thread holds it.
                is_done = False
        return is_done

    def try_to_empty(self) -> bool:
        """Do what was left, unless anybody holds the lock; whether it was done."""
        return self.try_to_do(lambda: None)

    def empty(self) -> None:
        """Do, under the lock, what was left."""
        while self.work:
            work, arguments = self.work.popleft()
            work(*arguments)


@in_child(Turn.LOCKS)
def _renew() -> None:
    """In a forked child: the holder of the lock may be a thread that is gone."""
    Inbox.lock = threading.RLock()
    Inbox.is_mine = staticmethod(Inbox.lock._is_owned)
