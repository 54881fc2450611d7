"""Who gets an idle item, who gets leave to make one, and who waits: values in and values out, no sockets.

What those who wait share of a cold start is in `test_waiter.py`; interrupts and handlers in the middle of the
bookkeeping are in `test_interrupts.py`.
"""

import itertools
from contextlib import nullcontext

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resilient_transport.gate import gate as gates
from resilient_transport.gate.caller import Caller
from resilient_transport.gate.cold_start import HOLDS
from resilient_transport.gate.gate import LOOK_EVERY, STALLED, Gate
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.waiter import Waiter
from resilient_transport.gate.window import MOST_STALLED, Window
from tests.gate.values import (
    anything,
    ask,
    elsewhere,
    even,
    filled,
    let_in,
    look,
    nothing,
    open_gate,
    permitted,
)
from tests.retry.values import Clock


def test_the_newest_idle_item_is_taken_first():
    """Last in, first out: the old ones grow older, and can be closed."""
    gate = filled(1, 2, 3)

    assert [ask(gate).granted for _ in range(3)] == [3, 2, 1]
    assert permitted(ask(gate)) == [True]


@pytest.mark.parametrize("how", ["enter", "take"])
def test_only_a_suitable_item_is_taken(how):
    """The newest that suits; the others stay, in their order."""
    gate = filled(1, 2, 3, 4, 5)
    found = ask(gate, even).granted if how == "enter" else gate.take(even)

    assert (found, gate.idle()) == (4, [1, 2, 3, 5])
    assert permitted(ask(gate, nothing)) == [True]
    assert gate.take(nothing) is None


def test_an_item_is_taken_before_a_permit():
    """Nothing is made while an item lies there that suits."""
    gate = filled(1)

    assert ask(gate).granted == 1
    assert repr(gate) == "<Gate 0 idle of 0 open, 0 being made of 1 allowed, 0 waiting>"


def test_an_item_is_granted_that_is_false():
    """Whatever it is: the gate does not look into it."""
    gate = filled(0)

    assert ask(gate).granted == 0
    assert gate.idle() == []


def test_a_free_permit_is_taken_at_once():
    """However many items are open, and may soon be idle: whichever comes first, as in Go's transport."""
    gate = open_gate(maximum=3)
    let_in(gate).succeeded()
    found = [ask(gate) for _ in range(4)]

    assert permitted(*found) == [True, True, True, False]
    assert repr(gate) == "<Gate 0 idle of 0 open, 3 being made of 3 allowed, 1 waiting>"


def test_a_cold_gate_grants_one_permit():
    """The control: who comes second waits for the first one's outcome."""
    gate = Gate()
    found = [ask(gate) for _ in range(2)]

    assert permitted(*found) == [True, False]
    assert repr(gate) == "<Gate 0 idle of 0 open, 1 being made of 1 allowed, 1 waiting>"


def test_an_offered_item_goes_to_who_has_waited_longest():
    """First in, first out, among those whom it suits."""
    gate = Gate()
    leader = let_in(gate)
    picky, first, second = ask(gate, nothing), ask(gate, even), ask(gate, even)
    story = [(gate.offer(item), first.granted, second.granted, gate.idle()) for item in (2, 3, 4)]
    leader.closed()

    assert story == [(None, 2, None, []), (None, 2, None, [3]), (None, 2, 4, [3])]
    assert permitted(picky) == [True]


def test_a_permit_goes_to_who_has_waited_longest():
    """In the order in which they came, whatever would suit them."""
    gate = Gate()
    leader = let_in(gate)
    first, second = ask(gate, nothing), ask(gate)
    leader.unused()

    assert permitted(first, second) == [True, False]


def test_nobody_overtakes_the_queue():
    """A permit that was lost is found by who comes next, and goes to who was there before."""
    gate = Gate()
    leader = let_in(gate)
    waiter = ask(gate)
    del leader
    late = ask(gate)

    assert permitted(waiter, late) == [True, False]


def test_who_gives_up_waits_no_longer():
    """Nothing is granted to the one who left, and the next in the queue is served."""
    gate = Gate()
    leader = let_in(gate)
    gone, stays = ask(gate), ask(gate)
    left = gate.leave(gone)
    gate.offer(1)
    leader.unused()

    assert left is None
    assert (gone.granted, stays.granted) == (None, 1)
    assert repr(gate) == "<Gate 0 idle of 0 open, 0 being made of 1 allowed, 0 waiting>"


