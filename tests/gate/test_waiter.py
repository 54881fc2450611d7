"""Permits, those who wait for them, and what they are told of others' failures; threads come last."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, repeat
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilient_transport.gate import waiter as waiting
from resilient_transport.gate.gate import LOOK_EVERY, STALLED, Gate
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.waiter import HOLDS, Charges, Told, Waiter
from tests.gate.test_gate import anything, even, granted, is_waiting, nothing, open_gate
from tests.retry.values import Clock
from tests.timeouts import LONG_TIMEOUT


@pytest.fixture(autouse=True, scope="module")
def strangers():
    """Whoever comes to a gate comes from another thread than whoever was there before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "get_ident", count().__next__)
        yield


def sharing(paced=True):
    """Return the charges of a call that may be repeated, after the pool's pauses or its own."""
    return Charges(lambda: True, lambda: paced)


def alone():
    """Return the charges of a call that has one attempt."""
    return Charges(lambda: False, lambda: True)


def led(*followers, **fields):
    """Return a cold gate, the permit and the charges of its leader, and who waits with these charges."""
    gate = Gate(**fields)
    charges = sharing()
    permit = gate.enter(anything, charges)
    return gate, permit, charges, [gate.enter(anything, one) for one in followers]


def told(*waiters):
    """Return the failures that these were told; None for who was not."""
    found = [one.wait(0) if isinstance(one, Waiter) else one for one in waiters]
    return [one.failure if isinstance(one, Told) else None for one in found]


@pytest.mark.parametrize("timeout", [None, 0, LONG_TIMEOUT])
def test_a_waiter_has_what_was_granted(timeout):
    """However long it would have waited, and as often as it asks; None says that nothing was granted."""
    waiter = Waiter(anything, None, False, 0.0)
    before = waiter.wait(0)
    waiter.grant(1)

    assert (before, waiter.wait(timeout), waiter.wait(timeout), waiter.granted) == (None, 1, 1, 1)


def test_a_failure_after_success_is_nobodys():
    """The item was made: what becomes of it later is not told to those who wait."""
    charges = sharing()
    gate, permit, own, (waiter,) = led(charges)
    permit.succeeded(1.0, proof=False)

    assert permit.failed("late", charges=own) is False
    assert (told(waiter), charges.times, gate.window.doubted) == ([None], 0, False)
    permit.closed()


@pytest.mark.parametrize("made", [False, True])
def test_a_lost_permit_is_counted_at_the_next_event(made):
    """Its finaliser finds a lock that its own thread holds, takes none, and leaves the rest to others."""
    gate, permit, _, (waiter,) = led(None)
    if made:
        permit.succeeded(1.0)
    before = repr(gate)
    with gate._lock:
        del permit
        gc.collect()
        meanwhile = repr(gate)
    still = is_waiting(waiter)
    gate.look(waiter)

    assert (meanwhile, still) == (before, True)
    assert granted(waiter) == [True]
    assert repr(gate).startswith("<Gate 0 idle of 0 open, 1 being made")


def test_the_failure_of_a_cold_gate_is_everybodys():
    """All that wait and share are told, paced or not, and charged once; so is the leader."""
    followers = [sharing(), sharing(), sharing(paced=False)]
    _, permit, own, waiters = led(*followers)
    shared = permit.failed("a reset", charges=own)

    assert shared is True
    assert told(*waiters) == ["a reset"] * 3
    assert [one.times for one in (own, *followers)] == [1, 1, 1, 1]


def test_who_has_one_attempt_is_not_told_of_another_ones_failure():
    """It waits on, and makes its own attempt: the next permit is its."""
    charges = alone()
    _, permit, own, waiters = led(sharing(), charges, None)
    permit.failed("a reset", charges=own)

    assert told(*waiters) == ["a reset", None, None]
    assert granted(*waiters) == [False, True, False]
    assert charges.times == 0


def test_who_has_one_attempt_is_told_of_nothing_that_it_missed():
    """The control for those who come back: it asks again, whenever it began, and gets a permit."""
    charges = alone()
    gate, permit, own, (waiter,) = led(charges)
    gate.leave(waiter)
    permit.failed("a reset", charges=own)

    assert granted(gate.enter(anything, charges, began=0.0)) == [True]


