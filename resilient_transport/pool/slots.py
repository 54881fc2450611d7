"""The slots of a pool that is bounded: who has one may use a connection.

In the place of `queue.LifoQueue`, whose lock a finaliser or a signal handler may meet in its own thread: a
response that is forgotten gives its slot back from a finaliser. Each step here is one operation of a deque.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from contextlib import suppress
from math import inf
from typing import Any, Final

from ..util.clock import monotonic

#: Seconds between two looks of who waits. Without the GIL an object that another thread forgets may live
#: until the thread that made it runs Python again; and that may be the one that waits.
LOOK_EVERY: Final = 1.0


class Slots:
    """What urllib3's pools need of a `queue.LifoQueue`.

    Args:
        maxsize: how many items it holds at the most; 0: any number.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        #: What lies in the slots that are free, the last on top: connections, or None.
        self.queue: deque[Any] = deque()
        #: One bell for each that waits, the first in front: locks, which are released when a slot is free.
        self._bells: deque[Any] = deque()

    def qsize(self) -> int:
        """How many slots are free."""
        return len(self.queue)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Free a slot. It never waits.

        Raises:
            queue.Full: all are free.
        """
        if 0 < self.maxsize <= len(self.queue):
            raise queue.Full
        self.queue.append(item)
        if self._bells:
            self._ring()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the slot on top.

        Args:
            block: whether to wait for one.
            timeout: seconds to wait at the most; None: for ever.

        Raises:
            queue.Empty: none was free in time.
        """
        with suppress(IndexError):
            return self.queue.pop()
        if not block:
            raise queue.Empty
        ends = None if timeout is None else monotonic() + timeout
        while self._wait(ends):
            with suppress(IndexError):
                return self.queue.pop()
        raise queue.Empty

    def _wait(self, ends: float | None) -> bool:
        """Wait until a slot is free; whether one may be. It keeps its place in front of who came later."""
        bell = threading.Lock()
        bell.acquire()
        try:
            self._bells.append(bell)
            # One that became free before the bell was there rings nobody.
            while not self.queue:
                left = inf if ends is None else max(0.0, ends - monotonic())
                if bell.acquire(timeout=min(left, LOOK_EVERY)):
                    break
                if not left:
                    return False
            return True
        finally:
            try:
                self._bells.remove(bell)
            except ValueError:
                # It was rung. Whoever does not take the slot lets the next one know.
                if self.queue:
                    self._ring()

    def _ring(self) -> None:
        with suppress(IndexError):
            self._bells.popleft().release()