def test_an_item_granted_in_the_moment_of_leaving_is_not_lost():
    """The time ran out and the grant came before the queue was left: it belongs to who leaves."""
    gate = Gate()
    leader = let_in(gate)
    waiter = ask(gate)
    gate.offer(1)

    assert gate.leave(waiter) == 1
    assert gate.idle() == []
    leader.unused()


def test_a_permit_granted_in_the_moment_of_leaving_is_not_lost():
    """The same for a permit: who leaves can settle it, and the next one is served."""
    gate = Gate()
    leader = let_in(gate)
    leaving, stays = ask(gate), ask(gate)
    leader.unused()
    permit = gate.leave(leaving)
    waited = permitted(stays)
    permit.unused()

    assert waited == [False]
    assert permitted(stays) == [True]


def test_to_leave_twice_does_no_harm():
    """What was granted is told again, and the queue is as it was."""
    gate = Gate()
    leader = let_in(gate)
    waiter, other = ask(gate), ask(gate)
    gate.leave(waiter)

    assert gate.leave(waiter) is None
    assert (gate.waiting(), other.granted) == (1, None)
    leader.unused()


def test_what_is_beyond_the_capacity_comes_back():
    """For the caller to close: the gate closes nothing."""
    gate = Gate(capacity=2)
    back = [gate.offer(number) for number in (1, 2, 3)]
    gate.capacity = 3

    assert back == [None, None, 3]
    assert gate.offer(3) is None
    assert gate.idle() == [1, 2, 3]


def test_a_waiter_is_served_beyond_the_capacity():
    """The control: what is wanted is not idle."""
    gate = Gate(capacity=0)
    leader = let_in(gate)
    waiter = ask(gate)

    assert (gate.offer(1), waiter.granted) == (None, 1)
    assert gate.offer(2) == 2
    leader.unused()


def test_idle_items_are_taken_out_by_a_predicate():
    """The oldest first; the others stay as they were."""
    gate = filled(1, 2, 3, 4)

    assert gate.take_out(even) == [2, 4]
    assert gate.take_out(even) == []
    assert gate.take_out(anything) == [1, 3]
    assert gate.idle() == []


@pytest.mark.parametrize(("how", "given_up"), [("give_up_idle", []), ("abandon", [1, 2])])
def test_idle_items_are_given_up_without_waiting(how, given_up):
    """A finaliser leaves them if another thread is in the gate; a forked child knows that none is."""
    gate = filled(1, 2)
    with gate.inbox.lock:
        meanwhile = elsewhere(getattr(gate, how))
    rest = getattr(gate, how)()

    assert meanwhile == given_up
    assert (meanwhile + rest, gate.idle()) == ([1, 2], [])


def test_a_lease_changes_how_many_are_made_and_kept():
    """From then on; what is being made goes on."""
    gate = open_gate(maximum=4)
    permits = [let_in(gate) for _ in range(3)]
    with gate.inbox.lock:
        gate.allow(2, 1)
    waiter = ask(gate, nothing)
    before = permitted(waiter)
    permits.pop().unused()
    between = permitted(waiter)
    permits.pop().unused()

    assert (before, between, permitted(waiter)) == ([False], [False], [True])
    assert [gate.offer(number) for number in (1, 2)] == [None, 2]


def test_the_first_success_wakes_everyone():
    """The window opens, and all who waited may make their own, as far as it is wide."""
    gate = Gate(maximum=3)
    leader = let_in(gate)
    waiters = [ask(gate) for _ in range(5)]
    leader.succeeded()

    assert permitted(*waiters) == [True, True, True, False, False]
    assert repr(gate) == "<Gate 0 idle of 1 open, 3 being made of 3 allowed, 2 waiting>"


def test_a_reset_of_a_cold_gate_wakes_one():
    """The control: the next one tries, alone."""
    gate = Gate(maximum=3)
    leader = let_in(gate)
    waiters = [ask(gate) for _ in range(3)]
    leader.failed("a reset")

    assert permitted(*waiters) == [True, False, False]


@pytest.mark.parametrize(
    ("how", "fields", "story"),
    [
        ("succeeded", {}, (8, True, False)),
        ("failed", {}, (4, True, True)),
        ("failed", {"reset": False}, (8, True, False)),
        ("unused", {}, (8, True, False)),
        ("closed", {}, (8, True, False)),
    ],
)
def test_a_permit_tells_the_window_how_it_went(how, fields, story):
    """What came to nothing for another reason says nothing about how many the server bears."""
    gate = open_gate(maximum=8)
    getattr(let_in(gate), how)(**fields)

    assert (gate.window.size, gate.window.proven, gate.window.doubted) == story


