"""What leases of one key share, and who ends what."""

import gc
import threading

import pytest

from resilient_transport.pool.shared_pool import SharedPool, pace
from resilient_transport.retry.decision import RESET_PAUSE
from resilient_transport.settings.options import DEFAULT_OPTIONS, ConnectionOptions
from tests.pool.values import idle_connection, is_closed
from tests.timeouts import LONG_TIMEOUT


def test_the_largest_lease_is_the_capacity():
    """As long as it is there."""
    pool = SharedPool("key")
    small, large = pool.join(3, DEFAULT_OPTIONS), pool.join(20, DEFAULT_OPTIONS)
    both = pool.gate.capacity
    large.end()

    assert (both, pool.gate.capacity) == (20, 3)
    assert not small.is_over


def test_what_any_lease_wants_is_kept():
    """The longest idle time and age of all, and the fewest handshakes."""
    pool = SharedPool("key")
    tickets = [
        pool.join(10, ConnectionOptions(idle_timeout=5, max_age=60, handshakes=8)),
        pool.join(10, ConnectionOptions(idle_timeout=50, max_age=6, handshakes=2)),
    ]
    together = pool.connection_options
    tickets.pop().end()

    assert (together.idle_timeout, together.max_age, together.handshakes) == (50, 60, 2)
    assert (pool.connection_options.idle_timeout, pool.gate.window.maximum) == (5, 8)


def test_what_the_last_lease_wanted_holds_on():
    """Between two calls of `requests.get` there is no lease, and their connection is kept."""
    pool = SharedPool("key")
    pool.join(20, ConnectionOptions(idle_timeout=500)).end()

    assert pool.leases() == 0
    assert (pool.gate.capacity, pool.connection_options.idle_timeout) == (20, 500)


def test_a_lease_ends_once():
    """However often, and whoever else wants the same."""
    pool = SharedPool("key")
    first, second = pool.join(10, DEFAULT_OPTIONS), pool.join(10, DEFAULT_OPTIONS)
    first.end()
    first.end()

    assert pool.leases() == 1
    assert not second.is_over


def test_a_lease_that_is_forgotten_is_over():
    """Nobody has to close an adapter."""
    left = []
    pool = SharedPool("key", on_unleased=left.append)
    pool.join(10, DEFAULT_OPTIONS)
    gc.collect()

    assert pool.leases() == 0
    assert left == [pool]


def test_three_thousand_leases_cost_what_one_does():
    """What is kept is one entry for each thing that is wanted, not for each lease."""
    pool = SharedPool("key")
    tickets = [pool.join(10, DEFAULT_OPTIONS) for _ in range(3000)]

    assert pool.leases() == 3000
    assert len(pool._tickets) == 1
    del tickets


def test_an_end_waits_for_nobody():
    """While another thread holds the pool's lock, a lease ends; the next holder of the lock does the rest."""
    pool = SharedPool("key")
    ticket, _ = pool.join(20, DEFAULT_OPTIONS), pool.join(3, DEFAULT_OPTIONS)
    stays = pool.join(3, DEFAULT_OPTIONS)
    thread = threading.Thread(target=ticket.end)
    with pool.gate.inbox.lock:
        thread.start()
        thread.join(LONG_TIMEOUT)
        ended, before = not thread.is_alive(), pool.gate.capacity
    pool.gate.forget()

    assert ended
    assert (before, pool.gate.capacity) == (20, 3)
    assert not stays.is_over


@pytest.mark.parametrize("is_disposable", [True, False])
def test_what_nobody_can_find_again_is_closed_at_once(is_disposable):
    """A pool of a caller's own context, or of an identity rotated away; any other, the control, keeps it."""
    pool = SharedPool("key")
    pool.is_disposable = is_disposable
    first, last = pool.join(10, DEFAULT_OPTIONS), pool.join(10, DEFAULT_OPTIONS)
    with idle_connection() as (connection, _):
        pool.put(connection)
        first.end()
        meanwhile = is_closed(connection)
        last.end()

        assert not meanwhile
        assert is_closed(connection) is is_disposable


@pytest.mark.parametrize("is_disposable", [True, False])
def test_what_comes_back_to_nobody_is_closed(is_disposable):
    """A response that was read after its session was closed."""
    pool = SharedPool("key")
    pool.is_disposable = is_disposable
    pool.join(10, DEFAULT_OPTIONS).end()
    with idle_connection() as (connection, _):
        pool.put(connection)

        assert is_closed(connection) is is_disposable
        pool.clear()


def test_sorting_out_closes_what_the_server_has_closed():
    """And nothing else: one of which nothing was heard stays."""
    pool = SharedPool("key")
    ticket = pool.join(10, DEFAULT_OPTIONS)
    with idle_connection() as (dead, theirs), idle_connection() as (alive, _):
        for connection in (dead, alive):
            pool.put(connection)
        theirs.close()
        pool.sort_out()

        assert (is_closed(dead), is_closed(alive)) == (True, False)
        assert pool.gate.idle() == [alive]
        pool.clear()
    ticket.end()


def test_sorting_out_closes_what_was_idle_too_long():
    """By what the leases want."""
    pool = SharedPool("key")
    ticket = pool.join(10, ConnectionOptions(idle_timeout=5))
    with idle_connection() as (old, _), idle_connection() as (young, _):
        for connection in (old, young):
            pool.put(connection)
        old.proven_at -= 6
        pool.sort_out()

        assert (is_closed(old), is_closed(young)) == (True, False)
        pool.clear()
    ticket.end()


@pytest.mark.parametrize(("ahead", "is_kept"), [(0.0, True), (1.7e9, False)])
def test_what_was_put_back_by_another_clock_is_not_believed(ahead, is_kept):
    """freezegun's moment lies ahead of ours: else it would count as known to work for ever."""
    pool = SharedPool("key")
    ticket = pool.join(10, DEFAULT_OPTIONS)
    with idle_connection() as (connection, _):
        pool.put(connection)
        connection.proven_at += ahead
        pool.sort_out()

        assert is_closed(connection) is not is_kept
        pool.clear()
    ticket.end()


@pytest.mark.parametrize(("reset", "most"), [(True, RESET_PAUSE), (False, 2.0)])
def test_after_a_reset_the_pause_is_short(monkeypatch, reset, most):
    """The server is there; after a refused connect, the control, the pause grows to two seconds."""
    monkeypatch.setattr("resilient_transport.retry.decision.full_jitter", lambda ceiling: ceiling)

    assert pace(12, reset) == most


def test_a_short_pause_is_anything_up_to_its_ceiling(monkeypatch):
    """As a rule it is half of that: to cut what is longer would make most pauses as long as may be."""
    monkeypatch.setattr("resilient_transport.retry.decision.full_jitter", lambda ceiling: ceiling / 2)

    assert pace(12, reset=True) == RESET_PAUSE / 2
