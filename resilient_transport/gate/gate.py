"""Who may connect, who gets an idle connection, and who waits.

Knows nothing of sockets, TLS or urllib3: what it keeps and hands out are opaque items, and so are the
failures that it tells.  It decides under its lock and does nothing else there; what has to be closed is
handed back.

A caller that needs an item gets, whichever comes first (as in Go's `net/http` transport, queueForDial):

1. an idle item that suits it,
2. a permit to make one, when fewer are being made than the window allows and it is worth it (`window.py`),
3. a place in the queue, and later one of the two. After a mean handshake of waiting, any free permit will do.

While the pool is cold, one failure is everybody's: those who wait are told, and the next permit is held back
for one pause that all share, so that N callers cost a dead server no more connects than one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Generic

from .permit import Permit
from .waiter import LOOK_EVERY, STALLED, Charges, News, Suits, T, Told, Waiter, sharing
from .window import MAXIMUM, Window


class Gate(Generic[T]):
    """The idle items of one pool, the window, and the queue.

    Args:
        capacity: how many idle items are kept; more are handed back to be closed.
        maximum: how many may be made at once.
        pace: the pause before a cold pool connects again, in seconds, after so many failures.
        clock: the monotonic clock, in seconds.
    """

    def __init__(
        self,
        capacity: int = 10,
        maximum: int = MAXIMUM,
        pace: Callable[[int], float] = lambda _: 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._idle: list[T] = []
        self._queue: deque[Waiter[T]] = deque()
        #: The number of permits that were given, which is the serial number of the last.
        self.given = 0
        #: When each was given whose item is not made yet, by serial number.
        self._making: dict[int, float] = {}
        #: The serial numbers of permits whose items are open.
        self.open: set[int] = set()
        #: Serial numbers of permits that have ended; appended to without the lock.
        self._ended: deque[int] = deque()
        self._pace = pace
        self._clock = clock
        #: What a cold pool tells those who come.
        self._news = News()
        #: Before this moment a cold pool gives no permit.
        self._resume_at = -float("inf")
        self.capacity = capacity
        self.window = Window(maximum)

    def enter(
        self,
        suits: Suits[T],
        charges: Charges | None = None,
        eager: bool = False,
        began: float | None = None,
    ) -> T | Permit | Told | Waiter[T]:
        """Ask for an item, and get what the three cases above say.

        Args:
            suits: whether an idle item will do.
            charges: of a call that shares the failures of a cold pool; None: it is not told of them.
            eager: take any free permit at once.
            began: when the caller began, on the gate's clock; None: it is not told what was refused before.
        """
        with self._lock:
            for place in range(len(self._idle) - 1, -1, -1):
                if suits(self._idle[place]):
                    return self._idle.pop(place)
            charges = sharing(charges)
            told = None if self.window.proven else self._news.of(self, charges, began)
            if told is not None:
                return told
            now = self._clock()
            self._admit(now)
            waiter = Waiter(suits, charges, eager, now)
            alone = not self._queue and self._news.is_for_nobody_but(charges)
            held = self._is_paused(now) and waiter.is_held() and not alone
            if not held and self._has_room(now) and (eager or self._is_worth(len(self._queue) + 1)):
                return self._permit(now)
            self._queue.append(waiter)
            return waiter

    def leave(self, waiter: Waiter[T]) -> T | Permit | Told | None:
        """Stop waiting; what was granted in the same moment comes back, and is the caller's to use."""
        with self._lock:
            if waiter in self._queue:
                self._queue.remove(waiter)
            return waiter.granted

    def look(self, waiter: Waiter[T], urgent: bool = False) -> None:
        """Let in who may by now, this waiter at last on any permit; an urgent one whatever the window."""
        with self._lock:
            now = self._clock()
            if waiter.is_held() and waiter.since < self._resume_at <= now:
                waiter.since = now
            handshake = self.window.handshake
            waiter.eager = waiter.eager or (handshake is not None and now - waiter.since >= handshake)
            self._admit(now)
            if urgent and waiter in self._queue and len(self._making) < self.window.maximum:
                self._grant(waiter, now)

    def nap(self, waiter: Waiter[T]) -> float:
        """Seconds until this waiter should look again, if nothing is granted before."""
        now = self._clock()
        ends = [LOOK_EVERY]
        if waiter.since < self._resume_at and waiter.is_held():
            ends.append(max(0.0, self._resume_at - now))
        if not waiter.eager and self.window.handshake is not None:
            ends.append(max(0.0, waiter.since + self.window.handshake - now))
        return min(ends)

    def pause(self) -> float:
        """Seconds that a cold pool still holds back those that it paces."""
        now = self._clock()
        return self._resume_at - now if self._is_paused(now) else 0.0

    def offer(self, item: T, held: float | None = None) -> T | None:
        """Give an item that was held for so many seconds: to whom it suits, else to the idle, else back."""
        with self._lock:
            if held is not None:
                self.window.held(held)
            waiter = next((one for one in self._queue if one.suits(item)), None) if self._queue else None
            if waiter is not None:
                self._queue.remove(waiter)
                waiter.grant(item)
            elif len(self._idle) < self.capacity:
                self._idle.append(item)
            else:
                return item
            if self._queue:
                # It may be worth more now to those that wait on.
                self._admit(self._clock())
        return None

    def take(self, doomed: Suits[T]) -> list[T]:
        """Take out the idle items that a predicate names, oldest first."""
        with self._lock:
            taken = [item for item in self._idle if doomed(item)]
            self._idle = [item for item in self._idle if item not in taken] if taken else self._idle
        return taken

    def allow(self, maximum: int) -> None:
        """Make so many at once, at the most."""
        with self._lock:
            self.window.allow(maximum)

    def needs_proof(self) -> bool:
        """Whether the server has accepted none yet, or has reset the last one: then the next is confirmed."""
        return not self.window.proven or self.window.doubted

    def abandon(self) -> list[T]:
        """In a forked child: give up every idle item, without the lock, since its holder is gone."""
        return [self._idle.pop(0) for _ in list(self._idle)]

    def forget(self) -> None:
        """Let the next caller find out for itself what was refused before."""
        with self._lock:
            self._news.forget()

    def idle(self) -> int:
        """How many items are idle."""
        return len(self._idle)

    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._queue)

    def settle(self, serial: int, effect: Callable[[Window], None] | None, made: bool = False) -> None:
        """Called by a permit: it has come to an end, or to an item."""
        with self._lock:
            now = self._clock()
            first = self.window.handshake is None
            made = made and (serial in self._making or serial in self.open)
            self._making.pop(serial, None)
            if made:
                self.open.add(serial)
            if effect is not None:
                effect(self.window)
            if self.window.proven:
                self._news.forget()
            self._admit(now)
            for waiter in self._queue if first and self.window.handshake is not None else ():
                waiter.stir(now)

    def fail(self, serial: int, failure: Any, reset: bool, fatal: bool, charges: Charges | None) -> bool:
        """Called by a permit: its item could not be made; whether the pool pauses in the caller's place."""
        charges = sharing(charges)
        shared = not fatal and not self.window.proven
        paced = shared and charges is not None and charges.paced()
        pause = self._pace(charges.times + 1) if paced and charges is not None else 0.0
        with self._lock:
            now = self._clock()
            if reset:
                self.window.failed()
            if shared:
                self._news.failed(failure, self, charges, now)
            self._tell(failure, fatal)
            if paced:
                self._resume_at = now + pause
            self._making.pop(serial, None)
            self._admit(now)
        return paced

    def refuse(self, failure: Any) -> None:
        """The server has refused an item that was made: while the pool is cold, this ends all waiting."""
        with self._lock:
            self._tell(failure, fatal=True)

    def end(self, serial: int) -> None:
        """Called by a permit that has ended, perhaps in a forked child: does not wait for the lock."""
        self.lose(serial)
        if self._lock.acquire(blocking=False):
            try:
                self._admit(self._clock())
            finally:
                self._lock.release()

    def lose(self, serial: int) -> None:
        """Called by a permit's finaliser, which may run while its own thread holds the lock."""
        self._ended.append(serial)

    def _tell(self, failure: Any, fatal: bool) -> None:
        """Under the lock: give those who wait at a cold pool a failure of their own."""
        if self.window.proven:
            return
        if fatal:
            self._news.refused(failure, self._clock())
        for waiter in [waiter for waiter in self._queue if fatal or waiter.charges is not None]:
            self._queue.remove(waiter)
            if not fatal and waiter.charges is not None:
                self._news.charge(waiter.charges)
            waiter.grant(Told(failure))

    def _admit(self, now: float) -> None:
        """Under the lock: count permits that have ended, and let in who may."""
        while self._ended:
            serial = self._ended.popleft()
            self._making.pop(serial, None)
            self.open.discard(serial)
        while self._queue and self._has_room(now):
            waiter = self._next(now)
            if waiter is None:
                break
            self._grant(waiter, now)

    def _next(self, now: float) -> Waiter[T] | None:
        """Under the lock: who gets a free permit: the first that takes any, else the one it serves best."""
        queue: Sequence[Waiter[T]] = self._queue
        if self._is_paused(now):
            queue = [waiter for waiter in queue if not waiter.is_held()]
        eager = next((waiter for waiter in queue if waiter.eager), None)
        if eager is not None or not queue or not self._is_worth(len(self._queue)):
            return eager
        # With items in use, those in front are served by them sooner than by a new one.
        return queue[-1] if self.open else queue[0]

    def _is_worth(self, ahead: int) -> bool:
        return self.window.is_worth(ahead, len(self.open))

    def _is_paused(self, now: float) -> bool:
        return now < self._resume_at and not self.window.proven

    def _has_room(self, now: float) -> bool:
        stalled = sum(now - since > STALLED for since in self._making.values())
        return self.window.has_room(len(self._making), stalled)

    def _grant(self, waiter: Waiter[T], now: float) -> None:
        self._queue.remove(waiter)
        waiter.grant(self._permit(now))

    def _permit(self, now: float) -> Permit:
        alone = not self._making
        self.given += 1
        self._making[self.given] = now
        return Permit(self, self.given, alone)

    def __repr__(self) -> str:
        making = f"{len(self._making)} being made of {self.window.size} allowed"
        return f"<Gate {len(self._idle)} idle of {len(self.open)} open, {making}, {len(self._queue)} waiting>"
