"""What is known of how long a server keeps idle connections: what it says, and what it has shown."""

import pytest

from resilient_transport.connection.keepalive import FRESH_FOR, KeepAlivePolicy, hints


@pytest.mark.parametrize(
    ("field", "seconds", "count"),
    [
        ("timeout=5, max=100", 5, 100),
        ("timeout=5", 5, None),
        ("max=100", None, 100),
        ("max=100, timeout=5", 5, 100),
        ("timeout=5,max=2", 5, 2),
        ("timeout=5; max=2", 5, 2),
        ("timeout=5 max=2", 5, 2),
        ('timeout="5", max="2"', 5, 2),
        ("Timeout=5, MAX=2", 5, 2),
        ("timeout = 5 , max = 2", 5, 2),
        ("\ttimeout\t=\t5", 5, None),
        ("timeout=5.9", 5, None),
        ("timeout=5s", 5, None),
        ("timeout=0, max=0", 0, 0),
        ("timeout=007", 7, None),
        ("timeout=5, timeout=9", 5, None),
        ("timeout=-5, max=-1", None, None),
        ("timeout=, max=", None, None),
        ("timeout", None, None),
        ("", None, None),
        ("5", None, None),
        ("idle-timeout=5, climax=2", None, None),
        ("x=timeout=5", None, None),
        ("timeout=\u0665", None, None),
        ("true", None, None),
    ],
)
def test_what_a_field_says(field, seconds, count):
    """Seconds and requests, in each spelling that servers use; what is something else says nothing."""
    assert hints(field) == (seconds, count)


def test_a_field_of_any_length_is_read():
    """More digits than anybody means are no error."""
    seconds, count = hints("timeout=" + "9" * 5000 + ", max=" + "9" * 5000)

    assert seconds > 10**8
    assert count > 10**8


def test_nothing_is_known_at_first():
    """Everything is allowed, and a connection is fresh for half of the shortest limit that is usual."""
    keep_alive = KeepAlivePolicy()

    assert keep_alive.allows(10**6)
    assert keep_alive.fresh_for(None) == FRESH_FOR == 1


@pytest.mark.parametrize(("told", "fresh"), [(5, 2.5), (60, 30), (1, 0.5), (0, 0)])
def test_half_of_what_was_told(told, fresh):
    """The server's own word counts, whether it is longer or shorter than what is usual."""
    keep_alive = KeepAlivePolicy()

    assert keep_alive.fresh_for(told) == fresh
    assert keep_alive.allows(10**6)


@pytest.mark.parametrize(
    ("told", "shown", "fresh"), [(None, 1.5, 0.75), (None, 60, 1), (60, 10, 5), (4, 60, 2), (60, 59, 29.5)]
)
def test_what_was_shown_makes_it_shorter_only(told, shown, fresh):
    """A connection found closed after a minute may have been closed after a second."""
    keep_alive = KeepAlivePolicy()
    keep_alive.closed_after(shown)

    assert keep_alive.fresh_for(told) == fresh


def test_what_was_shown_is_not_outstayed():
    """A connection that was idle for as long is not used any more."""
    keep_alive = KeepAlivePolicy()
    keep_alive.closed_after(7)

    assert keep_alive.allows(6.99)
    assert not keep_alive.allows(7)


@pytest.mark.parametrize(("closed", "shown"), [((7, 3), 3), ((3, 7), 3), ((3, 3), 3), ((0.1,), 0.1)])
def test_the_shortest_counts(closed, shown):
    """Each sooner end is learned; a later one teaches nothing."""
    keep_alive = KeepAlivePolicy()
    for seconds in closed:
        keep_alive.closed_after(seconds)

    assert keep_alive.shown == shown


@pytest.mark.parametrize("seconds", [0, 0.05, 0.0999, -1])
def test_a_restart_is_no_habit(seconds):
    """What is closed at once was closed for another reason than idleness."""
    keep_alive = KeepAlivePolicy()
    keep_alive.closed_after(seconds)

    assert keep_alive.shown is None


#: After how long a connection was found closed, after how long others were found open, and what is known
#: then: the limit, and for how long a request that may not be repeated trusts a connection.
LEARNED = [
    (0.12, [], 0.12, 0.06),
    (0.12, [5.0], 10.0, 3.75),
    (0.12, [0.13], 0.26, 0.13),
    (1.2, [1.5], 3.0, 1.125),
    (1.2, [1.2], 2.4, 1.0),
    (1.2, [1.5, 4.0], 8.0, 3.0),
    (1.2, [1.5, 2.9], 3.0, 1.5),
    (10.0, [10.0, 20.0], 40.0, 15.0),
    (10.0, [29.9], 59.8, 15.0),
    (10.0, [30.0], None, 15.0),
    (0.12, [30.0], None, 15.0),
    (100.0, [100.0], None, 15.0),
]