def test_a_reset_before_anything_was_carried_narrows_the_window():
    """The item seemed accepted: it counts as a reset handshake, and as open until it is closed."""
    gate = open_gate(maximum=8)
    permit = let_in(gate)
    permit.succeeded()
    permit.doubted()

    assert (gate.window.size, gate.window.proven, gate.window.doubted) == (4, True, True)
    assert (gate.open(), gate.making()) == (1, 0)


def test_what_is_closed_while_being_made_came_to_nothing():
    """The next in the queue makes one."""
    gate = Gate()
    permit, waiter = let_in(gate), ask(gate)
    permit.closed()

    assert permitted(waiter) == [True]
    assert repr(gate) == "<Gate 0 idle of 0 open, 1 being made of 1 allowed, 0 waiting>"


def test_a_silent_server_lets_in_one_more_each_time():
    """It is tried with one, then with two at once; its first response opens the window."""
    gate = Gate(maximum=4)
    first = let_in(gate)
    waiters = [ask(gate, nothing) for _ in range(7)]
    story = []
    for step in (
        lambda: first.succeeded(proof=False),
        lambda: waiters[0].granted.succeeded(proof=False),
        first.proved,
    ):
        step()
        story.append((sum(permitted(*waiters)), gate.window.proven))

    assert story == [(1, False), (3, False), (5, True)]
    assert repr(gate) == "<Gate 0 idle of 2 open, 4 being made of 4 allowed, 2 waiting>"


def test_a_reset_narrows_what_is_granted_next():
    """Permits that are out stay out; new ones wait until the window has room again."""
    gate = open_gate(maximum=4)
    permits = [let_in(gate) for _ in range(4)]
    waiter = ask(gate)
    story = []
    for step in ("failed", "failed", "unused", "unused"):
        getattr(permits.pop(), step)()
        story.append((gate.window.size, *permitted(waiter)))

    assert story == [(2, False), (1, False), (1, False), (1, True)]


def test_proof_is_needed_until_one_came_and_after_a_reset():
    """The next item is confirmed while nothing is known of the server, or something bad."""
    gate = Gate()
    story = [gate.needs_proof()]
    for how in ("unused", "succeeded", "failed", "unused", "succeeded"):
        getattr(let_in(gate), how)()
        story.append(gate.needs_proof())

    assert story == [True, True, False, True, True, False]


@pytest.mark.parametrize(
    ("elapsed", "callers", "served"),
    [
        (0.0, 1, 0),  # the open item will serve it sooner
        (0.0, 2, 1),
        (0.0, 3, 2),
        (0.25, 1, 0),
        (0.5, 1, 1),
        (1.7e9, 1, 1),  # another clock
        (-1.7e9, 1, 1),
    ],
)
def test_for_a_moment_after_the_first_proof_some_wait_for_open_items(elapsed, callers, served):
    """A short call ends sooner than a handshake: two in the queue for each open item are worth one more."""
    clock = Clock(1e9)
    gate = Gate(thrift=0.5, clock=clock)
    leader = let_in(gate)
    leader.succeeded()
    clock.now += elapsed
    found = [ask(gate) for _ in range(callers)]

    assert sum(permitted(*found)) == served
    assert leader.is_alone() is False


def test_who_is_left_to_open_items_looks_when_the_moment_is_over():
    """And gets a permit then, if none has come back; the control: without thrift it has one at once."""
    clock = Clock(0.0)
    sparing, generous = Gate(thrift=0.5, clock=clock), Gate(clock=clock)
    leaders = [let_in(gate) for gate in (sparing, generous)]
    for leader in leaders:
        leader.succeeded()
    clock.now = 0.125
    waiter, at_once = ask(sparing), ask(generous)
    before = permitted(waiter, at_once), sparing.nap(waiter)
    clock.now = 0.5
    sparing.look(waiter)

    assert before == ([False, True], (0.375, False))
    assert permitted(waiter) == [True]


@pytest.mark.parametrize(
    ("waited", "seconds"), [(0.0, 1.0), (0.25, 0.75), (0.75, 0.25), (1.0, 1.0), (-9.0, 1.0)]
)
def test_a_nap_ends_when_something_may_have_stalled(waited, seconds):
    """Nobody announces that, nor that a permit was lost: who waits looks then."""
    clock = Clock(50.0)
    gate = Gate(clock=clock)
    leader, waiter = let_in(gate), ask(gate)
    clock.now += waited

    assert gate.nap(waiter) == (seconds, False)
    assert STALLED == LOOK_EVERY == 1.0
    leader.unused()


