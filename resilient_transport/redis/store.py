"""A Redis as a process knows it: a few connections, one exchange at a time on each, all within a time.

It raises nothing into a call. What goes wrong, whatever it is, means that Redis is away: then it is not asked
for a while, but for one caller each time that a pause is over, so a dead Redis costs a process one time-out a
pause. No lock: connections lie in a queue, from which whoever wants one takes it.

Of redis-py it uses `Connection` alone. Its pool makes connections under a lock that a signal handler would
wait for, and its client repeats what fails: here the caller has better to do. Leans on `_sock` of a
connection, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import os
import queue
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from typing import Any, Final, NamedTuple

import redis

from ..call.origin_state import ORIGINS
from ..connection.open_sockets import note
from ..connection.resolver import error_within, in_thread
from ..events import Event, SharedLimitsFound, SharedLimitsLost
from ..retry.breaker import Breaker
from ..retry.budget import CAPACITY
from ..util.bounded_dict import BoundedDict
from ..util.clock import monotonic
from ..util.fork import Undivided
from .known_origin import KnownOrigin
from .presence import Presence
from .scripts import STEP, TAKE, Script

#: How many connections a process has to a Redis at the most. Who finds none waits, within its time.
CONNECTIONS: Final = 2
#: Seconds after which an idle connection is not used again: something on the way may have forgotten it.
IDLE: Final = 30.0
#: Seconds for which a fork waits while one is made. OpenSSL, which it may use, knows nothing of forks.
_CONNECTING: Final = 0.1
#: Seconds after its last use for which Redis remembers the quota of an origin; then it begins full. A circuit
#: is remembered as long, and as long as it may be open besides.
REMEMBERED: Final = 3600
#: A secret that is longer is known by so many characters of its beginning.
_PIECE: Final = 8
#: Seconds for which a process may go by what it knows of a circuit before it looks again.
LOOK: Final = 1.0


class Asker(NamedTuple):
    """The call that asks."""

    #: `scheme://host:port` of what it calls.
    origin: str
    #: Returns how many seconds it has left.
    left: Callable[[], float]
    #: Is called with the news that the store is away, or is back.
    tell: Callable[[Event], object]


class Taken(NamedTuple):
    """What became of tokens that were asked for."""

    #: Whether they were there. If not, nothing was drawn.
    is_granted: bool
    #: How many there are now.
    tokens: int


class View(NamedTuple):
    """A circuit after a step."""

    #: Whether the step had its effect: leave was given, the circuit was opened, or it was closed.
    took_effect: bool
    #: Raised whenever it opens, closes, or is probed: what began before has no say in what comes after.
    epoch: int
    #: Whether attempts are refused, but for a probe.
    is_open: bool
    #: Seconds until a probe may be made; 0 when one may be made or is under way, or when nothing is refused.
    opens_in: float
    #: How many attempts have failed in a row, up to the number that opens it.
    failures: int


class _Slot:
    """A place for a connection. One that is lost on its way back, by an interrupt, comes back by itself."""

    __slots__ = ("_slots", "connection", "used_at")

    def __init__(self, slots: weakref.ref[Any], connection: Any = None, used_at: float = -inf) -> None:
        self._slots = slots
        #: None: there is none yet.
        self.connection = connection
        #: When it was used.
        self.used_at = used_at

    def drop(self) -> None:
        """Close the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(Exception):
                connection.disconnect()

    def __del__(self) -> None:
        slots = self._slots()
        if slots is not None:
            # To append is one step, which may be taken in the middle of anything.
            slots.put(_Slot(self._slots))