def test_whether_a_call_shares_is_asked_whenever_it_comes():
    """A limit that somebody has changed counts from then on."""
    limits = [True, False]
    charges = Charges(lambda: limits.pop(0), lambda: True)
    gate, permit, own, (waiter,) = led(charges)
    permit.failed("a reset", charges=own)

    assert told(waiter) == ["a reset"]
    assert granted(gate.enter(anything, charges)) == [True]
    assert limits == []


def test_each_missed_failure_is_told_once():
    """Who is on its way back while others fail hears of each as it comes, then gets in."""
    late, second, third = sharing(), sharing(), sharing()
    gate, permit, own, _ = led(late, second, third)
    permit.failed("first", charges=own)
    for failure, charges in (("second", second), ("third", third)):
        if charges is third:
            assert told(gate.enter(anything, third)) == ["second"]
        gate.enter(anything, charges).failed(failure, charges=charges)
    found = [gate.enter(anything, late) for _ in range(3)]

    assert told(*found) == ["third", "third", None]
    assert granted(found[2]) == [True]
    assert late.times == 3


def test_who_failed_itself_is_not_told_so_again():
    """It has had its exception; when it comes back it may try again."""
    gate, permit, own, _ = led(sharing())
    permit.failed("a reset", charges=own)

    assert granted(gate.enter(anything, own)) == [True]


def test_who_comes_later_is_not_charged_for_what_was_before():
    """Only failures since it came are its own, too."""
    gate, permit, own, _ = led(sharing())
    permit.failed("a reset", charges=own)
    charges = sharing()

    assert granted(gate.enter(anything, charges)) == [True]
    assert charges.times == 0


def test_another_gate_is_another_account():
    """A call that goes on to another server has missed nothing there, and was charged with nothing."""
    charges = sharing()
    _, permit, own, _ = led(charges)
    permit.failed("a reset", charges=own)
    before = charges.times
    elsewhere, leader, its_own, _ = led()
    leader.failed("another", charges=its_own)

    assert (before, granted(elsewhere.enter(anything, charges)), charges.times) == (1, [True], 0)


def test_an_idle_item_is_taken_before_a_failure_is_told():
    """What works needs no history."""
    charges = sharing()
    gate, permit, own, (waiter,) = led(charges)
    gate.leave(waiter)
    permit.failed("a reset", charges=own)
    gate.offer(1)

    assert gate.enter(anything, charges) == 1
    assert charges.times == 0


def test_who_makes_one_beside_a_stalled_leader_is_charged_with_its_failure():
    """Each failure since it came counts once, its own and the other one's: N cost no more than one."""
    clock = Clock(0.0)
    beside = sharing()
    gate, permit, own, (waiter,) = led(beside, clock=clock)
    clock.now = STALLED + 0.25
    gate.look(waiter)
    permit.failed("the leader's", charges=own)
    waiter.granted.failed("its own", charges=beside)

    assert told(gate.enter(anything, own)) == ["its own"]
    assert told(gate.enter(anything, beside)) != [None]


def test_a_fatal_failure_is_told_to_all_at_once():
    """Whoever shares or not: it repeats for everybody; and it charges nobody, and sets no pause."""
    charges, once = sharing(), alone()
    gate, permit, own, waiters = led(charges, once, None, pace=lambda _: 5.0)
    shared = permit.failed("refused", fatal=True, reset=False, charges=own)

    assert (shared, gate.pause()) == (False, 0.0)
    assert told(*waiters) == ["refused"] * 3
    assert (own.times, charges.times, once.times) == (0, 0, 0)
    assert granted(gate.enter(anything, charges)) == [True]


def test_a_fatal_failure_is_not_counted():
    """Who has met it and comes back is told of what fails after it."""
    gate, permit, own, _ = led()
    permit.failed("refused", fatal=True, charges=own)
    gate.enter(anything).failed("a reset")

    assert told(gate.enter(anything, own)) == ["a reset"]


