"""Those who wait at a gate: what they share of a cold start, what they are spared; threads come last."""

import gc
import itertools
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilient_transport.gate.cold_start import HOLDS
from resilient_transport.gate.gate import LOOK_EVERY, STALLED, Gate
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.waiter import Waiter
from tests.gate.values import (
    alone,
    anything,
    ask,
    elsewhere,
    even,
    led,
    let_in,
    look,
    nothing,
    open_gate,
    permitted,
    sharing,
    told,
)
from tests.retry.values import Clock
from tests.timeouts import LONG_TIMEOUT

#: Callers that take no part in a cold start.
APART = pytest.mark.parametrize("kind", [alone, lambda: None], ids=["alone", "unknown"])


@pytest.mark.parametrize("timeout", [None, -1, 0, LONG_TIMEOUT])
def test_a_waiter_has_what_was_granted(timeout):
    """However long it would have waited, and as often as it asks; None says that nothing was granted."""
    waiter = Waiter(anything)
    before = waiter.wait(0), waiter.wait(-1)
    waiter.grant(1)

    assert before == (None, None)
    assert (waiter.wait(timeout), waiter.wait(timeout), waiter.granted) == (1, 1, 1)


def test_a_waiting_thread_is_woken():
    """By an item, by a permit, by a failure; each by its own."""
    gate, leader, own, _ = led()
    waiters = [ask(gate, even), ask(gate, nothing, sharing()), ask(gate, nothing)]
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(waiter.wait, None) for waiter in waiters]
        gate.offer(2)
        leader.failed("a reset", caller=own)
        found = [one.result(LONG_TIMEOUT) for one in waiting]

    assert found[:2] == [2, "a reset"]
    assert isinstance(found[2], Permit)


class Handled:
    """A thread that waits, and a signal handler that grants it something at one line of that."""

    def __init__(self, waiter, line):
        """Begin."""
        self.waiter, self.left = waiter, line
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()
        while self._thread.is_alive() and not self.is_stuck():
            self._thread.join(0.01)

    def _wait(self):
        sys.settrace(self._strike)
        self.waiter.wait(0.001)
        sys.settrace(None)

    def _strike(self, frame, event, _):
        if event == "line" and frame.f_code.co_name != "_wait":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                self.waiter.grant(1)
                sys.settrace(self._strike)
        return self._strike

    def is_stuck(self):
        """Tell whether the handler waits for a lock that its own thread holds."""
        frame, names = sys._current_frames().get(self._thread.ident), set()
        while frame is not None:
            names.add(frame.f_code.co_name)
            frame = frame.f_back
        return {"wait", "_strike", "grant", "set", "__enter__"} <= names


def is_served_at_any_line(make):
    """Tell whether a waiter comes to its end, whatever line of waiting the handler strikes at."""
    for line in itertools.count(1):
        handled = Handled(make(), line)
        if handled.is_stuck() or handled.left > 0:
            break
    assert line > 1, "no line was struck"
    return not handled.is_stuck()


def test_who_waits_is_served_by_a_handler_of_its_own_thread():
    """A signal comes in the middle of `wait`, and its handler has a connection to give back."""
    assert is_served_at_any_line(lambda: Waiter(anything))


class WithEvent:
    """A waiter that leans on an Event."""

    def __init__(self):
        """Begin with nothing."""
        self.granted, self._event = None, threading.Event()

    def grant(self, what):
        """Take it, and wake who waits."""
        self.granted = what
        self._event.set()

    def wait(self, timeout):
        """Wait for it."""
        self._event.wait(timeout)


def test_an_event_would_hang():
    """The control: `Event.set` takes the lock that `Event.wait` holds."""
    assert not is_served_at_any_line(WithEvent)


def test_the_failure_of_a_cold_gate_is_everybodys():
    """All that wait and take part are told, and charged once; so is the leader, and the pool pauses."""
    followers = [sharing(), sharing()]
    gate, permit, own, waiters = led(*followers)
    paced = permit.failed("a reset", caller=own)

    assert paced is True
    assert told(*waiters) == ["a reset"] * 2
    assert [one.round for one in (own, *followers)] == [gate.cold_start.round] * 3 == [1] * 3


@APART
def test_who_takes_no_part_is_not_told_of_anothers_failure(kind):
    """It waits on, and makes its own attempt at once: the next permit is its, whatever the pause."""
    _, permit, own, waiters = led(sharing(), kind(), kind(), pace=lambda *_: 5.0)
    permit.failed("a reset", caller=own)

    assert told(*waiters) == ["a reset", None, None]
    assert permitted(*waiters) == [False, True, False]