class Store:
    """A Redis.

    Args:
        connect: makes a connection, which is not connected yet.
        place: its URL without credentials.
        prefix: what the names of its keys begin with.
        timeout: seconds for an exchange.
        secrets: what must not be told, in whatever an error says.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        place: str,
        prefix: str,
        timeout: float,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self._connect = connect
        self._place = place
        self._prefix = prefix
        self._timeout = timeout
        self._secrets = secrets
        self.presence = Presence()
        # Looked up now: gevent and eventlet put others in its place.
        self._slots: Any = queue.SimpleQueue()
        for _ in range(CONNECTIONS):
            self._slots.put(_Slot(weakref.ref(self._slots)))
        #: What this process knows of what Redis keeps for an origin.
        self.origins: BoundedDict[str, KnownOrigin] = BoundedDict(lambda _: KnownOrigin(), ORIGINS)
        #: When it was used, among others that are remembered.
        self.used_at = 0.0

    def is_needed(self) -> bool:
        """It may be forgotten: who needs it again connects anew."""
        return False

    def take(self, asker: Asker, cost: int, given_back: int) -> Taken | None:
        """Give tokens back to the quota of an origin, and draw others if they are there.

        Args:
            asker: the call; what it calls is the origin.
            cost: how many are drawn; 0: none.
            given_back: how many are given back before.

        Returns:
            None: Redis is away.
        """
        key = f"{self._prefix}:quota:{asker.origin}"
        answer = self._ask(asker, TAKE, key, cost, given_back, CAPACITY, REMEMBERED)
        return answer and Taken(bool(answer[0]), answer[1])

    def step(self, asker: Asker, breaker: Breaker, step: str, epoch: int) -> View | None:
        """Do a step at the circuit of an origin.

        Args:
            asker: the call; what it calls is the origin.
            breaker: when it opens. Equal ones have one circuit for an origin.
            step: "enter", which asks leave for an attempt; "failed", "failed alone" (with it, so many in a
                row in this process as open a circuit), "succeeded", or "left" (a probe came to nothing).
            epoch: that of the leave which the attempt had; 0 to enter.

        Returns:
            None: Redis is away.
        """
        rules = f"{breaker.failures}/{breaker.window:g}/{breaker.cool_down:g}"
        key = f"{self._prefix}:circuit:{rules}:{asker.origin}"
        times = [_milliseconds(seconds) for seconds in (breaker.window, breaker.cool_down, LOOK)]
        kept = REMEMBERED + (times[0] + times[1]) // 1000
        answer = self._ask(asker, STEP, key, step, epoch, breaker.failures, *times, kept)
        return answer and View(bool(answer[0]), answer[1], bool(answer[2]), answer[3] / 1000, answer[4])

    def _ask(self, asker: Asker, script: Script, *arguments: Any) -> Any:
        """Run a script; None: Redis is away.

        Args:
            asker: the call.
            script: what is run.
            arguments: its key, and its arguments.
        """
        now, left, is_there = monotonic(), asker.left(), self.presence.is_there()
        if left <= 0 or not self.presence.may_ask(now):
            return None
        until = now + min(self._timeout, left)
        try:
            slot = self._slots.get(timeout=max(0.0, until - monotonic()))
        except queue.Empty:
            return None
        answer: Any = None
        try:
            # Another caller may have found out meanwhile that it is away.
            if is_there and not self.presence.is_there():
                return None
            answer = self._exchange(slot, script, arguments, until)
        except Exception as error:
            answer = error
        finally:
            if answer is None or isinstance(answer, Exception):
                # An interrupt leaves it in the middle of something.
                slot.drop()
            self._slots.put(slot)
        try:
            # Nobody waits for what a hook does.
            return self._told(asker, answer, left < self._timeout)
        finally:
            # Its traceback holds this frame: what the frame holds must not be the exception.
            del answer

    def _told(self, asker: Asker, answer: Any, in_haste: bool) -> Any:
        """Tell the news that an answer or an error is; return the answer, or None for an error."""
        now = monotonic()
        if not isinstance(answer, Exception):
            if not self.presence.is_there() and (seconds := self.presence.found(now)) is not None:
                asker.tell(SharedLimitsFound(self._place, seconds))
            return answer
        # If the time of the call itself was over, that says nothing of Redis.
        is_own = in_haste and isinstance(answer, (TimeoutError, redis.TimeoutError))
        if not is_own and self.presence.lost(now):
            asker.tell(SharedLimitsLost(self._place, self._said(answer)))
        return None

    def _exchange(self, slot: _Slot, script: Script, arguments: Sequence[Any], until: float) -> Any:
        if slot.connection is not None and not _is_alive(slot):
            slot.drop()
        if slot.connection is None:
            slot.connection = self._connected(until)
        connection = slot.connection
        try:
            answer = _run(connection, until, "EVALSHA", script.digest, 1, *arguments)
        except redis.exceptions.NoScriptError:
            # It has not seen it yet, or not since it was started.
            answer = _run(connection, until, "EVAL", script.source, 1, *arguments)
        if not _is_of(script, answer):
            # What was answered is not shown: it may repeat what was asked.
            raise redis.exceptions.InvalidResponse("what answers is no Redis, or none that runs scripts")
        slot.used_at = monotonic()
        return answer

    def _connected(self, until: float) -> Any:
        """A new connection. It is made in a thread: nothing else bounds a resolver, or several addresses."""
        connection = self._connect()
        future: Future[None] = Future()

        def work() -> None:
            with Undivided(_CONNECTING):
                connection.connect()
            # A child that a signal handler forks in the middle of an exchange takes nothing of its answer.
            note(connection._sock)

        in_thread(work, future, "resilient_transport-redis")
        try:
            error = error_within(future, max(0.0, until - monotonic()))
        except TimeoutError:
            future.add_done_callback(lambda _: connection.disconnect())
            raise
        try:
            if error is not None:
                raise error
        finally:
            # Its traceback holds this frame: what the frame holds must not be the exception.
            del error, future
        return connection

    def _said(self, error: Exception) -> str:
        """What an error says, without what must not be told: some servers repeat what they do not know."""
        if isinstance(error, (TimeoutError, redis.TimeoutError)):
            return f"no answer within {self._timeout:g} s"
        said = f"{type(error).__name__}: {error}"
        for secret in self._secrets:
            said = said.replace(secret, "...")
            if len(secret) > _PIECE and secret[:_PIECE] in said:
                # Redis repeats the first 128 characters: it ends before those of a token.
                said = said.partition(secret[:_PIECE])[0] + "..."
        return said

    def __repr__(self) -> str:
        return f"<Store {self._place}, {self.presence!r}>"


def _is_alive(slot: _Slot) -> bool:
    """Whether the other side has neither closed an idle connection, nor sent what nobody has asked for."""
    # A call that goes on in a forked child leaves the parent's connections alone.
    if monotonic() - slot.used_at > IDLE or slot.connection.pid != os.getpid():
        return False
    try:
        return not slot.connection.can_read(timeout=0)
    except redis.RedisError:
        return False


def _is_of(script: Script, answer: Any) -> bool:
    """Whether an answer can be that of a script: at another server's the call would fail."""
    is_list = isinstance(answer, list) and len(answer) == script.numbers
    return is_list and all(isinstance(number, int) for number in answer)


def _run(connection: Any, until: float, *command: Any) -> Any:
    left = until - monotonic()
    if left <= 0:
        raise TimeoutError("no time was left to ask")
    connection._sock.settimeout(left)
    connection.send_command(*command)
    return connection.read_response()


def _milliseconds(seconds: float) -> int:
    """A time for Lua, whose numbers are not exact beyond: some centuries are enough."""
    return min(round(seconds * 1000), 10**13)