def test_an_item_that_is_refused_late_ends_all_waiting():
    """The server has refused with its first response: it would refuse those that wait, too."""
    gate, permit, _, waiters = led(sharing(), alone(), None)
    permit.succeeded(1.0, proof=False)
    permit.refused("refused")

    assert told(*waiters) == ["refused", "refused", None]
    assert granted(*waiters) == [False, False, True]
    permit.closed()


@pytest.mark.parametrize(("after", "hears"), [(-10.0, True), (0.5, True), (1.5, False)])
@pytest.mark.parametrize("kind", [sharing, alone, lambda: None])
def test_a_refusal_lasts_for_who_began_about_then(kind, after, hears):
    """Calls of one start begin one after the other: they are told, not charged; who begins later may try."""
    clock, charges = Clock(100.0), kind()
    gate, permit, own, _ = led(clock=clock)
    permit.failed("refused", fatal=True, charges=own)
    clock.now = 200.0
    found = gate.enter(anything, charges, began=100.0 + after * HOLDS)

    assert told(found) == (["refused"] if hears else [None])
    assert granted(found) == [not hears]
    assert charges is None or charges.times == 0


def test_who_has_met_a_refusal_may_try_again(monkeypatch):
    """The same thread, at once: it may have loaded another certificate into its context."""
    monkeypatch.setattr(waiting, "get_ident", lambda: 1)
    clock = Clock(100.0)
    gate, permit, own, _ = led(clock=clock)
    permit.failed("refused", fatal=True, charges=own)

    assert granted(gate.enter(anything, sharing(), began=100.0)) == [True]


@pytest.mark.parametrize("how", ["proof", "a response"])
def test_proof_ends_a_refusal(how):
    """The server has accepted somebody since: what it refused before is no news."""
    gate, permit, own, _ = led(clock=Clock(100.0))
    permit.failed("refused", fatal=True, charges=own)
    permit = gate.enter(anything)
    permit.succeeded(1.0, proof=how == "proof")
    permit.proved()

    assert told(gate.enter(anything, own, began=90.0)) == [None]
    permit.closed()


@pytest.mark.parametrize("how", ["unused", "closed", "lost"])
def test_what_is_the_leaders_own_affair_charges_nobody(how):
    """Its time-out, its deadline, its death: it hands over, and the next leads at once."""
    followers = [sharing(), sharing()]
    gate, permit, own, waiters = led(*followers, pace=lambda _: 5.0)
    if how != "lost":
        getattr(permit, how)()
    del permit
    gc.collect()
    gate.look(waiters[1])

    assert granted(*waiters) == [True, False]
    assert [one.times for one in (own, *followers)] == [0, 0, 0]
    assert gate.pause() == 0.0


def test_after_proof_nobody_is_told():
    """The server accepts connections: a failure then is the affair of who met it."""
    gate = open_gate(maximum=1, pace=lambda _: 5.0)
    own, charges = sharing(), sharing()
    permit, waiter, once = (gate.enter(anything, one) for one in (own, charges, alone()))
    shared = permit.failed("a reset", charges=own)
    fatal = waiter.granted.failed("refused", fatal=True, charges=charges)
    late = gate.enter(anything, charges)
    once.granted.refused("refused")

    assert (shared, fatal, gate.pause()) == (False, False, 0.0)
    assert (own.times, charges.times) == (0, 0)
    assert granted(waiter, once) == [True, True]
    assert is_waiting(late)


@pytest.mark.parametrize("fatal", [False, True])
def test_after_proof_no_failure_is_kept(fatal):
    """With it would stay its traceback, and all that hangs on that."""
    gate, permit, _, _ = led()
    failure = Item(None)
    kept = weakref.ref(failure)
    permit.failed(failure, fatal=fatal)
    del failure
    before = kept() is not None
    gate.enter(anything).succeeded(1.0)
    gc.collect()

    assert (before, kept()) == (True, None)


