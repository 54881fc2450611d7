"""Who may connect, who gets an idle connection, and who waits.

Knows nothing of sockets, TLS or urllib3: what it keeps and hands out are opaque items.  It decides under
its lock and does nothing else there; what has to be closed is handed back to the caller.

A caller that needs an item gets, whichever comes first (as in Go's `net/http` transport, queueForDial):

1. an idle item that suits it,
2. a permit to make one, when fewer are being made than the window allows,
3. a place in the queue, and later one of the two.

The window is 1 until the first item was made (the pool is cold), then `maximum`.  Each reset while one is
being made halves it, never below 1, and each success adds one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")
Suits = Callable[[T], bool]

#: How many handshakes may run at once, at the most.
MAXIMUM: Final = 16


class Window:
    """How many items may be made at once: plain arithmetic, guarded by the gate's lock."""

    __slots__ = ("doubted", "maximum", "proven", "size")

    def __init__(self, maximum: int = MAXIMUM) -> None:
        self.maximum = maximum
        self.size = 1
        #: Whether one was ever made.
        self.proven = False
        #: Whether the last one was reset.
        self.doubted = False

    def succeeded(self) -> None:
        """One was made: the first opens the window, each further one adds one."""
        self.size = min(self.maximum, self.size + 1) if self.proven else self.maximum
        self.proven = True
        self.doubted = False

    def failed(self) -> None:
        """One was reset: halve the window."""
        self.size = max(1, self.size // 2)
        self.doubted = True


class Permit:
    """Leave to make one item.  It is settled exactly once; settling it again does nothing."""

    __slots__ = ("_gate", "_settled")

    def __init__(self, gate: Gate[T]) -> None:
        self._gate = gate
        self._settled = False

    def succeeded(self) -> None:
        """The item was made."""
        self._settle(Window.succeeded)

    def failed(self) -> None:
        """It was reset while it was being made."""
        self._settle(Window.failed)

    def unused(self) -> None:
        """It came to nothing for a reason that says nothing about the server."""
        self._settle(None)

    def _settle(self, effect: Callable[[Window], None] | None) -> None:
        if not self._settled:
            self._settled = True
            self._gate._settle(effect)

    def __del__(self) -> None:
        # Lost on its way, as by an exception from a signal handler. A finaliser takes no lock.
        if not self._settled:
            self._gate._orphans.append(None)


class Waiter(Generic[T]):
    """A place in the queue; `wait` returns what the gate granted, or None when time ran out."""

    __slots__ = ("_event", "granted", "suits")

    def __init__(self, suits: Suits[T]) -> None:
        self.suits = suits
        #: Set by the gate, once, under its lock; read by the waiter.
        self.granted: T | Permit | None = None
        self._event = threading.Event()

    def grant(self, what: T | Permit) -> None:
        """Called by the gate: here is what was waited for."""
        self.granted = what
        self._event.set()

    def wait(self, timeout: float | None) -> T | Permit | None:
        """Wait at most `timeout` seconds (None: for ever)."""
        self._event.wait(timeout)
        return self.granted


class Gate(Generic[T]):
    """The idle items of one pool, the window, and the queue.

    Args:
        capacity: how many idle items are kept; more are handed back to be closed.
        maximum: how many may be made at once.
    """

    def __init__(self, capacity: int = 10, maximum: int = MAXIMUM) -> None:
        self._lock = threading.Lock()
        self._idle: list[T] = []
        self._queue: deque[Waiter[T]] = deque()
        self._making = 0
        #: One entry for each permit that was lost; appended to without the lock.
        self._orphans: deque[None] = deque()
        self.capacity = capacity
        self.window = Window(maximum)

    def enter(self, suits: Suits[T]) -> T | Permit | Waiter[T]:
        """Ask for an item: see the three cases above."""
        with self._lock:
            if self._orphans:
                self._adopt()
            for place in range(len(self._idle) - 1, -1, -1):
                if suits(self._idle[place]):
                    return self._idle.pop(place)
            if self._making < self.window.size and not self._queue:
                self._making += 1
                return Permit(self)
            waiter = Waiter(suits)
            self._queue.append(waiter)
            return waiter

    def leave(self, waiter: Waiter[T]) -> T | Permit | None:
        """Stop waiting; what was granted in the same moment comes back, and is the caller's to use."""
        with self._lock:
            if waiter in self._queue:
                self._queue.remove(waiter)
            return waiter.granted

    def offer(self, item: T) -> T | None:
        """Give an item: to the first who waits for such a one, else to the idle; else it comes back."""
        with self._lock:
            for waiter in self._queue:
                if waiter.suits(item):
                    self._queue.remove(waiter)
                    waiter.grant(item)
                    return None
            if len(self._idle) < self.capacity:
                self._idle.append(item)
                return None
        return item

    def take(self, doomed: Suits[T]) -> list[T]:
        """Take out the idle items that a predicate names, oldest first."""
        with self._lock:
            taken = [item for item in self._idle if doomed(item)]
            if taken:
                self._idle = [item for item in self._idle if not doomed(item)]
        return taken

    def needs_proof(self) -> bool:
        """Whether nothing was made yet, or the last one was reset: then the next one is confirmed."""
        return not self.window.proven or self.window.doubted

    def abandon(self) -> list[T]:
        """In a forked child: give up every idle item, without the lock, since its holder is gone."""
        idle, self._idle = self._idle, []
        return idle

    def idle(self) -> int:
        """How many items are idle."""
        return len(self._idle)

    def sweep(self) -> None:
        """Hand on the permits that were lost; for who has waited long."""
        with self._lock:
            self._adopt()

    def _settle(self, effect: Callable[[Window], None] | None) -> None:
        with self._lock:
            self._making -= 1
            if effect is not None:
                effect(self.window)
            self._adopt()

    def _adopt(self) -> None:
        """Under the lock: count lost permits as settled, and let in who may."""
        while self._orphans:
            self._orphans.popleft()
            self._making -= 1
        while self._queue and self._making < self.window.size:
            self._making += 1
            self._queue.popleft().grant(Permit(self))

    def __repr__(self) -> str:
        return (
            f"<Gate {len(self._idle)} idle, {self._making} being made of {self.window.size} allowed, "
            f"{len(self._queue)} waiting>"
        )