@pytest.mark.parametrize("maximum", [1, 16])
def test_a_stalled_leader_holds_nobody_up(maximum):
    """After a second one more is let in, and after another second of that one's the next."""
    clock = Clock(0.0)
    gate = Gate(maximum=maximum, clock=clock)
    leader = let_in(gate)
    waiters = [ask(gate) for _ in range(3)]
    story = []
    for now in (0.75, STALLED, 1.5, 2 * STALLED):
        clock.now = now
        look(gate)
        story.append(sum(permitted(*waiters)))

    assert story == [0, 1, 1, 2]
    assert permitted(*waiters) == [True, True, False]
    leader.unused()


def test_a_newcomer_is_let_in_beside_a_stalled_leader():
    """Without anybody in the queue to look."""
    clock = Clock(0.0)
    gate = Gate(clock=clock)
    leader = let_in(gate)
    clock.now = STALLED

    assert permitted(ask(gate), ask(gate)) == [True, False]
    leader.unused()


@pytest.mark.parametrize("after", [0.0, STALLED])
def test_those_who_stall_at_a_dead_server_hold_nobody_up_when_it_is_back(after):
    """All places are taken by connects that have stalled: each caller gets one; before that, the control."""
    clock = Clock(0.0)
    gate = open_gate(maximum=4, clock=clock)
    stalled = [let_in(gate) for _ in range(4)]
    clock.now = after
    found = [ask(gate, nothing) for _ in range(5)]

    assert sum(permitted(*found)) == (4 if after else 0)
    assert gate.making() == 4 + (4 if after else 0)
    del stalled


def test_only_so_many_may_stall():
    """A server that answers nobody is not asked by everybody, for ever."""
    clock = Clock(0.0)
    gate = Gate(clock=clock)
    found = []
    for _ in range(MOST_STALLED + 9):
        found.append(ask(gate))
        clock.now += 2 * STALLED
        look(gate)

    assert sum(permitted(*found)) == gate.making() == MOST_STALLED
    found[0].granted.unused()
    assert sum(permitted(*found)) == MOST_STALLED + 1


def test_who_is_in_a_hurry_gets_a_permit_whatever_the_window():
    """Half of its time is over: the rest is for an attempt of its own; the others wait on."""
    gate = Gate()
    leader = let_in(gate)
    waiters = [ask(gate) for _ in range(3)]
    gate.look(waiters[1])
    before = permitted(*waiters)
    gate.look(waiters[1], urgent=True)

    assert before == [False] * 3
    assert permitted(*waiters) == [False, True, False]
    assert (gate.making(), gate.waiting()) == (2, 2)
    leader.unused()


def test_who_has_got_something_is_in_no_hurry_any_more():
    """What was granted stays; so it is for who has left."""
    gate = Gate()
    leader = let_in(gate)
    served, gone = ask(gate), ask(gate)
    gate.offer(1)
    gate.leave(gone)
    for waiter in (served, gone):
        gate.look(waiter, urgent=True)

    assert (served.granted, gone.granted, gate.making()) == (1, None, 1)
    leader.unused()