@APART
def test_who_takes_no_part_fails_alone(kind):
    """It charges nobody, sets no pause, and the next in the queue leads; the control is above."""
    gate, leader = Gate(pace=lambda *_: 5.0), kind()
    permit, follower = let_in(gate, leader), sharing()
    waiters = [ask(gate, nothing, one) for one in (follower, sharing())]
    paced = permit.failed("its own", caller=leader)

    assert paced is False
    assert permitted(*waiters) == [True, False]
    assert (gate.cold_start.round, follower.round, gate.cold_start.is_paused(time.monotonic())) == (
        0,
        0,
        False,
    )


@APART
def test_who_takes_no_part_is_told_of_nothing_that_it_missed(kind):
    """Whenever it began, whoever waits: it asks, and gets a permit."""
    clock = Clock(100.0)
    gate, permit, own, _ = led(pace=lambda *_: 5.0, clock=clock)
    permit.failed("a reset", caller=own)
    held = ask(gate, nothing, own)

    assert permitted(held, ask(gate, nothing, kind(), began=0.0)) == [False, True]


def test_whether_a_call_takes_part_is_asked_whenever_it_matters():
    """A limit that somebody has changed counts from then on."""
    limit = [True]
    caller = sharing()
    caller.shares = lambda: limit[0]
    gate, permit, own, (waiter,) = led(caller, pace=lambda *_: 5.0)
    permit.failed("first", caller=own)
    limit[0] = False
    again = ask(gate, nothing, caller)
    paced = again.granted.failed("second", caller=caller)

    assert told(waiter) == ["first"]
    assert (permitted(again), paced, gate.cold_start.round) == ([True], False, 1)


def test_each_missed_round_is_told_once():
    """Who is on its way back while others fail is charged with each as it comes, then gets in."""
    late, second, third = sharing(), sharing(), sharing()
    gate, permit, own, _ = led(late, second, third)
    permit.failed("first", caller=own)
    for failure, caller in (("second", second), ("third", third)):
        if caller is third:
            assert told(ask(gate, anything, third)) == ["second"]
        ask(gate, anything, caller).granted.failed(failure, caller=caller)
    found = [ask(gate, anything, late) for _ in range(3)]

    assert told(*found) == ["third", "third", None]
    assert permitted(found[2]) == [True]
    assert (late.round, late.joined) == (3, 0)


def test_who_failed_itself_is_not_told_so_again():
    """It has had its exception; when it comes back it may try again."""
    gate, permit, own, _ = led(sharing())
    permit.failed("a reset", caller=own)

    assert permitted(ask(gate, anything, own)) == [True]


def test_another_gate_is_another_cold_start():
    """A call that goes on to another server has missed nothing there, and was charged with nothing."""
    caller = sharing()
    _, permit, own, _ = led(caller)
    permit.failed("a reset", caller=own)
    before = caller.round - caller.joined
    another, leader, its_own, _ = led(clock=(clock := Clock(0.0)))
    leader.failed("another", caller=its_own)
    clock.now = 1.0

    assert (before, permitted(ask(another, anything, caller))) == (1, [True])
    assert caller.round - caller.joined == 0


def test_an_idle_item_is_taken_before_a_failure_is_told():
    """What works needs no history."""
    caller = sharing()
    gate, permit, own, (waiter,) = led(caller)
    gate.leave(waiter)
    permit.failed("a reset", caller=own)
    gate.offer(1)

    assert ask(gate, anything, caller).granted == 1
    assert caller.round == 0


def test_two_leaders_at_once_end_one_round_together():
    """One has stalled, and another runs beside it: whoever fails first charges all, the other nobody."""
    clock = Clock(0.0)
    beside, follower = sharing(), sharing()
    gate, permit, own, (second, third) = led(beside, follower, clock=clock, pace=lambda *_: 0.5)
    clock.now = STALLED
    look(gate)
    clock.now += 0.125
    story = [second.granted.failed("its own", caller=beside)]
    waiting = ask(gate, anything, follower)
    clock.now += 0.125
    story.append(permit.failed("the stalled one's", caller=own))

    assert story == [True, True]
    assert (told(third), gate.cold_start.last_failure) == (["its own"], "its own")
    assert [one.round for one in (own, beside, follower)] == [gate.cold_start.round] * 3 == [1] * 3
    assert (waiting.granted, gate.nap(waiting)) == (None, (0.375, True))


