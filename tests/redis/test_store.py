"""What an interrupt, a signal handler and a hook find in the middle of an exchange; Redis is made up."""

import os
import sys
import threading
import weakref
from functools import partial
from math import inf

import pytest

from resilient_transport.redis.store import CONNECTIONS, Asker, Store
from resilient_transport.retry.breaker import Breaker
from resilient_transport.retry.budget import CAPACITY
from resilient_transport.util import fork
from tests.stepwise import _Step, at_each_line, within
from tests.timeouts import LONG_TIMEOUT

FILES = ("redis/store.py", "redis/presence.py", "redis/shared_quota.py")


class Wire:
    """A connection to a Redis that grants everything."""

    made = 0

    def __init__(self, fails=None):
        self._sock = self
        self.pid = os.getpid()
        self.fails = fails
        self.is_closed = False
        Wire.made += 1

    def settimeout(self, seconds):
        """As a socket's."""

    def connect(self):
        """Connect."""
        if self.fails is not None:
            raise self.fails

    def can_read(self, timeout):
        """Whether something came unasked."""
        return self.is_closed

    def send_command(self, *command):
        """Take a command."""

    def read_response(self):
        """Answer it."""
        return [1, CAPACITY]

    def disconnect(self):
        """Close it."""
        self.is_closed = True


def asker(tell=lambda event: None, left=inf):
    """A call."""
    return Asker("https://api.example", lambda: left, tell)


def store_with(connect=Wire):
    """A store of made-up connections."""
    return Store(connect, "redis://localhost", "test", LONG_TIMEOUT)


def slots(store):
    """How many connections can be had."""
    return store._slots.qsize()


def test_an_interrupt_loses_no_connection():
    """At whatever line it comes, all places for connections are there afterwards."""
    store, lines, number = store_with(), [], 0

    def interrupt():
        raise KeyboardInterrupt

    def traced(step):
        sys.settrace(step)
        try:
            store.take(asker(), 5, 0)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)

    while not lines or lines[-1][0] is not None:
        number += 1
        step = _Step(FILES, number, interrupt)
        assert within(LONG_TIMEOUT, partial(traced, step))
        lines.append((step.at, slots(store)))

    assert len(lines) > 20
    assert [line for line in lines if line[1] != CONNECTIONS] == []


def test_a_signal_handler_may_make_a_call():
    """In the middle of an exchange of its own thread; it takes the other connection, and nothing hangs."""
    store, granted = store_with(), []

    def work():
        granted.append(store.take(asker(), 5, 0))

    places = list(at_each_line(FILES, work, lambda: store.take(asker(), 5, 0)))

    assert len(places) > 20
    assert set(granted) == {(True, CAPACITY)}
    assert slots(store) == CONNECTIONS


def test_a_hook_keeps_no_connection():
    """What a hook does with the news takes its time at the expense of its own call alone."""
    store, found = store_with(lambda: Wire(fails=OSError("no route"))), []
    store.take(asker(lambda event: found.append(slots(store))), 5, 0)

    assert found == [CONNECTIONS]


@pytest.mark.parametrize(
    "answer",
    [None, 0, 1, b"OK", [], [1], [1, b"5"], [1, None], [b"EVALSHA", b"5"], [1] * 4, [1, 1, 1, b"1", 1]],
)
def test_what_is_no_redis_is_away(answer):
    """Whatever it answers, no call fails for it; what runs the scripts is there (the control)."""

    class Rubbish(Wire):
        def read_response(self):
            return answer

    told, there = [], store_with()
    for asks in (lambda store: store.take(asker(told.append), 5, 0), partial(step, told)):
        store = store_with(Rubbish)
        assert asks(store) is None
        assert not store.presence.is_there()

    assert [type(event).__name__ for event in told] == ["SharedLimitsLost"] * 2
    assert "no Redis" in str(told[0])
    assert there.take(asker(), 5, 0) == (True, CAPACITY)
    assert there.presence.is_there()


def step(told, store):
    """Ask leave of a circuit."""
    return store.step(asker(told.append), Breaker(), "enter", 0)


@pytest.mark.parametrize(
    ("secret", "repeated"),
    [("8f14e45fceea167a" * 60, 128), ("8f14e45fceea167a", 128), ("8f14", 128), ("8f14e45fceea167a", 12)],
)
def test_no_piece_of_a_secret_is_told(secret, repeated):
    """Some servers repeat what they do not know, and not the whole of it; what came before is told."""
    told = []
    error = OSError(f"unknown command 'AUTH', with args beginning with: '{secret[:repeated]}'")
    store = Store(lambda: Wire(fails=error), "redis://localhost", "test", LONG_TIMEOUT, (secret,))
    store.take(asker(told.append), 5, 0)

    assert secret[:4] not in str(told[0])
    assert "unknown command 'AUTH'" in str(told[0])


def test_a_fork_waits_while_it_connects():
    """Its TLS context is built by OpenSSL; a fork beside it waits, and afterwards none does (the control)."""
    found = []

    class Looks(Wire):
        def connect(self):
            found.append(fork._is_in_between(0))

    store_with(Looks).take(asker(), 5, 0)

    assert found == [True]
    assert not fork._is_in_between(0)


def test_who_finds_no_connection_goes_without():
    """Within the time of the call; that says nothing of Redis."""
    store, told = store_with(), []
    held = [store._slots.get() for _ in range(CONNECTIONS)]
    answer = store.take(asker(told.append, left=0.01), 5, 0)

    assert answer is None
    assert told == []
    assert store.presence.is_there()
    assert len(held) == CONNECTIONS


def test_a_connect_that_takes_too_long_is_closed():
    """It goes on in its thread, and what it brings is of no use any more."""
    go_on, wires = threading.Event(), []

    class Slow(Wire):
        def connect(self):
            wires.append(self)
            go_on.wait(LONG_TIMEOUT)

        closed = threading.Event()

        def disconnect(self):
            self.closed.set()

    told = []
    store = store_with(Slow)
    answer = store.take(asker(told.append, left=0.01), 5, 0)
    go_on.set()

    assert answer is None
    assert told == []
    assert Slow.closed.wait(LONG_TIMEOUT)
    assert slots(store) == CONNECTIONS


def test_an_old_connection_is_not_used_again(monkeypatch):
    """Something on the way may have forgotten it; a young one is used again (the control)."""
    store = store_with()
    for _ in range(2 * CONNECTIONS):
        store.take(asker(), 5, 0)
    held = [store._slots.get() for _ in range(CONNECTIONS)]
    young = [slot.connection for slot in held]
    for slot in held:
        slot.used_at -= 60
        store._slots.put(slot)
    del held, slot
    before = Wire.made
    for _ in range(CONNECTIONS):
        store.take(asker(), 5, 0)

    assert Wire.made - before == CONNECTIONS
    assert all(connection.is_closed for connection in young)


def test_a_store_that_is_forgotten_takes_its_connections_along():
    """No place comes back to a queue that is gone; as long as somebody asks, all are there (the control)."""
    store = store_with()
    for _ in range(CONNECTIONS):
        store.take(asker(), 5, 0)
    kept, place = slots(store), weakref.ref(store._slots)
    del store

    assert kept == CONNECTIONS
    assert place() is None
