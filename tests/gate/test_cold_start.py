"""The cold start of a pool: one value after another, moments in and answers out."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_transport.gate.cold_start import HOLDS, ColdStart

NOW = 100.0
#: A clock that freezegun has put in the place of the machine's: seconds since 1970.
FROZEN = 1.7e9
ME, ANOTHER = 1, 2


def ended(*moments, pause=0.0):
    """Return a cold start whose rounds have ended at these moments, each with a failure of that name."""
    cold_start = ColdStart()
    for moment in moments:
        cold_start = cold_start.ended(f"at {moment}", moment, pause)
    return cold_start


def refused(moment=NOW, before=None):
    """Return a cold start in which this thread has met a failure that lasts."""
    return (before or ColdStart()).refused("refused", moment, ME)


def test_nothing_has_happened_at_first():
    """No round has ended, nobody pauses, nobody shares anything, whenever it began."""
    cold_start = ColdStart()

    assert (cold_start.round, cold_start.last_failure, cold_start.is_fatal) == (0, None, False)
    assert (cold_start.is_paused(NOW), cold_start.left(NOW)) == (False, 0.0)
    assert cold_start.refusal_for(NOW, ANOTHER) is None
    assert cold_start.round_for(-inf, NOW, True) == 0
    assert not cold_start.has_ended_since(0.0)


def test_each_failure_ends_a_round():
    """The last one is what who waited is told; the value before it stays as it was."""
    first = ended(NOW)
    second = first.ended("another", NOW + 1, 0.0)

    assert (first.round, first.last_failure) == (1, "at 100.0")
    assert (second.round, second.last_failure, second.failed) == (2, "another", (NOW, NOW + 1))


@pytest.mark.parametrize(
    ("since", "left"),
    [(0.0, 5.0), (1.25, 3.75), (5.0, 0.0), (6.0, 0.0), (-50.0, 55.0), (-55.0, 0.0), (1.7e9, 0.0)],
)
def test_a_pause_ends_when_it_is_over(since, left):
    """And when it would take longer than a minute: then the clock is another one."""
    cold_start = ended(NOW, pause=5.0)

    assert cold_start.left(NOW + since) == left
    assert cold_start.is_paused(NOW + since) is (left > 0)


@pytest.mark.parametrize("then", [lambda one: one.refused("refused", NOW, ME), ColdStart.forgotten])
def test_what_is_refused_or_forgotten_slows_nobody(then):
    """No pause is left, and no round is added; the control: before it there was one."""
    before = ended(NOW, pause=5.0)
    after = then(before)

    assert before.is_paused(NOW)
    assert not after.is_paused(NOW)
    assert after.round == before.round == 1


@pytest.mark.parametrize(
    ("began", "thread", "shared"),
    [
        (NOW - 30, ANOTHER, "refused"),
        (NOW, ANOTHER, "refused"),
        (NOW + HOLDS / 2, ANOTHER, "refused"),
        (NOW + HOLDS * 2, ANOTHER, None),  # may have a new certificate
        (NOW, ME, None),  # may have changed something
        (NOW + FROZEN, ANOTHER, None),
        (NOW - FROZEN, ANOTHER, None),
    ],
)
def test_a_refusal_is_shared_by_calls_of_the_same_start(began, thread, shared):
    """Those that began before it, or up to 50 ms after; not by the thread that has met it."""
    assert refused().refusal_for(began, thread) == shared


@pytest.mark.parametrize(
    "cold_start", [ColdStart(), ended(NOW), refused().forgotten(), refused().ended(1, NOW, 0)]
)
def test_only_a_refusal_is_shared_so(cold_start):
    """The control: a failure that may heal, one that was forgotten, and one that another has followed."""
    assert cold_start.refusal_for(NOW, ANOTHER) is None


@pytest.mark.parametrize(
    ("began", "now", "others_wait", "joined"),
    [
        # Others wait out the pause: it shares their round, whenever it began.
        (NOW + 1, NOW + 1, True, 1),
        (NOW + 4.75, NOW + 4.75, True, 1),
        # The pause is over, or nobody waits for its end: it is too late for that round.
        (NOW + 5, NOW + 5, True, 2),
        (NOW + 1, NOW + 1, False, 2),
        # It began as the round ended: a call of the same start.
        (NOW - 5, NOW + 1, False, 1),
        # It began before two of them ended, and took its time.
        (NOW - 30, NOW + 1, False, 0),
        (NOW - 30, NOW + 1, True, 0),
        (NOW + HOLDS / 2, NOW + 30, False, 1),
        (NOW + HOLDS * 2, NOW + 30, False, 2),
        # Another clock.
        (NOW + FROZEN, NOW + FROZEN, True, 2),
        (NOW - FROZEN, NOW - FROZEN, True, 2),
    ],
)
def test_a_newcomer_joins_a_round(began, now, others_wait, joined):
    """The one before those that have ended since it began, with which it is charged; or the next."""
    assert ended(NOW - 10, NOW, pause=5.0).round_for(began, now, others_wait) == joined


@pytest.mark.parametrize("cold_start", [ColdStart(), refused(), refused(before=ended(NOW))])
def test_nobody_joins_a_round_that_did_not_end(cold_start):
    """Nothing has failed yet, or what has failed lasts: that is told otherwise, and charges nobody."""
    assert cold_start.round_for(NOW, NOW, True) == cold_start.round


@pytest.mark.parametrize(
    ("moment", "has_ended"),
    [
        (NOW - 1, True),  # a leader that has stalled
        (NOW - 59, True),
        (NOW, False),  # a leader let in when the round ended
        (NOW + 1, False),
        (NOW - FROZEN, False),
        (NOW + FROZEN, False),
    ],
)
def test_a_round_ends_once(moment, has_ended):
    """Who began to connect before it ended has ended it together with who met its end."""
    assert ended(NOW).has_ended_since(moment) is has_ended


@pytest.mark.parametrize(("failed_at", "later"), [(FROZEN, NOW), (NOW, FROZEN)], ids=["back", "forth"])
@pytest.mark.parametrize("make", [refused, lambda moment: ended(moment, pause=5.0)], ids=["refused", "ended"])
def test_another_clock_ends_what_was_before(make, failed_at, later):
    """freezegun begins or ends: nobody is paused, refused or charged, and the next failure ends a round."""
    cold_start = make(failed_at)

    assert not cold_start.is_paused(later)
    assert cold_start.refusal_for(later, ANOTHER) is None
    assert cold_start.round_for(later, later, True) == cold_start.round
    assert not cold_start.has_ended_since(later)


@pytest.mark.parametrize(("later", "joined"), [(0.0, 0), (0.02, 0), (0.06, 1), (0.08, 2), (0.12, 3)])
def test_a_newcomer_joins_the_rounds_that_have_ended_just_now(later, joined):
    """Rounds may be short: all that ended within 50 ms before it began are its own, too."""
    cold_start = ended(NOW, NOW + 0.02, NOW + 0.05)

    assert cold_start.round_for(NOW + later, NOW + later, False) == joined


def test_a_newcomer_is_charged_with_so_many_rounds_at_most():
    """However many have ended: what is remembered of them is bounded."""
    cold_start = ended(*[NOW] * 100)

    assert cold_start.round - cold_start.round_for(NOW, NOW, True) == len(cold_start.failed) == 16


def test_a_refusal_is_no_round():
    """Nobody is charged with it, though a round ends after it."""
    cold_start = refused(before=ended(NOW)).ended("another", NOW, 0.0)

    assert (cold_start.round, cold_start.round_for(NOW, NOW, False)) == (2, 1)


MOMENTS = st.floats(0.0, 1e6) | st.sampled_from([FROZEN, NOW, NOW + HOLDS])


@given(st.lists(MOMENTS, max_size=6), MOMENTS, MOMENTS, st.booleans(), st.floats(0.0, 2.0))
def test_whatever_the_clock_says_it_is_bounded(moments, began, now, others_wait, pause):
    """No pause is over a minute, and a newcomer is charged with rounds that have ended, if with any."""
    cold_start = ended(*moments, pause=pause)

    assert 0.0 <= cold_start.left(now) < 60.0
    assert cold_start.is_paused(now) is (cold_start.left(now) > 0.0)
    assert 0 <= cold_start.round_for(began, now, others_wait) <= cold_start.round
