"""A lock that its own thread may meet, and what is to be done under it.

A finaliser, `close()` and a signal handler run in the middle of anything, in a thread that may hold the lock
already. So they only leave work here; the next holder of the lock does it.

Nor may an interrupt leave the lock held. From Python 3.12 on, the jump at the end of a loop or comprehension
is not covered by the `with` around it in the same function. So a block that holds a lock calls functions, and
the loops are in these.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Inbox:
    """A lock and its inbox.

    Whoever takes the lock to change something empties the inbox first. Leans on `_is_owned` of
    `threading.RLock`, which `threading.Condition` leans on, too; pinned in `tests/util/test_inbox.py`.
    """

    __slots__ = ("is_mine", "lock", "work")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        #: Whether this thread holds the lock, so that it is in the middle of what the lock guards.
        self.is_mine: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]
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