@pytest.mark.parametrize(("closed", "outlived", "shown", "fresh"), LEARNED)
def test_one_that_is_open_all_the_same_is_enough(closed, outlived, shown, fresh):
    """The limit becomes twice what was outlived; from half a minute on, nothing is known any more."""
    keep_alive = KeepAlivePolicy()
    keep_alive.closed_after(closed)
    for seconds in outlived:
        keep_alive.outlived(seconds)

    assert keep_alive.shown == pytest.approx(shown)
    assert keep_alive.fresh_for(None) == pytest.approx(fresh)


@pytest.mark.parametrize(
    ("closed", "every"),
    [(0.12, 5.0), (0.12, 0.5), (0.12, 29.0), (0.12, 120.0), (1.5, 5.0), (4.9, 5.0), (3, 3)],
)
def test_a_poller_loses_one_connection_after_a_restart(closed, every):
    """Who calls every so many seconds closes one good connection, and uses the next."""
    keep_alive, lost = KeepAlivePolicy(), 0
    keep_alive.closed_after(closed)
    while not keep_alive.allows(every):
        keep_alive.outlived(every)
        lost += 1

    assert lost == 1


@pytest.mark.parametrize(("closed", "every", "lost"), [(0.12, 5.0, 6), (0.12, 29.0, 8), (3, 3, 1)])
def test_doublings_of_what_was_shown_lose_many(closed, every, lost):
    """The control: by doubling the limit itself, as it was, the same poller closes up to eight."""
    limit, doublings = closed, 0
    while every >= limit:
        limit, doublings = 2 * limit, doublings + 1

    assert doublings == lost


@pytest.mark.parametrize(("closed", "outlived", "shown", "fresh"), LEARNED)
@pytest.mark.parametrize("told", [None, 1, 5, 60])
def test_a_post_trusts_no_longer_than_was_seen_to_hold(closed, outlived, shown, fresh, told):
    """Nor longer than half of what the server says; if it says nothing, than 1 s or 3/4 of what was seen."""
    keep_alive = KeepAlivePolicy()
    keep_alive.closed_after(closed)
    for seconds in outlived:
        keep_alive.outlived(seconds)
    trusted = keep_alive.fresh_for(told)

    assert trusted <= max([closed / 2, *outlived]) or keep_alive.shown is None
    assert trusted <= (max(FRESH_FOR, 0.75 * max([0, *outlived])) if told is None else told / 2)


@pytest.mark.parametrize(
    ("seen", "fresh"), [((0.5,), 1), ((4.0,), 3), ((4.0, 2.0), 3), ((2.0, 4.0), 3), ((54.0,), 15), ((-1,), 1)]
)
def test_the_guess_grows_with_what_was_seen(seen, fresh):
    """One that was open after 4 s is trusted for 3 s; nobody is trusted for longer than 15 s by that."""
    keep_alive = KeepAlivePolicy()
    for seconds in seen:
        keep_alive.open_after(seconds)

    assert keep_alive.fresh_for(None) == fresh
    # The control: what the server says of itself is not stretched.
    assert keep_alive.fresh_for(1) == 0.5


@pytest.mark.parametrize(("closed", "fresh"), [(5.0, 2.5), (2.0, 1.0), (0.2, 0.1), (60, 3)])
def test_one_that_was_closed_sooner_refutes_it(closed, fresh):
    """What was seen of a server that closes sooner now is forgotten; half of what it shows is the bound."""
    keep_alive = KeepAlivePolicy()
    keep_alive.open_after(4.0)
    keep_alive.closed_after(closed)

    assert keep_alive.fresh_for(None) == pytest.approx(fresh)


def test_what_is_shown_again_counts_again():
    """A server that closes soon after all is believed at once."""
    keep_alive = KeepAlivePolicy()
    for _ in range(3):
        keep_alive.closed_after(2.0)
        keep_alive.outlived(5.0)
    keep_alive.closed_after(2.1)

    assert keep_alive.shown == 2.1
    assert not keep_alive.allows(3)


@pytest.mark.parametrize("seconds", [0, 6.9])
def test_what_was_not_put_to_the_test_is_kept(seconds):
    """A connection that was idle for less than the limit says nothing against it."""
    keep_alive = KeepAlivePolicy()
    keep_alive.closed_after(7)
    keep_alive.outlived(seconds)

    assert keep_alive.shown == 7


def test_nothing_is_unlearned_where_nothing_is_known():
    """A connection that lives long is no news."""
    keep_alive = KeepAlivePolicy()
    keep_alive.outlived(1000)

    assert keep_alive.shown is None


def test_it_tells_what_it_knows():
    """For who debugs it."""
    keep_alive = KeepAlivePolicy()
    keep_alive.closed_after(3)

    assert repr(keep_alive) == "<KeepAlivePolicy seen 0.0, shown 3>"
