"""The time that is left, on a clock of the test's own."""

import math

import pytest

from resilient_transport.retry.deadline import Deadline
from tests.retry.values import Clock


@pytest.fixture
def clock():
    """Return a clock that shows 100 s."""
    return Clock(100.0)


def test_it_runs_from_its_making(clock):
    """What is left shrinks as the clock goes on, and is never less than nothing."""
    deadline = Deadline(5.0, clock)
    story = []
    for clock.now in (100.0, 103.0, 105.0, 110.0):
        story.append((deadline.spent(), deadline.left()))

    assert story == [(0.0, 5.0), (3.0, 2.0), (5.0, 0.0), (10.0, 0.0)]


def test_without_seconds_it_never_ends(clock):
    """The control: nothing is left, or bounded, by a deadline that nobody set."""
    deadline = Deadline(None, clock)
    clock.now = 10.0**9

    assert deadline.left() == math.inf
    assert deadline.expires == math.inf
    assert deadline.bound(None) is None
    assert deadline.bound(3.0) == 3.0


def test_nought_is_a_deadline():
    """0 seconds are over at once; they are not taken for "none given"."""
    deadline = Deadline(0, Clock(100.0))

    assert deadline.left() == 0.0
    assert deadline.bound(None) == 0.0


@pytest.mark.parametrize(
    ("timeout", "now", "bounded"),
    [(None, 102.0, 3.0), (2.0, 102.0, 2.0), (4.0, 102.0, 3.0), (4.0, 105.0, 0.0), (0.0, 102.0, 0.0)],
)
def test_a_time_out_is_bounded_by_what_is_left(clock, timeout, now, bounded):
    """The smaller of the two counts, and no time-out is as long as it takes."""
    deadline = Deadline(5.0, clock)
    clock.now = now

    assert deadline.bound(timeout) == bounded


@pytest.mark.parametrize(
    ("seconds", "moment", "expires"),
    [
        (5.0, 103.0, 103.0),
        (5.0, 105.0, 105.0),
        (5.0, 107.0, 105.0),
        (5.0, None, 105.0),
        (None, 103.0, 103.0),
        (None, None, math.inf),
        (5.0, 99.0, 99.0),
    ],
)
def test_it_can_be_brought_forward_and_not_put_off(clock, seconds, moment, expires):
    """The earlier of two moments holds."""
    deadline = Deadline(seconds, clock)

    assert deadline.until(moment) is deadline
    assert deadline.expires == expires
    assert deadline.started == 100.0


def test_a_moment_in_the_past_leaves_nothing(clock):
    """A call that begins after the end of its block has no time, not less than none."""
    assert Deadline(None, clock).until(90.0).left() == 0.0


def test_its_repr_says_what_is_left(clock):
    """In seconds, for logs."""
    deadline = Deadline(5.0, clock)
    clock.now = 103.5

    assert repr(deadline) == "<Deadline 1.500 s left>"
    assert repr(Deadline(None, clock)) == "<Deadline inf s left>"


def test_its_clock_is_monotonic():
    """Without a clock of one's own it is the clock that no one can set back."""
    deadline = Deadline(1000.0)

    assert 0.0 <= deadline.spent() < 1000.0
    assert 0.0 < deadline.left() <= 1000.0