def test_after_proof_nobody_is_charged_with_what_it_missed():
    """Who comes back when another has succeeded meanwhile goes on as everybody does."""
    charges = sharing()
    gate, permit, own, (waiter,) = led(charges, pace=lambda _: 0.0)
    gate.leave(waiter)
    permit.failed("a reset", charges=own)
    gate.enter(anything).succeeded(1.0)

    assert granted(gate.enter(anything, charges)) == [True]
    assert charges.times == 0


def paused(seconds=5.0):
    """Return a gate that pauses from now on, its clock, and the charges of who has failed."""
    clock = Clock(100.0)
    gate, permit, own, _ = led(sharing(), pace=lambda _: seconds, clock=clock)
    permit.failed("a reset", charges=own)
    return gate, clock, own


def test_nobody_that_is_held_connects_during_a_pause():
    """Neither who failed, nor who comes anew, eager or not; then the first of them."""
    gate, clock, own = paused()
    waiters = [gate.enter(nothing, own), gate.enter(nothing, sharing(), eager=True), gate.enter(nothing, own)]
    story = []
    for now in (100.0, 104.75, 105.0):
        clock.now = now
        gate.look(waiters[2])
        story.append((gate.pause(), granted(*waiters)))

    assert story == [(5.0, [False] * 3), (0.25, [False] * 3), (0.0, [False, True, False])]


FREE = pytest.mark.parametrize("kind", [lambda: sharing(paced=False), alone, lambda: None])


@FREE
def test_a_pause_holds_back_only_whom_it_paces(kind):
    """Others get a permit at once, or in front of those for whom something is new at its end."""
    gate, _, own = paused(seconds=0.25)
    waiters = [gate.enter(nothing, charges) for charges in (own, kind(), kind())]
    before = granted(*waiters), gate.nap(waiters[0]), gate.nap(waiters[2])
    waiters[1].unused()

    assert before == ([False, True, False], 0.25, LOOK_EVERY)
    assert (granted(*waiters), gate.pause()) == ([False, True, True], 0.25)


@FREE
def test_the_failure_of_whom_no_pause_holds_begins_none(kind):
    """All the same it is everybody's: those who wait are told, and who shares is charged with its own."""
    charges, follower = kind(), sharing()
    gate = Gate(pace=lambda _: 5.0)
    permit, waiter = gate.enter(anything, charges), gate.enter(anything, follower)
    paced = permit.failed("a reset", charges=charges)

    assert (paced, gate.pause(), told(waiter), follower.times) == (False, 0.0, ["a reset"], 1)
    assert charges is None or charges.times == charges.shares()
    assert granted(gate.enter(anything, follower)) == [True]


def test_the_end_of_a_pause_is_nothing_to_whom_it_does_not_hold():
    """It has waited for what others use from the beginning: after a mean handshake it takes any permit."""
    gate, first, own, _ = led(pace=lambda _: 0.75, clock=(clock := Clock(0.0)))
    first.succeeded(1.0, proof=False)
    gate.enter(nothing, own, eager=True).failed("a reset", charges=own)
    waiter = gate.enter(nothing)
    clock.now = 1.0
    gate.look(waiter)

    assert waiter.eager


def test_newcomers_do_not_overtake_at_the_end_of_a_pause():
    """Whoever is first to see that it is over lets in who has waited."""
    gate, clock, own = paused()
    waiter = gate.enter(anything, own)
    clock.now += 5.0
    late = gate.enter(anything, sharing(), eager=True)

    assert granted(waiter, late) == [True, False]


@pytest.mark.parametrize(("waited", "left"), [(0.125, 0.125), (0.25, 0.0), (0.5, 0.0)])
def test_a_nap_ends_with_the_pause(waited, left):
    """Nobody announces that it is over: each who waits looks then, at once if it ended before the nap."""
    gate, clock, own = paused(seconds=0.25)
    waiter = gate.enter(anything, own)
    clock.now += waited

    assert (gate.nap(waiter), gate.pause()) == (left, left)


