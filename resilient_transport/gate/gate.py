"""Who may connect, who gets an idle connection, and who waits.

Knows nothing of sockets, TLS or urllib3: what it keeps and hands out are opaque items, and so are the
failures that those who wait share. It decides under its lock and does nothing else there; what has to be
closed is handed back.

A caller that needs an item gets, whichever comes first (as in Go's `net/http` transport, queueForDial):

1. an idle item that suits it,
2. a permit to make one, when fewer are being made than the window allows (`window.py`),
3. a place in the queue, and later one of the two.

While the server has accepted nothing yet the pool is cold, and its callers share a cold start
(`cold_start.py`): a failure of the one that connects is also the failure of those that wait, so that N
callers cost a dead server no more connects than one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from threading import get_ident
from typing import Any, Final, Generic
from weakref import WeakKeyDictionary, WeakSet

from ..util.clock import monotonic
from ..util.inbox import Inbox
from .caller import Caller
from .cold_start import ColdStart
from .permit import Permit
from .waiter import Suits, T, Waiter
from .window import MAXIMUM, Window, ahead_of

#: A handshake that takes longer holds nobody else up, in seconds: TCP's first retransmission time-out
#: (RFC 6298 section 2.1).
STALLED: Final = 1.0
#: Permits are given sparingly for so many seconds at the most, however far the server is.
MOST_THRIFT: Final = 0.2
#: Seconds between two looks of those who wait at what nobody has announced: permits that were lost.
LOOK_EVERY: Final = 1.0


class Gate(Generic[T]):
    """The idle items of one pool, the window, and the queue.

    Args:
        capacity: how many idle items are kept; more are handed back to be closed.
        maximum: how many may be made at once.
        pace: the pause before a cold pool connects again, in seconds, after so many failures, and by whether
            the last one was a reset.
        thrift: for so many seconds after the server's first proof some of those who wait are left to the
            connections that are there.
        clock: the monotonic clock, in seconds.
    """

    def __init__(
        self,
        capacity: int = 10,
        maximum: int = MAXIMUM,
        pace: Callable[[int, bool], float] = lambda failures, reset: 0.0,
        thrift: float = 0.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        #: The lock, which guards all that follows and the pool around the gate.
        self.inbox = Inbox()
        self._idle: list[T] = []
        self._queue: deque[Waiter[T]] = deque()
        #: Permits whose items are being made, and since when. Held weakly, so that one which its caller has
        #: lost is counted no longer.
        self._making: WeakKeyDictionary[Permit, float] = WeakKeyDictionary()
        #: Permits whose items are open.
        self._open: WeakSet[Permit] = WeakSet()
        self._pace = pace
        self._thrift = thrift
        self._clock = clock
        self.cold_start = ColdStart()
        #: Until then permits are given sparingly. Set at the first proof.
        self._thrifty_until: float | None = None
        self.capacity = capacity
        self.window = Window(maximum)

    def take(self, suits: Suits[T]) -> T | None:
        """The newest idle item that suits; None: there is none."""
        if not self._idle or self.inbox.is_mine():
            return None
        with self.inbox.lock:
            if self.inbox.work:
                self.inbox.empty()
            return self._take(suits)

    def enter(self, waiter: Waiter[T]) -> T | Permit | Any | None:
        """Ask for what the three cases above say; None: the waiter is in the queue."""
        if self.inbox.is_mine():
            # A signal handler's call, in the middle of this thread's own bookkeeping: it goes its own way.
            waiter.grant(Permit(None))
            return waiter.granted
        with self.inbox.lock:
            self.inbox.empty()
            now = self._clock()
            waiter.granted = self._take(waiter.suits)
            if waiter.granted is None:
                waiter.granted = self._share(waiter, now)
            if waiter.granted is None:
                self._queue.append(waiter)
                self._admit(now)
        return waiter.granted

    def leave(self, waiter: Waiter[T]) -> T | Permit | Any | None:
        """Stop waiting; what was granted in the same moment comes back, and is the caller's to use."""
        self.inbox.do(self._leave, waiter)
        return waiter.granted

    def look(self, waiter: Waiter[T], urgent: bool = False) -> None:
        """Let in those who wait and may connect by now; this waiter, if it is urgent, in any case."""
        if self.inbox.is_mine():
            return
        with self.inbox.lock:
            self.inbox.empty()
            now = self._clock()
            self._admit(now)
            if urgent and waiter in self._waiting():
                self._grant(waiter, now)

    def nap(self, waiter: Waiter[T]) -> tuple[float, bool]:
        """Seconds until this waiter should look again, and whether that is because of a pause."""
        if self.inbox.is_mine():
            return LOOK_EVERY, False
        with self.inbox.lock:
            now = self._clock()
            pause = self._pause_for(waiter, now)
            ends = self._ends(now)
        if pause:
            return min(LOOK_EVERY, pause), True
        return min([LOOK_EVERY, *ends, self._thrift_left(now) or LOOK_EVERY]), False

    def offer(self, item: T) -> T | None:
        """Give an item to the first waiter that it suits, else to the idle, else back."""
        if self.inbox.is_mine():
            # Nobody will be there to take it back: it is kept beyond the capacity, until it is too old.
            self.inbox.leave(self._offer, item, inf)
            return None
        with self.inbox.lock:
            self.inbox.empty()
            return self._offer(item, self.capacity)

    def take_out(self, doomed: Suits[T]) -> list[T]:
        """Take out the idle items that a predicate names, oldest first; for a signal handler, none."""
        if self.inbox.is_mine():
            return []
        with self.inbox.lock:
            self.inbox.empty()
            return self._take_out(doomed)

    def give_up_idle(self) -> list[T]:
        """Take out all idle items, unless somebody holds the lock: waits for nobody."""
        taken: list[T] = []
        self.inbox.try_to_do(lambda: taken.extend(self.abandon()))
        return taken

    def allow(self, maximum: int, capacity: int) -> None:
        """Under the lock: make so many at once, and keep so many idle, at the most."""
        self.window.allow(maximum)
        self.capacity = capacity

    def needs_proof(self) -> bool:
        """Whether the server has accepted none yet, or has reset the last one: then the next is confirmed."""
        return not self.window.proven or self.window.doubted

    def abandon(self) -> list[T]:
        """Give up every idle item, under the lock."""
        return [self._idle.pop(0) for _ in list(self._idle)]

    def forget(self) -> None:
        """Let the next caller find out for itself what was refused before."""
        self.inbox.do(self._forget)

    def idle(self) -> list[T]:
        """The items that are idle, oldest first."""
        return list(self._idle)

    def open(self) -> int:
        """How many items are open, idle ones included."""
        return len(self._open)

    def making(self) -> int:
        """How many items are being made."""
        return len(self._permits())

    def waiting(self) -> int:
        """How many callers wait."""
        return len(self._queue)

    def made(self, permit: Permit, proof: bool) -> None:
        """Called by a permit: its item was made."""
        self.inbox.do(self._made, permit, proof)

    def shook_hands(self, permit: Permit, patience: float, is_far: bool) -> None:
        """Called by a permit: its item is made but for the server's proof."""
        self.inbox.do(self._shook_hands, permit, patience, is_far)

    def failed(self, permit: Permit, failure: Any, reset: bool, fatal: bool, caller: Caller | None) -> bool:
        """Called by a permit: its item could not be made; whether the pool pauses in the caller's place."""
        if self.inbox.is_mine():
            self.inbox.leave(self._unused, permit)
            return False
        with self.inbox.lock:
            self.inbox.empty()
            now = self._clock()
            since = self._making.pop(permit, now)
            if reset:
                self.window.failed()
            paced = not self.window.proven and self._end_round(failure, reset, fatal, caller, since, now)
            self._admit(now)
        return paced

    def unused(self, permit: Permit) -> None:
        """Called by a permit: nothing was made, for a reason of the caller's own."""
        self.inbox.do(self._unused, permit)

    def proved(self) -> None:
        """Called by a permit: the server has accepted an item that was made."""
        self.inbox.do(self._proved)

    def doubted(self) -> None:
        """Called by a permit: the server has reset an item that had carried nothing."""
        self.inbox.do(self.window.failed)

    def refused(self, failure: Any) -> None:
        """Called by a permit: the server has refused an item that was made. That ends all waiting."""
        self.inbox.do(self._refused, failure, get_ident())

    def closed(self, permit: Permit) -> None:
        """Called by a permit: its item is closed. Waits for nobody: a finaliser may close."""
        self._open.discard(permit)
        if permit in self._making:
            # It was closed while it was being made, or an interrupt struck when it was settled.
            self.inbox.leave(self._closed, permit)
            self.inbox.try_to_empty()

    def is_alone(self, permit: Permit) -> bool:
        """Whether a permit is the only one whose item is being made."""
        if self.inbox.is_mine():
            return False
        with self.inbox.lock:
            return self._permits() == [permit]

    def _take(self, suits: Suits[T]) -> T | None:
        for place in range(len(self._idle) - 1, -1, -1):
            if suits(self._idle[place]):
                return self._idle.pop(place)
        return None

    def _take_out(self, doomed: Suits[T]) -> list[T]:
        taken = [item for item in self._idle if doomed(item)]
        self._idle[:] = [item for item in self._idle if item not in taken]
        return taken

    def _offer(self, item: T, capacity: float) -> T | None:
        waiter = next((one for one in self._waiting() if one.suits(item)), None)
        if waiter is not None:
            self._serve(waiter, item)
        elif len(self._idle) < capacity:
            self._idle.append(item)
        else:
            return item
        return None

    def _waiting(self) -> Iterator[Waiter[T]]:
        """Those who have got nothing yet, in the order in which they came."""
        return (waiter for waiter in self._queue if waiter.granted is None)

    def _serve(self, waiter: Waiter[T], what: T | Permit | Any) -> None:
        """Grant, then take out of the queue: an interrupt in between loses neither waiter nor item."""
        waiter.grant(what)
        self._queue.remove(waiter)

    def _leave(self, waiter: Waiter[T]) -> None:
        if waiter in self._queue:
            self._queue.remove(waiter)

    def _share(self, waiter: Waiter[T], now: float) -> Any:
        """The failure that a caller of a cold pool shares as it comes; None: there is none."""
        if self.window.proven:
            return None
        caller, began = waiter.caller, now if waiter.began is None else waiter.began
        if (refusal := self.cold_start.refusal_for(began, get_ident())) is not None:
            return refusal
        if caller is None or not caller.shares():
            return None
        waiter.is_paced = True
        if caller.gate is not self:
            others = bool(self._queue or self._making)
            joined = self.cold_start.round_for(began, now, others)
            caller.gate, caller.joined, caller.round = self, joined, joined
            # The pause is for those who wait it out; where nobody does, it is over.
            waiter.is_paced = others
        return self._charge(caller)

    def _charge(self, caller: Caller) -> Any:
        """The failure of the next round that a caller is to be charged with; None: there is none."""
        cold_start = self.cold_start
        if caller.round >= cold_start.round or cold_start.last_failure is None or cold_start.is_fatal:
            caller.round = cold_start.round
            return None
        caller.round += 1
        return cold_start.last_failure

    def _shook_hands(self, permit: Permit, patience: float, is_far: bool) -> None:
        now = self._clock()
        permit.is_on_trial = True
        permit.holds_until = min(permit.holds_until, now + patience)
        if is_far:
            permit.ahead = ahead_of(len(self._queue))
            # So far away the first answers take longer: a handshake, and a request as long.
            self._thrift = max(self._thrift, min(2 * patience, MOST_THRIFT))
        self._admit(now)

    def _made(self, permit: Permit, proof: bool) -> None:
        if self._making.pop(permit, None) is not None:
            self._open.add(permit)
        self.window.succeeded(proof)
        self._settle()

    def _proved(self) -> None:
        self.window.proved()
        self._settle()

    def _unused(self, permit: Permit) -> None:
        self._making.pop(permit, None)
        self._settle()

    def _closed(self, permit: Permit) -> None:
        self._open.discard(permit)
        self._unused(permit)

    def _settle(self) -> None:
        now = self._clock()
        if self.window.proven:
            if self._thrifty_until is None:
                self._thrifty_until = now + self._thrift
            self.cold_start = ColdStart()
        self._admit(now)

    def _forget(self) -> None:
        self.cold_start = self.cold_start.forgotten()

    def _end_round(
        self, failure: Any, reset: bool, fatal: bool, caller: Caller | None, since: float, now: float
    ) -> bool:
        """What a failure means to those who wait. There are three cases.

        One that lasts is everybody's at once. One of a caller that takes part in the cold start ends the
        round, unless another has ended it meanwhile. Any other is its caller's own: it charges nobody.
        """
        if fatal:
            self._refused(failure, get_ident())
            return False
        if caller is None or not caller.shares():
            return False
        if caller.gate is not self:
            caller.gate, caller.joined = self, self.cold_start.round
        if not self.cold_start.has_ended_since(since):
            pause = self._pace(self.cold_start.round - caller.joined + 1, reset)
            self.cold_start = self.cold_start.ended(failure, now, pause)
            self._tell([waiter for waiter in self._waiting() if waiter.is_paced], failure)
        caller.round = self.cold_start.round
        return True

    def _refused(self, failure: Any, thread: int) -> None:
        if not self.window.proven:
            self.cold_start = self.cold_start.refused(failure, self._clock(), thread)
            self._tell(list(self._waiting()), failure)

    def _tell(self, waiters: list[Waiter[T]], failure: Any) -> None:
        """Give a failure, if there is one to tell, to those who share it; a paced one is charged."""
        for waiter in waiters if failure is not None else ():
            if waiter.is_paced and waiter.caller is not None:
                waiter.caller.round = self.cold_start.round
            self._serve(waiter, failure)

    def _admit(self, now: float) -> None:
        """While there is room, let in the first in the queue that no pause holds back."""
        while self._queue and self._queue[0].granted is not None:
            # An interrupt struck when it was served.
            self._queue.popleft()
        while self._queue and self._has_room(now) and self._is_worth_one(now):
            waiter = next((one for one in self._waiting() if not self._pause_for(one, now)), None)
            if waiter is None:
                break
            self._grant(waiter, now)
            # If its thread has died, the permit goes with it, and the next one is let in.
            del waiter

    def _pause_for(self, waiter: Waiter[T], now: float) -> float:
        """Seconds for which a pause holds a waiter back."""
        return self.cold_start.left(now) if waiter.is_paced else 0.0

    def _has_room(self, now: float) -> bool:
        # Where the server is known to accept, what waits for its own proof is no handshake any more.
        permits = [one for one in self._permits() if not (one.is_on_trial and self.window.proven)]
        stalled = sum(permit.holds_until <= now for permit in permits)
        return self.window.has_room(len(permits), stalled, max((one.ahead for one in permits), default=0))

    def _is_worth_one(self, now: float) -> bool:
        """Whether one more connection serves those who wait sooner than the open ones: a guess.

        A short call takes a round trip; TCP and TLS take at least two.
        """
        return not self._thrift_left(now) or len(self._queue) >= 2 * len(self._open)

    def _thrift_left(self, now: float) -> float:
        """Seconds for which permits are still given sparingly; 0, too, when the clock is another one."""
        left = 0.0 if self._thrifty_until is None else self._thrifty_until - now
        return left if 0 < left <= self._thrift else 0.0

    def _ends(self, now: float) -> list[float]:
        """In how many seconds those whose items are being made hold others up no longer."""
        return [permit.holds_until - now for permit in self._permits() if permit.holds_until > now]

    def _permits(self) -> list[Permit]:
        """Those whose items are being made.

        Not by way of the dictionary's iterators: an interrupt in one of them keeps it from forgetting keys.
        """
        return [permit for key in self._making.keyrefs() if (permit := key()) is not None]

    def _grant(self, waiter: Waiter[T], now: float) -> None:
        permit = Permit(self)
        permit.holds_until = now + STALLED
        self._making[permit] = now
        self._serve(waiter, permit)

    def __repr__(self) -> str:
        making = f"{self.making()} being made of {self.window.size} allowed"
        return (
            f"<Gate {len(self._idle)} idle of {len(self._open)} open, {making}, {len(self._queue)} waiting>"
        )