def test_the_next_leader_ends_the_next_round():
    """The control: it was let in when the round had ended."""
    gate, permit, own, _ = led(clock=Clock(0.0))
    permit.failed("first", caller=own)
    let_in(gate, own).failed("second", caller=own)

    assert (gate.cold_start.round, own.round) == (2, 2)


def test_a_fatal_failure_is_told_to_all_at_once():
    """Whoever takes part or not: it repeats for everybody; it charges nobody, and sets no pause."""
    caller = sharing()
    gate, permit, own, waiters = led(caller, alone(), None, pace=lambda *_: 5.0)
    paced = permit.failed("refused", fatal=True, reset=False, caller=own)

    assert paced is False
    assert told(*waiters) == ["refused"] * 3
    assert (own.round, caller.round) == (0, 0)
    assert permitted(ask(gate, anything, caller)) == [True]


@APART
def test_a_fatal_failure_is_everybodys_whoever_meets_it(kind):
    """It does not matter whether that one takes part."""
    gate, leader = Gate(), kind()
    permit, waiter = let_in(gate, leader), ask(gate, nothing, sharing())
    permit.failed("refused", fatal=True, caller=leader)

    assert told(waiter) == ["refused"]


def test_nobody_is_charged_with_a_fatal_failure_as_with_a_round():
    """Who is away while a round ends, and comes when another has met a certificate, may have a better one."""
    clock, away = Clock(100.0), sharing()
    gate, permit, own, (waiter,) = led(away, clock=clock)
    gate.leave(waiter)
    permit.failed("a reset", caller=own)
    let_in(gate, own).failed("refused", fatal=True, caller=own)
    clock.now += 1

    assert permitted(ask(gate, anything, away, began=clock.now)) == [True]


def test_an_item_that_is_refused_late_ends_all_waiting():
    """The server has refused with its first response: it would refuse those that wait, too."""
    gate, permit, _, waiters = led(sharing(), alone(), None)
    permit.succeeded(proof=False)
    permit.refused("refused")

    assert told(*waiters) == [None, "refused", "refused"]
    assert permitted(*waiters) == [True, False, False]
    permit.closed()


@pytest.mark.parametrize(("after", "is_told"), [(-10.0, True), (0.5, True), (1.5, False)])
@pytest.mark.parametrize("kind", [sharing, alone, lambda: None])
def test_a_refusal_holds_for_calls_of_the_same_start(kind, after, is_told):
    """Those that began up to 50 ms after it are told, and not charged; who begins later may try."""
    clock, caller = Clock(100.0), kind()
    gate, permit, own, _ = led(clock=clock)
    elsewhere(lambda: permit.failed("refused", fatal=True, caller=own))
    clock.now = 130.0
    found = ask(gate, anything, caller, began=100.0 + after * HOLDS)

    assert told(found) == (["refused"] if is_told else [None])
    assert permitted(found) == [not is_told]
    assert caller is None or caller.round == 0


def test_who_has_met_a_refusal_may_try_again():
    """The same thread, at once: it may have loaded another certificate; the control is another thread."""
    gate, permit, own, _ = led(clock=Clock(100.0))
    permit.failed("refused", fatal=True, caller=own)
    another = elsewhere(lambda: ask(gate, anything, sharing(), began=100.0))

    assert told(another) == ["refused"]
    assert permitted(ask(gate, anything, sharing(), began=100.0)) == [True]


@pytest.mark.parametrize("how", ["proof", "a response"])
def test_proof_ends_a_refusal(how):
    """The server has accepted somebody since: what it refused before is no news."""
    gate, permit, own, _ = led(clock=(clock := Clock(100.0)))
    elsewhere(lambda: permit.failed("refused", fatal=True, caller=own))
    clock.now += 1
    permit = let_in(gate)
    permit.succeeded(proof=how == "proof")
    before = told(ask(gate, anything, None, began=90.0))
    permit.proved()

    assert before == ([None] if how == "proof" else ["refused"])
    assert told(ask(gate, anything, own, began=90.0)) == [None]
    permit.closed()