def test_proof_ends_a_pause():
    """One that seemed to be accepted before has got its response: there is nothing to wait for."""
    gate, first, own, _ = led(pace=lambda _: 5.0, clock=Clock(0.0))
    first.succeeded(1.0, proof=False)
    permit, waiter = (gate.enter(nothing, charges, eager=True) for charges in (own, sharing()))
    permit.failed("a reset", charges=own)
    again = gate.enter(nothing, own, eager=True)
    before = gate.pause(), is_waiting(again)
    first.proved()

    assert told(waiter) == ["a reset"]
    assert before == (5.0, True)
    assert (gate.pause(), granted(again)) == (0.0, [True])


def test_the_pause_grows_with_what_a_call_was_charged_with():
    """The pace is asked for the first failure, then for the second, though another call meets it."""
    asked = []
    first, second = sharing(), sharing()
    gate = Gate(pace=lambda failures: asked.append(failures) or 0.0)
    for leader, follower in ((first, second), (second, first), (first, second)):
        permit, _ = gate.enter(anything, leader), gate.enter(anything, follower)
        permit.failed("a reset", charges=leader)

    assert asked == [1, 2, 3]
    assert (first.times, second.times) == (3, 3)


def test_who_is_alone_is_paced_too():
    """A sole caller's failures are counted, and the pool pauses in its place, longer each time."""
    gate, permit, own, _ = led(pace=float, clock=(clock := Clock(0.0)))
    story = []
    for _ in range(3):
        story.append((permit.failed("a reset", charges=own), gate.pause(), own.times))
        waiter = gate.enter(anything, own)
        held = is_waiting(waiter)
        clock.now += gate.pause()
        gate.look(waiter)
        permit = waiter.granted

    assert story == [(True, 1.0, 1), (True, 2.0, 2), (True, 3.0, 3)]
    assert (held, granted(permit)) == (True, [True])


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("who", ["failed", "told in the queue", "told at the entrance", "unpaced"])
def test_a_pause_that_is_left_over_holds_no_newcomer(who, over):
    """Nobody else would come at its end; the control: one is away that will, be it told or failed itself."""
    other = sharing(paced=who != "unpaced")
    gate, permit, own, (waiter,) = led(other, pace=lambda _: 5.0, clock=Clock(0.0))
    if who == "told at the entrance":
        gate.leave(waiter)
    permit.failed("a reset", charges=own)
    if who == "told at the entrance":
        gate.enter(anything, other)
    own.over, other.over = (over, True) if who == "failed" else (True, over)

    assert gate.pause() == 5.0
    assert granted(gate.enter(anything, sharing())) == [over]


def test_a_call_that_is_forgotten_is_not_away():
    """It need not say that it is over."""
    gate, permit, own = led(sharing(), pace=lambda _: 5.0)[:3]
    permit.failed("a reset", charges=own)
    own.over = True
    gc.collect()

    assert granted(gate.enter(anything, sharing())) == [True]


@pytest.mark.parametrize(("after", "times"), [(-10.0, 2), (0.5, 2), (1.5, 1), (2.5, 0), (None, 0)])
@pytest.mark.parametrize("paced", [False, True])
def test_a_failure_holds_for_who_began_about_then(paced, after, times):
    """Calls of one start begin one after the other: each is charged with what has failed just before."""
    clock, charges = Clock(100.0), sharing(paced)
    gate, permit, own, _ = led(clock=clock)
    permit.failed("first", charges=own)
    clock.now += HOLDS
    gate.enter(anything, own).failed("second", charges=own)
    began = None if after is None else 100.0 + after * HOLDS
    found = [gate.enter(anything, charges, began=began) for _ in range(times + 1)]

    assert told(*found) == ["second"] * times + [None]
    assert (charges.times, granted(found[-1])) == (times, [True])


def test_what_was_forgotten_is_not_told():
    """Who has missed it may find out for itself."""
    gate, _, _ = paused()
    gate.forget()

    assert not isinstance(gate.enter(anything, sharing(), began=90.0), Told)