@pytest.fixture(autouse=True, scope="module")
def strangers():
    """Whoever comes to a gate comes from another thread than whoever was there before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gates, "get_ident", itertools.count(1).__next__)
        yield


KINDS = {"anything": anything, "even": even, "nothing": nothing}
#: Which of several: taken modulo how many there are.
WHICH = st.integers(0, 11)
#: Fractions that a float holds exactly.
SECONDS = st.sampled_from([0.0, 1 / 64, 1 / 4, 1.0, 1.5])
PERMIT = "a permit"
#: Whether something is done by a signal handler in the middle of the gate's own bookkeeping.
INSIDE = st.sampled_from([False, False, True])


def pick(members, which):
    """Take one out of a list."""
    return members.pop(which % len(members))


class Actor:
    """A call, as the account knows it: it takes part in the cold start, or does not, or is not known."""

    def __init__(self, kind):
        """Begin outside, with nothing."""
        self.kind = kind
        self.shares = kind == "sharing"
        self.caller = None if kind == "unknown" else Caller(lambda: self.shares)
        #: The round that it has joined, and the last one that it was charged with.
        self.joined = self.round = None
        #: When its permit was given.
        self.since = 0.0
        self.paced = False
        self.waiter = self.permit = self.item = None

    def ends_round(self, failed_at):
        """Tell whether its failure ends a round: it takes part, and none has ended since it was let in."""
        return self.shares and self.since >= failed_at


class Account(RuleBasedStateMachine):
    """One thread that plays all: whatever the order, the gate does what a plain account of it says."""

    def __init__(self):
        """Begin with nothing: no item, no permit, nobody waiting."""
        super().__init__()
        self.outside = [Actor(kind) for kind in ["sharing"] * 4 + ["alone"] * 2 + ["unknown"] * 2]
        self.queue, self.granted, self.makers, self.users = [], [], [], []
        self.idle, self.closed, self.members = [], [], {}
        self.made = self.failures = 0
        #: The items that are open; and who makes one, with those whose end the gate has not heard of.
        self.open, self.making = set(), []
        #: The cold start: rounds that have ended, when, with what, until when it pauses, whether it lasts.
        self.rounds, self.failed_at, self.last, self.resume_at, self.fatal = 0, -1e9, None, -1e9, False
        self.ends = []
        #: What handlers have left to be done.
        self.left = []
        #: Whether something has changed that nobody announces.
        self.unannounced = False

    @initialize(
        capacity=st.integers(0, 3), maximum=st.integers(1, 4), pace=st.sampled_from([0.0, 1 / 64, 1 / 4])
    )
    def begin(self, capacity, maximum, pace):
        """Make the gate."""
        self.clock = Clock(0.0)
        self.pace = lambda failures, reset: pace * failures / (2 if reset else 1)
        self.gate = Gate(capacity, maximum, self.pace, clock=self.clock)
        self.window = Window(maximum)

    def inside(self, inside):
        """Return what makes this thread be in the middle of the gate's bookkeeping, or nothing."""
        return self.gate.inbox.lock if inside else nullcontext()

    def then(self, inside, work, *arguments):
        """Account for what is done now, after all that was left; or leave it."""
        self.left.append((work, arguments))
        if not inside:
            self.arrive()

    def arrive(self):
        """Somebody takes the lock."""
        while self.left:
            work, arguments = self.left.pop(0)
            work(*arguments)

    def is_held(self, actor):
        """Tell whether a pause holds this one back now."""
        return actor.paced and not self.window.proven and self.clock.now < self.resume_at

    def has_room(self):
        """Tell whether a permit may be given beside those that have not stalled."""
        return sum(self.clock.now - actor.since < STALLED for actor in self.making) < self.window.size

    def let_in(self):
        """Give free permits, first come, first served."""
        self.unannounced = False
        while self.has_room() and (free := [actor for actor in self.queue if not self.is_held(actor)]):
            self.give(free[0])

    def give(self, actor):
        """Let this one make an item."""
        assert not self.is_held(actor)
        self.queue.remove(actor)
        actor.since = self.clock.now
        self.making.append(actor)
        self.granted.append((actor, PERMIT))

    def settle(self, actor):
        """Nothing is being made any more by this one."""
        if actor in self.making:
            self.making.remove(actor)
        self.let_in()

    @precondition(lambda self: self.outside)
    @rule(which=WHICH, kind=st.sampled_from(sorted(KINDS)), ago=st.none() | SECONDS, count=st.integers(1, 4))
    def enter(self, which, kind, ago, count):
        """Ask, perhaps several at once."""
        for _ in range(min(count, len(self.outside))):
            self.ask(pick(self.outside, which), kind, ago)

    def ask(self, actor, kind, ago):
        """Get an idle item, a failure that is shared, a permit that is free, or a place."""
        began = None if ago is None else self.clock.now - ago
        actor.waiter = Waiter(KINDS[kind], actor.caller, began)
        found = self.gate.enter(actor.waiter)
        self.arrive()
        fitting = [item for item in self.idle if KINDS[kind](item)]
        if fitting:
            assert found == fitting[-1]
            self.idle.remove(found)
            actor.item = found
            self.users.append(actor)
        elif (failure := self.shared_by(actor, self.clock.now if ago is None else began)) is not None:
            assert found == failure
            self.outside.append(actor)
        else:
            self.queue.append(actor)
            self.let_in()
            if found is not None:
                self.come_for(actor, PERMIT, found)

    def shared_by(self, actor, began):
        """Return the failure that who comes is told: one that lasts, or that of a round it has missed."""
        actor.paced = False
        if self.window.proven:
            return None
        recent = began < self.failed_at + HOLDS
        if recent and self.fatal:
            return self.last
        if not actor.shares:
            return None
        others, paused = bool(self.queue or self.making), self.clock.now < self.resume_at
        if actor.joined is None:
            missed = sum(began < end + HOLDS for end in self.ends)
            missed = missed or bool(self.ends and paused and others)
            actor.joined = actor.round = self.rounds - missed
            actor.paced = others
        else:
            actor.paced = True
        missed = actor.round < self.rounds and not self.fatal and self.last is not None
        actor.round = actor.round + 1 if missed else self.rounds
        return self.last if missed else None

    @precondition(lambda self: self.outside and self.making)
    @rule(which=WHICH, succeeds=st.booleans())
    def ask_inside(self, which, succeeds):
        """Make a call in the middle of the bookkeeping: it goes its own way, and leaves no trace."""
        actor = self.outside[which % len(self.outside)]
        with self.gate.inbox.lock:
            waiter = Waiter(anything, actor.caller, self.clock.now)
            permit = self.gate.enter(waiter)
            assert isinstance(permit, Permit)
            assert not permit.failed("a reset", caller=actor.caller) if not succeeds else True
            permit.succeeded()
            permit.closed()
            assert self.gate.take(anything) is None

    @precondition(lambda self: any(actor.joined is not None for actor in self.outside))
    @rule(which=WHICH)
    def hang_up(self, which):
        """End a call between two attempts; another one comes."""
        actor = pick([actor for actor in self.outside if actor.joined is not None], which)
        self.outside.remove(actor)
        self.outside.append(Actor(actor.kind))

    @precondition(lambda self: self.queue)
    @rule(which=WHICH)
    def give_up(self, which):
        """Leave the queue, with nothing unless it was granted in that moment."""
        actor = self.queue[which % len(self.queue)]
        found = self.gate.leave(actor.waiter)
        self.arrive()
        if actor in self.queue:
            assert found is None
            self.queue.remove(actor)
            self.outside.append(actor)

    @precondition(lambda self: self.queue)
    @rule(which=WHICH, urgent=st.booleans())
    def look(self, which, urgent):
        """Look at what nobody has announced; who is in a hurry gets a permit in any case."""
        actor = self.queue[which % len(self.queue)]
        self.gate.look(actor.waiter, urgent)
        self.arrive()
        self.let_in()
        if urgent and actor in self.queue:
            actor.paced = False
            self.give(actor)

    @precondition(lambda self: self.granted)
    @rule(which=WHICH, in_time=st.booleans())
    def collect(self, which, in_time):
        """Come for what was granted: in time, or just as the time ran out."""
        actor, what = self.granted[which % len(self.granted)]
        found = actor.waiter.wait(0)
        if not in_time:
            assert self.gate.leave(actor.waiter) is found
            self.arrive()
        self.come_for(actor, what, found)

    def come_for(self, actor, what, found):
        """Account for what was granted."""
        self.granted.remove((actor, what))
        actor.waiter = None
        if what is PERMIT:
            assert isinstance(found, Permit)
            actor.permit = found
            self.makers.append(actor)
            return
        assert found == what
        is_item = isinstance(what, int)
        actor.item = what if is_item else None
        (self.users if is_item else self.outside).append(actor)

    @precondition(lambda self: self.makers)
    @rule(which=WHICH, proof=st.sampled_from([False, False, True]), inside=INSIDE)
    def succeed(self, which, proof, inside):
        """Make an item, which is then in use; to fail afterwards changes nothing."""
        actor = pick(self.makers, which)
        with self.inside(inside):
            actor.permit.succeeded(proof)
            assert actor.permit.failed("late", caller=actor.caller) is False
        self.made += 1
        self.members[self.made], actor.permit, actor.item = actor.permit, None, self.made
        self.users.append(actor)
        self.then(inside, self.have_made, actor, self.made, proof)

    def have_made(self, actor, item, proof):
        """Count an item that was made, though it may be closed by now."""
        self.making.remove(actor)
        if item in self.members:
            self.open.add(item)
        self.window.succeeded(proof)
        self.settle(actor)

    @precondition(lambda self: self.makers)
    @rule(which=WHICH, reset=st.booleans(), fatal=st.booleans(), inside=INSIDE)
    def fail(self, which, reset, fatal, inside):
        """Fail to make one: at a cold gate that may be everybody's; from a handler it is nobody's."""
        actor = pick(self.makers, which)
        self.failures += 1
        failure = f"failure {self.failures}"
        with self.inside(inside):
            paced = actor.permit.failed(failure, reset=reset, fatal=fatal, caller=actor.caller)
            actor.permit.succeeded()
        actor.permit = None
        if inside:
            self.outside.append(actor)
            self.then(inside, self.settle, actor)
            assert paced is False
            return
        self.arrive()
        assert paced is (actor.shares and not fatal and not self.window.proven)
        if reset:
            self.window.failed()
        if not self.window.proven:
            self.end_round(actor, failure, reset, fatal)
        # What is fatal ends the call, and another one comes.
        self.outside.append(Actor(actor.kind) if fatal else actor)
        self.settle(actor)

    def end_round(self, actor, failure, reset, fatal):
        """Account for a failure at a cold gate."""
        if fatal:
            self.refused(failure)
            return
        if not actor.shares:
            return
        if actor.joined is None:
            actor.joined = actor.round = self.rounds
        if actor.ends_round(self.failed_at):
            self.resume_at = self.clock.now + self.pace(self.rounds - actor.joined + 1, reset)
            self.rounds, self.failed_at, self.last = self.rounds + 1, self.clock.now, failure
            self.ends.append(self.clock.now)
            self.fatal = False
            self.tell([other for other in self.queue if other.paced])
        actor.round = self.rounds

    def refused(self, failure):
        """Account for a failure that lasts: all who wait get it, and nobody pauses."""
        if not self.window.proven:
            self.fatal, self.last, self.failed_at, self.resume_at = True, failure, self.clock.now, -1e9
            self.ends = []
            self.tell(list(self.queue))

    def tell(self, actors):
        """Give these who wait the last failure."""
        for actor in actors:
            self.queue.remove(actor)
            self.granted.append((actor, self.last))
            actor.round = self.rounds if actor.paced else actor.round

    @precondition(lambda self: self.makers)
    @rule(which=WHICH, how=st.sampled_from(["unused", "closed"]), inside=INSIDE)
    def make_nothing(self, which, how, inside):
        """Hand over, for a reason of one's own."""
        actor = pick(self.makers, which)
        with self.inside(inside):
            getattr(actor.permit, how)()
        actor.permit = None
        self.outside.append(Actor(actor.kind))
        self.then(inside, self.settle, actor)

    @precondition(lambda self: self.makers and not self.left)
    @rule(which=WHICH)
    def lose(self, which):
        """Forget a permit: an exception came between gate and connection."""
        actor = pick(self.makers, which)
        actor.permit = None
        self.making.remove(actor)
        self.outside.append(Actor(actor.kind))
        self.unannounced = True

    @precondition(lambda self: self.users)
    @rule(which=WHICH, how=st.sampled_from(["proved", "doubted", "refused"]), inside=INSIDE)
    def hear(self, which, how, inside):
        """Receive a response, which opens the window; a reset, which narrows it; or a refusal of the item."""
        permit = self.members[self.users[which % len(self.users)].item]
        with self.inside(inside):
            if how == "refused":
                self.failures += 1
                permit.refused(f"failure {self.failures}")
                self.then(inside, self.refused, f"failure {self.failures}")
            else:
                getattr(permit, how)()
        if how == "proved":
            self.then(inside, lambda: (self.window.proved(), self.let_in()))
        elif how == "doubted":
            self.then(inside, self.window.failed)

    @precondition(lambda self: self.users)
    @rule(which=WHICH, how=st.sampled_from(["closed", "lost"]), inside=INSIDE)
    def close(self, which, how, inside):
        """Close an item, or lose it; the gate need not be told when it comes to counting it."""
        actor = pick(self.users, which)
        self.outside.append(actor)
        item, actor.item = actor.item, None
        if how == "lost" and self.left:
            # What is left to do may know the permit: then it is not lost.
            how = "closed"
        with self.inside(inside):
            self.end(item, how)

    def end(self, item, how="closed"):
        """Close what nobody uses."""
        permit = self.members.pop(item)
        if how == "closed":
            was_made = item in self.open
            permit.closed()
            if not was_made and not self.gate.inbox.work:
                self.arrive()
        self.open.discard(item)
        self.closed.append(item)

    @precondition(lambda self: self.users)
    @rule(which=WHICH, inside=INSIDE)
    def offer(self, which, inside):
        """Give it back: to the first who waits for such a one, else to the idle, else to be closed."""
        actor = pick(self.users, which)
        self.outside.append(actor)
        item, actor.item = actor.item, None
        if inside:
            with self.inside(inside):
                assert self.gate.offer(item) is None
            self.left.append((self.put, (item, 99)))
        else:
            back = self.gate.offer(item)
            self.arrive()
            assert back == self.put(item, self.gate.capacity)
            if back is not None:
                self.end(item)

    def put(self, item, capacity):
        """Account for an item that comes back."""
        takers = [actor for actor in self.queue if actor.waiter.suits(item)]
        if takers:
            self.queue.remove(takers[0])
            self.granted.append((takers[0], item))
        elif len(self.idle) < capacity:
            self.idle.append(item)
        else:
            return item
        return None

    @precondition(lambda self: self.idle)
    @rule(kind=st.sampled_from(sorted(KINDS)))
    def take_out(self, kind):
        """Close idle items."""
        taken = self.gate.take_out(KINDS[kind])
        self.arrive()
        assert taken == [item for item in self.idle if KINDS[kind](item)]
        self.idle = [item for item in self.idle if item not in taken]
        for item in taken:
            self.end(item)

    @precondition(lambda self: self.queue)
    @rule(capacity=st.integers(0, 3), maximum=st.integers(1, 4))
    def allow(self, capacity, maximum):
        """Another lease comes or goes."""
        with self.gate.inbox.lock:
            self.gate.allow(maximum, capacity)
        self.window.allow(maximum)
        self.unannounced = True

    @precondition(lambda self: self.last is not None)
    @rule()
    def forget(self):
        """Let those who come find out for themselves."""
        self.gate.forget()
        self.arrive()
        self.last, self.failed_at, self.resume_at, self.fatal = None, -1e9, -1e9, False
        self.ends = []
        self.unannounced = True

    @precondition(lambda self: self.making or self.queue)
    @rule(seconds=SECONDS)
    def wait(self, seconds):
        """Let time go by: pauses end, handshakes stall."""
        self.clock.now += seconds
        self.unannounced = True

    @invariant()
    def the_gate_agrees(self):
        """What it says of itself is what the account says, and each call was charged as often."""
        if hasattr(self, "gate"):
            assert repr(self.gate) == (
                f"<Gate {len(self.idle)} idle of {len(self.open)} open, {len(self.making)} being made of "
                f"{self.window.size} allowed, {len(self.queue)} waiting>"
            )
            everybody = [*self.outside, *self.queue, *self.makers, *self.users]
            everybody += [actor for actor, _ in self.granted]
            assert len(everybody) == len(set(everybody)) == 8
            joined = [actor for actor in everybody if actor.joined is not None]
            assert [actor.caller.round for actor in joined] == [actor.round for actor in joined]

    @invariant()
    def nobody_waits_in_vain(self):
        """Who waits has got nothing, and no idle item suits; if there is room, a pause holds it."""
        assert all(actor.waiter.granted is None for actor in self.queue)
        assert not any(actor.waiter.suits(item) for actor in self.queue for item in self.idle)
        for actor in self.queue:
            left = self.resume_at - self.clock.now if self.is_held(actor) else LOOK_EVERY
            nap, is_pause = self.gate.nap(actor.waiter)
            assert 0.0 < nap <= min(left, LOOK_EVERY)
            assert is_pause is self.is_held(actor)
        if self.has_room() and not self.unannounced and not self.left:
            assert all(self.is_held(actor) for actor in self.queue)

    @invariant()
    def each_item_is_in_one_place(self):
        """Idle, in use, on its way to a waiter or to the gate, or closed; none is lost, none is twice."""
        in_use = [actor.item for actor in self.users]
        on_the_way = [what for _, what in self.granted if isinstance(what, int)]
        on_the_way += [arguments[0] for work, arguments in self.left if work == self.put]

        assert sorted([*self.idle, *in_use, *on_the_way, *self.closed]) == list(range(1, self.made + 1))

    def teardown(self):
        """End it all: nothing is left to be made, open, or waiting."""
        waiters = [actor.waiter for actor in [*self.queue, *(actor for actor, _ in self.granted)]]
        found = [self.gate.leave(waiter) for waiter in waiters]
        permits = [*self.members.values(), *(actor.permit for actor in self.makers), *found]
        for permit in permits:
            if isinstance(permit, Permit):
                permit.closed()
        self.gate.take_out(anything)

        assert repr(self.gate).startswith("<Gate 0 idle of 0 open, 0 being made of ")
        assert repr(self.gate).endswith(" allowed, 0 waiting>")


@pytest.mark.slow
class TestAccount(Account.TestCase):
    """Never more being made than the window allows, no lost wake-up, each item in exactly one place."""

    settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