@pytest.mark.parametrize("how", ["unused", "closed", "lost"])
def test_what_is_the_leaders_own_affair_charges_nobody(how):
    """Its time-out, its deadline, its death: it hands over, and the next leads at once."""
    followers = [sharing(), sharing()]
    gate, permit, own, waiters = led(*followers, pace=lambda *_: 5.0, clock=Clock(0.0))
    if how != "lost":
        getattr(permit, how)()
    del permit
    gc.collect()
    look(gate)

    assert permitted(*waiters) == [True, False]
    assert [one.round for one in (own, *followers)] == [gate.cold_start.round] * 3 == [0] * 3
    assert gate.nap(waiters[1])[1] is False


def test_a_proven_gate_tells_nobody():
    """The server accepts connections: a failure then is the affair of who met it."""
    gate = open_gate(maximum=1, pace=lambda *_: 5.0, clock=Clock(100.0))
    own, caller = sharing(), sharing()
    permit = let_in(gate, own)
    waiter, once = ask(gate, nothing, caller), ask(gate, nothing, alone())
    paced = permit.failed("a reset", caller=own)
    fatal = elsewhere(lambda: waiter.granted.failed("refused", fatal=True, caller=caller))
    late = ask(gate, anything, caller, began=90.0)
    once.granted.refused("refused")

    assert (paced, fatal) == (False, False)
    assert (gate.cold_start.round, gate.cold_start.last_failure) == (0, None)
    assert permitted(waiter, once, late) == [True, True, False]
    assert told(late) == [None]


def test_a_failure_after_success_is_nobodys():
    """The item was made: what becomes of it later is not told to those who wait."""
    caller = sharing()
    gate, permit, own, (waiter,) = led(caller)
    permit.succeeded(proof=False)

    assert permit.failed("late", caller=own) is False
    assert (told(waiter), caller.round, gate.window.doubted) == ([None], 0, False)
    permit.closed()


@pytest.mark.parametrize("fatal", [False, True])
def test_after_proof_no_failure_is_kept(fatal):
    """With it would stay whatever hangs on it."""
    gate, permit, own, _ = led()
    failure = Item(None)
    kept = weakref.ref(failure)
    permit.failed(failure, fatal=fatal, caller=own)
    del failure
    before = kept() is not None
    let_in(gate).succeeded()
    gc.collect()

    assert (before, kept()) == (True, None)


def test_after_proof_nobody_is_charged_with_what_it_missed():
    """Who comes back when another has succeeded meanwhile goes on as everybody does."""
    caller = sharing()
    gate, permit, own, (waiter,) = led(caller)
    gate.leave(waiter)
    permit.failed("a reset", caller=own)
    let_in(gate).succeeded()

    assert permitted(ask(gate, anything, caller)) == [True]
    assert caller.round == 0


def test_who_waits_is_not_told_of_nothing():
    """A failure without a word ends a round, and leaves those who wait where they are."""
    gate, permit, own, (waiter,) = led(sharing())
    permit.failed(caller=own)

    assert gate.cold_start.round == 1
    assert permitted(waiter) == [True]


def paused(seconds=5.0):
    """Return a gate that pauses from now on, its clock, and its leader, which has failed."""
    clock = Clock(100.0)
    gate, permit, own, _ = led(pace=lambda *_: seconds, clock=clock)
    permit.failed("a reset", caller=own)
    return gate, clock, own


def test_nobody_that_takes_part_connects_during_a_pause():
    """Neither the leader itself, nor who was told; then the first of them."""
    clock, follower = Clock(100.0), sharing()
    gate, permit, own, _ = led(follower, pace=lambda *_: 5.0, clock=clock)
    permit.failed("a reset", caller=own)
    waiters = [ask(gate, nothing, own), ask(gate, nothing, follower)]
    story = []
    for now in (100.0, 104.75, 105.0):
        clock.now = now
        look(gate)
        story.append((gate.nap(waiters[1]), permitted(*waiters)))

    assert story == [
        ((LOOK_EVERY, True), [False, False]),
        ((0.25, True), [False, False]),
        ((LOOK_EVERY, False), [True, False]),
    ]


@APART
def test_a_pause_holds_back_only_whom_it_paces(kind):
    """Others get a permit at once, or in front of those for whom something is new at its end."""
    gate, _, own = paused(seconds=0.25)
    waiters = [ask(gate, nothing, caller) for caller in (own, kind(), kind())]
    before = permitted(*waiters), gate.nap(waiters[0]), gate.nap(waiters[2])
    waiters[1].granted.unused()

    assert before == ([False, True, False], (0.25, True), (LOOK_EVERY, False))
    assert permitted(*waiters) == [False, True, True]