def makings(callers, order, seconds=0.0, late=0):
    """Return how often each of several callers has made an item at a server that resets every one.

    Args:
        callers: for each its charges, and how often it repeats an attempt, another caller's failure included.
        order: who of those that do not wait goes on, step by step; at last the first of them.
        seconds: what each step takes; then those that wait look.
        late: how many of the last callers come only when they are called, as having begun just in time.
    """
    clock = Clock(0.0)
    gate = Gate(maximum=4, clock=clock, pace=lambda _: seconds / 4)
    early = len(callers) - late
    found = [gate.enter(anything, charges) for charges, _ in callers[:early]] + [None] * late
    left = [1 + limit for _, limit in callers]
    made = [0] * len(callers)
    for which in chain(order, repeat(0)):
        clock.now += seconds
        for waiter in filter(is_waiting, found):
            gate.look(waiter)
        ready = [number for number, attempts in enumerate(left) if attempts and not is_waiting(found[number])]
        if not ready:
            break
        number = ready[which % len(ready)]
        charges, _ = callers[number]
        outcome = found[number].wait(0) if isinstance(found[number], Waiter) else found[number]
        began = min(clock.now, HOLDS / 2) if number >= early else None
        found[number] = gate.enter(anything, charges, began=began) if outcome is None else None
        left[number] -= outcome is not None
        if isinstance(outcome, Permit):
            made[number] += 1
            outcome.failed(number, charges=charges)
        if not left[number] and charges is not None:
            charges.over = True

    assert not any(left), "who waits waits for nobody"
    return made


ORDERS = st.lists(st.integers(0, 7), max_size=120)
#: Whether each of several callers is paced by the pool.
PACED = st.lists(st.booleans(), min_size=1, max_size=8)


@given(paced=PACED, limit=st.integers(0, 6), order=ORDERS, late=st.integers(0, 7), tick=st.booleans())
@example(paced=[True] * 4, limit=3, order=[0] * 100, late=0, tick=False)
@example(paced=[True] * 4, limit=3, order=[7, 5, 3, 1] * 25, late=0, tick=True)
@example(paced=[True, False] * 4, limit=3, order=[0] * 4, late=7, tick=True)
def test_many_callers_cost_no_more_than_one(paced, limit, order, late, tick):
    """N callers that repeat k times cost a server that resets everything k + 1 connects in all."""
    callers = [(sharing(one), limit) for one in paced]
    made = makings(callers, order, seconds=tick / 1024, late=min(late, len(paced) - 1))

    assert sum(made) == limit + 1


@pytest.mark.parametrize("kind", [alone, lambda: None])
@given(count=st.integers(1, 8), limit=st.integers(0, 6), order=ORDERS)
def test_callers_that_share_nothing_cost_as_many_as_they_are(kind, count, limit, order):
    """The control: N callers that are not told of each other's failures cost N times that."""
    assert makings([(kind(), limit) for _ in range(count)], order) == [limit + 1] * count


@given(count=st.integers(1, 8), limit=st.integers(0, 6), order=ORDERS)
def test_stalled_handshakes_cost_no_more_than_run_beside_them(count, limit, order):
    """With one more let in each second, up to the maximum (4), only those that run at the end come on top."""
    made = makings([(sharing(), limit) for _ in range(count)], order, seconds=0.75)

    assert limit + 1 <= sum(made) <= limit + 4


@given(limits=st.lists(st.integers(0, 6), min_size=1, max_size=8), order=ORDERS)
def test_callers_cost_what_the_most_patient_of_them_does(limits, order):
    """With different limits, those with the smaller ones end earlier, and add nothing."""
    assert sum(makings([(sharing(), limit) for limit in limits], order)) == max(limits) + 1


@given(
    limits=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    singles=st.integers(1, 3),
    rank=st.integers(0, 5),
    order=ORDERS,
)
def test_who_has_one_attempt_makes_it_among_those_who_share(limits, singles, rank, order):
    """Wherever it stands: it has its one attempt, which takes one from the others."""
    callers = [(sharing(), limit) for limit in limits]
    callers[rank:rank] = [(alone(), 0) for _ in range(singles)]
    made = makings(callers, order)
    theirs = [count for (charges, _), count in zip(callers, made, strict=True) if not charges.shares()]

    assert theirs == [1] * singles
    assert max(limits) + 1 - singles <= sum(made) - singles <= max(limits) + 1


def test_a_waiting_thread_is_woken():
    """By an item, by a permit, by a failure; each by its own, and at once."""
    gate, leader, own, _ = led()
    waiters = [gate.enter(even), gate.enter(nothing, sharing()), gate.enter(nothing)]
    start = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(waiter.wait, LONG_TIMEOUT) for waiter in waiters]
        gate.offer(2)
        leader.failed("a reset", charges=own)
        found = [one.result(LONG_TIMEOUT) for one in waiting]

    assert found[:2] == [2, Told("a reset")]
    assert isinstance(found[2], Permit)
    assert time.monotonic() - start < LONG_TIMEOUT / 2


@dataclass
class Item:
    """What is made, and its membership."""

    permit: Permit


class Crowd:
    """Threads that make, fail, pass on, lose and give up in each other's way; it counts how many make one."""

    def __init__(self, gate, threads):
        """Begin with nobody."""
        self.gate = gate
        self.threads = threads
        self.together = threading.Barrier(threads)
        self.lock = threading.Lock()
        self.making = self.most = 0

    def run(self, steps):
        """Let each thread go so many steps; return whether all of them came to their end."""
        with ThreadPoolExecutor(self.threads) as pool:
            return all(pool.map(lambda seed: self.work(Random(seed), steps), range(self.threads)))

    def work(self, random, steps):
        """Be another caller at each step."""
        self.together.wait(LONG_TIMEOUT)
        return all(self.step(random) for _ in range(steps))

    def step(self, random):
        """Ask, use what is found, forget it; return whether anything came of it in time."""
        charges = random.choice([sharing(), alone(), None])
        impatient = random.random() < 0.1
        found = self.ask(random.choice([anything, anything, nothing]), charges, impatient)
        if isinstance(found, Permit):
            self.make(found, charges, random)
        elif isinstance(found, Item):
            self.use(found, random)
        return impatient or found is not None

    def ask(self, suits, charges, impatient):
        """Do as the shared pool does, with shorter naps: what was lost is found by who looks."""
        found = self.gate.enter(suits, charges)
        if not isinstance(found, Waiter):
            return found
        until = time.monotonic() + (0.001 if impatient else LONG_TIMEOUT)
        while found.wait(min(self.gate.nap(found), 0.005)) is None and time.monotonic() < until:
            self.gate.look(found)
        return self.gate.leave(found)

    def make(self, permit, charges, random):
        """Make one, in one of the ways it may end."""
        with self.lock:
            self.making += 1
            self.most = max(self.most, self.making)
        how = random.choice(["proof", "weak", "reset", "fatal", "unused", "closed", "lost"])
        with self.lock:
            self.making -= 1
        if how in ("proof", "weak"):
            permit.succeeded(0.001, how == "proof")
            self.use(Item(permit), random)
        elif how in ("reset", "fatal"):
            permit.failed(how, fatal=how == "fatal", charges=charges)
        elif how != "lost":
            getattr(permit, how)()

    def use(self, item, random):
        """Use one, and give it back, close it or lose it."""
        if random.random() < 0.3:
            item.permit.proved()
        how = random.choice(["offer", "offer", "closed", "lost"])
        if how == "closed" or (how == "offer" and self.gate.offer(item, 0.001) is not None):
            item.permit.closed()


@pytest.mark.parametrize(("threads", "steps"), [(8, 200), (200, 10)])
def test_threads_never_exceed_the_window(threads, steps):
    """On top of the account: all of them finish, never more than the maximum at once, and nothing is left."""
    gate = Gate(capacity=3, maximum=4, pace=lambda _: 0.001)
    crowd = Crowd(gate, threads)
    finished = crowd.run(steps)
    gate.take(anything)
    gc.collect()
    gate.look(Waiter(anything, None, False, 0.0))

    assert finished
    assert 1 <= crowd.most <= 4
    assert repr(gate).startswith("<Gate 0 idle of 0 open, 0 being made")
    assert repr(gate).endswith(", 0 waiting>")