def test_a_newcomer_is_let_through_where_nobody_waits_out_the_pause():
    """Nobody would come at its end: the calls that it was for are over."""
    gate, clock, _ = paused()
    clock.now += 2 * HOLDS
    newcomer = sharing()

    assert gate.cold_start.is_paused(clock.now)
    assert permitted(ask(gate, nothing, newcomer, began=clock.now)) == [True]
    assert newcomer.round == newcomer.joined == 1


@pytest.mark.parametrize("others", ["waiting", "connecting"])
def test_a_newcomer_shares_the_pause_that_others_wait_out(others):
    """It is charged with that round, and held; the control is above."""
    gate, clock, own = paused()
    clock.now += 2 * HOLDS
    busy = ask(gate, nothing, own) if others == "waiting" else let_in(gate)
    newcomer = sharing()
    found = [ask(gate, nothing, newcomer, began=clock.now) for _ in range(2)]

    assert told(*found) == ["a reset", None]
    assert (newcomer.joined, newcomer.round, gate.nap(found[1])[1]) == (0, 1, True)
    del busy


@pytest.mark.parametrize(("after", "is_told"), [(-10.0, True), (0.5, True), (1.5, False), (None, False)])
def test_a_failure_holds_for_calls_of_the_same_start(after, is_told):
    """Those that began up to 50 ms after it are charged with its round, though nobody waits, and paused."""
    gate, clock, _ = paused()
    clock.now += 2 * HOLDS
    caller = sharing()
    began = None if after is None else 100.0 + after * HOLDS
    found = [ask(gate, nothing, caller, began=began) for _ in range(1 + is_told)]

    assert told(*found) == ["a reset"] * is_told + [None]
    assert (permitted(found[-1]), caller.joined) == ([not is_told], 1 - is_told)


def test_newcomers_do_not_overtake_at_the_end_of_a_pause():
    """Whoever is first to see that it is over lets in who has waited."""
    gate, clock, own = paused()
    waiter = ask(gate, nothing, own)
    clock.now += 5.0
    late = ask(gate, nothing, sharing(), began=clock.now)

    assert permitted(waiter, late) == [True, False]


def test_proof_ends_a_pause():
    """One that seemed to be accepted before has got its response: there is nothing to wait for."""
    gate, first, own, _ = led(pace=lambda *_: 5.0, clock=Clock(0.0))
    first.succeeded(proof=False)
    permit, follower = let_in(gate, own), sharing()
    waiter = ask(gate, nothing, follower)
    permit.failed("a reset", caller=own)
    again = ask(gate, nothing, own)
    before = permitted(again), gate.nap(again)
    first.proved()

    assert told(waiter) == ["a reset"]
    assert before == ([False], (LOOK_EVERY, True))
    assert permitted(again) == [True]


def test_the_pause_grows_with_what_the_leader_was_charged_with():
    """The pace is asked for the first failure, then for the second, though another call meets it."""
    asked = []
    callers = [sharing(), sharing()]
    gate = Gate(pace=lambda failures, reset: asked.append((failures, reset)) or 0.0)
    for reset in (True, False, True):
        waiters = [ask(gate, nothing, caller) for caller in callers]
        waiters[0].granted.failed("a failure", reset=reset, caller=callers[0])
        callers.reverse()

    assert asked == [(1, True), (2, False), (3, True)]
    assert [caller.round for caller in callers] == [3, 3]


def test_a_newcomer_begins_with_the_shortest_pause():
    """The control: the rounds before it came are not its own."""
    asked = []
    clock, late = Clock(0.0), sharing()
    gate, permit, own, _ = led(pace=lambda failures, _: asked.append(failures) or 0.0, clock=clock)
    permit.failed("first", caller=own)
    let_in(gate, own).failed("second", caller=own)
    clock.now = 1.0
    let_in(gate, late).failed("third", caller=late)

    assert asked == [1, 2, 1]


def test_who_is_in_a_hurry_waits_out_no_pause():
    """Half of its time is over: it gets a permit all the same."""
    gate, _, own = paused()
    waiter = ask(gate, nothing, own)
    gate.look(waiter, urgent=True)

    assert permitted(waiter) == [True]


def test_what_was_forgotten_is_not_told_and_slows_nobody():
    """Who has missed it may find out for itself; the control: before, it was told."""
    gate, _, own = paused()
    held, early, late = ask(gate, nothing, own), sharing(), sharing()
    before = told(ask(gate, nothing, early, began=90.0))
    gate.forget()
    look(gate)

    assert before == ["a reset"]
    assert permitted(held) == [True]
    assert told(ask(gate, nothing, late, began=90.0)) == [None]


@pytest.mark.parametrize("jump", [1.7e9, -1.7e9])
def test_a_clock_that_jumps_ends_the_pause(jump):
    """freezegun begins or ends: who waits is let in, and its failure ends the next round."""
    gate, clock, own = paused()
    waiter = ask(gate, nothing, own)
    clock.now += jump
    nap = gate.nap(waiter)
    look(gate)
    was_let_in = permitted(waiter)
    paced = waiter.granted.failed("another", caller=own)

    assert (nap, was_let_in, paced) == ((LOOK_EVERY, False), [True], True)
    assert gate.cold_start.round == 2
    assert ask(gate, nothing, own).granted is None


def makings(callers, order, *, seconds=0.0, late=0, pause=0.0):
    """Return how often each of several callers has made an item at a server that resets every one.

    Args:
        callers: for each its `Caller`, and how often it repeats an attempt, a shared failure included.
        order: who of those that do not wait goes on, step by step; at last the first of them.
        seconds: what each step takes; then those that wait look.
        late: how many of the last callers come only when they are called.
        pause: between two rounds, in seconds.
    """
    clock = Clock(0.0)
    gate = Gate(maximum=4, clock=clock, pace=lambda failures, reset: pause)
    early = len(callers) - late
    found = [ask(gate, nothing, caller) for caller, _ in callers[:early]] + [None] * late
    left = [1 + limit for _, limit in callers]
    made = [0] * len(callers)
    for which in itertools.chain(order, itertools.repeat(0)):
        clock.now += seconds
        look(gate)
        waiting = [waiter is not None and waiter.granted is None for waiter in found]
        ready = [number for number, attempts in enumerate(left) if attempts and not waiting[number]]
        if not any(left):
            return made
        if not ready:
            assert gate.cold_start.is_paused(clock.now), "who waits waits for nobody"
            clock.now += pause
            continue
        number = ready[which % len(ready)]
        caller, _ = callers[number]
        if found[number] is None:
            found[number] = ask(gate, nothing, caller, began=clock.now)
            continue
        outcome, found[number] = found[number].granted, None
        left[number] -= 1
        if isinstance(outcome, Permit):
            made[number] += 1
            outcome.failed(number + 1, caller=caller)
    return None


ORDERS = st.lists(st.integers(0, 7), max_size=120)
LIMIT = st.integers(0, 6)
LIMITS = st.lists(LIMIT, min_size=1, max_size=6)
COUNT = st.integers(1, 8)
PAUSE = st.sampled_from([0.0, 1 / 64, 1 / 4])


@given(count=COUNT, limit=LIMIT, order=ORDERS, tick=st.booleans(), pause=PAUSE)
@example(count=4, limit=3, order=[0] * 100, tick=False, pause=0.0)
@example(count=4, limit=3, order=[7, 5, 3, 1] * 25, tick=True, pause=0.25)
def test_many_callers_cost_no_more_than_one(count, limit, order, tick, pause):
    """N callers that repeat k times cost a server that resets everything k + 1 connects in all."""
    made = makings([(sharing(), limit) for _ in range(count)], order, seconds=tick / 1024, pause=pause)

    assert sum(made) == limit + 1


@APART
@given(count=COUNT, limit=LIMIT, order=ORDERS, pause=PAUSE)
def test_callers_that_share_nothing_cost_as_many_as_they_are(kind, count, limit, order, pause):
    """The control: N callers that are not told of each other's failures cost N times that."""
    made = makings([(kind(), limit) for _ in range(count)], order, pause=pause)

    assert made == [limit + 1] * count


@given(limits=LIMITS, order=ORDERS, pause=PAUSE)
def test_callers_cost_what_the_most_patient_of_them_does(limits, order, pause):
    """With different limits, those with the smaller ones end earlier, and add nothing."""
    assert sum(makings([(sharing(), limit) for limit in limits], order, pause=pause)) == max(limits) + 1


@given(limits=LIMITS, others=LIMITS, rank=st.integers(0, 6), order=ORDERS, pause=PAUSE)
def test_callers_are_charged_beside_others_as_without_them(limits, others, rank, order, pause):
    """Wherever those that take no part stand, and however often they try: neither side notices the other."""
    callers = [(sharing(), limit) for limit in limits]
    callers[rank:rank] = [(alone(), limit) for limit in others]
    made = makings(callers, order, pause=pause)
    apart = [count for (caller, _), count in zip(callers, made, strict=True) if not caller.shares()]

    assert apart == [limit + 1 for limit in others]
    assert sum(made) - sum(apart) == max(limits) + 1
    assert all(caller.round <= caller.joined + limit + 1 for caller, limit in callers if caller.shares())


@given(count=COUNT, late=st.integers(0, 7), limit=LIMIT, order=ORDERS, tick=st.booleans(), pause=PAUSE)
def test_callers_that_come_late_cost_what_the_last_round_that_they_join_says(
    count, late, limit, order, tick, pause
):
    """Who has joined a round goes on with the others: nobody costs more than its own limit after it."""
    callers = [(sharing(), limit) for _ in range(count)]
    made = makings(callers, order, seconds=tick / 1024, late=min(late, count - 1), pause=pause)

    assert sum(made) == max(caller.joined for caller, _ in callers) + limit + 1


@given(count=COUNT, late=st.integers(0, 7), limit=LIMIT, order=ORDERS)
def test_callers_of_one_start_cost_no_more_than_one_of_them(count, late, limit, order):
    """Though they begin one after the other, and rounds have ended before the last of them begins."""
    callers = [(sharing(), limit) for _ in range(count)]
    made = makings(callers, order, seconds=HOLDS / 1024, late=min(late, count - 1))

    assert sum(made) == limit + 1


@given(count=COUNT, limit=LIMIT, order=ORDERS)
def test_stalled_connects_cost_nobody_more_than_its_own(count, limit, order):
    """With one more let in each second, those that run at once fail together, each once a round."""
    made = makings([(sharing(), limit) for _ in range(count)], order, seconds=0.75)

    assert sum(made) >= limit + 1
    assert max(made) <= limit + 1


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
        for _ in range(steps):
            self.step(random)
        return True

    def step(self, random):
        """Ask, use what is found, forget it."""
        caller = random.choice([sharing(), alone(), None])
        suits = random.choice([anything, anything, nothing])
        found = self.ask(Waiter(suits, caller, time.monotonic()), random.random() < 0.1)
        if isinstance(found, Permit):
            self.make(found, caller, random)
        elif isinstance(found, Item):
            self.use(found, random)

    def ask(self, waiter, impatient):
        """Do as the shared pool does, with shorter naps: what was lost is found by who looks."""
        found = self.gate.enter(waiter)
        while found is None:
            found = waiter.wait(min(self.gate.nap(waiter)[0], 0.005))
            if found is None and impatient:
                return self.gate.leave(waiter)
            self.gate.look(waiter)
        return found

    def make(self, permit, caller, random):
        """Make one, in one of the ways it may end."""
        with self.lock:
            self.making += 1
            self.most = max(self.most, self.making)
        how = random.choice(["proof", "silent", "reset", "fatal", "unused", "closed", "lost"])
        with self.lock:
            self.making -= 1
        if how in ("proof", "silent"):
            permit.succeeded(how == "proof")
            self.use(Item(permit), random)
        elif how in ("reset", "fatal"):
            permit.failed(how, fatal=how == "fatal", caller=caller)
        elif how != "lost":
            getattr(permit, how)()

    def use(self, item, random):
        """Use one, and give it back, close it or lose it."""
        if random.random() < 0.3:
            item.permit.proved()
        how = random.choice(["offer", "offer", "closed", "lost"])
        if how == "closed" or (how == "offer" and self.gate.offer(item) is not None):
            item.permit.closed()


@pytest.mark.parametrize(("threads", "steps"), [(8, 200), (100, 10)])
def test_threads_never_exceed_the_window(threads, steps):
    """On top of the account: all of them finish, never more than the maximum at once, and nothing is left."""
    # Nothing stalls, however slow the machine is.
    clock = Clock(0.0)
    gate = Gate(capacity=3, maximum=4, clock=clock)
    crowd = Crowd(gate, threads)
    finished = crowd.run(steps)
    gate.take_out(anything)
    gc.collect()
    look(gate)

    assert finished
    assert 1 <= crowd.most <= 4
    assert repr(gate).startswith("<Gate 0 idle of 0 open, 0 being made")
    assert repr(gate).endswith(", 0 waiting>")
