"""Who gets an idle item, who gets leave to make one, and who waits: values in and values out, no sockets.

How many are let in at once is in `test_window.py`; permits, what those who wait are told of others' failures,
and threads are in `test_waiting.py`.
"""

import gc
import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resilient_transport.gate import waiter as waiting
from resilient_transport.gate.gate import LOOK_EVERY, Gate
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.waiter import HOLDS, Charges, Told, Waiter
from resilient_transport.gate.window import Window
from tests.retry.values import Clock


def anything(_):
    """Take every item."""
    return True


def nothing(_):
    """Take none: a new one is wanted."""
    return False


def even(item):
    """Take even numbers."""
    return item % 2 == 0


def open_gate(**fields):
    """Return a gate whose first item was accepted, and is closed: it is always worth making one."""
    gate, permits = busy_gate(1, **fields)
    permits[0].closed()
    return gate


def busy_gate(items, **fields):
    """Return a gate with so many items open and in use, made in 1 s each, and their permits."""
    gate = Gate(**fields)
    permits = []
    for _ in range(items):
        permits.append(gate.enter(nothing, eager=True))
        permits[-1].succeeded(1.0)
    return gate, permits


def filled(*items, **fields):
    """Return a gate with these idle items, the oldest first."""
    gate = Gate(**fields)
    for item in items:
        assert gate.offer(item) is None
    return gate


def is_waiting(waiter):
    """Tell whether nothing was granted to a waiter yet."""
    return isinstance(waiter, Waiter) and waiter.wait(0) is None


def granted(*waiters):
    """Tell which of these have got a permit, at once or after a wait."""
    found = [one.wait(0) if isinstance(one, Waiter) else one for one in waiters]
    return [isinstance(one, Permit) for one in found]


def test_the_newest_idle_item_is_taken_first():
    """Last in, first out: the old ones grow older, and can be closed."""
    gate = filled(1, 2, 3)

    assert [gate.enter(anything) for _ in range(3)] == [3, 2, 1]
    assert isinstance(gate.enter(anything), Permit)


def test_only_a_suitable_item_is_taken():
    """The newest that suits; the others stay, in their order."""
    gate = filled(1, 2, 3, 4, 5)

    assert gate.enter(even) == 4
    assert isinstance(gate.enter(nothing), Permit)
    assert gate.take(anything) == [1, 2, 3, 5]


@pytest.mark.parametrize("eager", [False, True])
def test_an_item_is_taken_before_a_permit(eager):
    """Nothing is made while an item lies there that suits, not even for who takes any permit."""
    gate = filled(1)

    assert gate.enter(anything, eager=eager) == 1
    assert repr(gate) == "<Gate 0 idle of 0 open, 0 being made of 1 allowed, 0 waiting>"


def test_an_offered_item_goes_to_who_has_waited_longest():
    """First in, first out, among those whom it suits."""
    gate = Gate()
    leader = gate.enter(anything)
    picky, first, second = gate.enter(nothing), gate.enter(even), gate.enter(even)
    story = [(gate.offer(item), first.granted, second.granted, gate.idle()) for item in (2, 3, 4)]
    leader.closed()

    assert story == [(None, 2, None, 0), (None, 2, None, 1), (None, 2, 4, 1)]
    assert granted(picky) == [True]


def test_a_permit_goes_to_who_has_waited_longest():
    """While nothing is open, in the order in which they came, whatever would suit them."""
    gate = Gate()
    leader = gate.enter(anything)
    first, second = gate.enter(nothing), gate.enter(anything)
    leader.unused()

    assert granted(first, second) == [True, False]


def test_nobody_overtakes_the_queue():
    """A permit that was lost is found by who comes next, and goes to who was there before."""
    gate = Gate()
    leader = gate.enter(anything)
    waiter = gate.enter(anything)
    del leader
    late = gate.enter(anything)

    assert granted(waiter, late) == [True, False]


def test_who_gives_up_waits_no_longer():
    """Nothing is granted to the one who left, and the next in the queue is served."""
    gate = Gate()
    leader = gate.enter(anything)
    gone, stays = gate.enter(anything), gate.enter(anything)
    left = gate.leave(gone)
    gate.offer(1)
    leader.unused()

    assert left is None
    assert (gone.wait(0), stays.wait(0)) == (None, 1)
    assert repr(gate) == "<Gate 0 idle of 0 open, 0 being made of 1 allowed, 0 waiting>"


def test_an_item_granted_in_the_moment_of_leaving_is_not_lost():
    """The time ran out and the grant came before the queue was left: it belongs to who leaves."""
    gate = Gate()
    leader = gate.enter(anything)
    waiter = gate.enter(anything)
    gate.offer(1)

    assert gate.leave(waiter) == 1
    assert gate.idle() == 0
    leader.unused()


def test_a_permit_granted_in_the_moment_of_leaving_is_not_lost():
    """The same for a permit: who leaves can settle it, and the next one is served."""
    gate = Gate()
    leader = gate.enter(anything)
    leaving, stays = gate.enter(anything), gate.enter(anything)
    leader.unused()
    permit = gate.leave(leaving)
    waited = is_waiting(stays)
    permit.unused()

    assert waited
    assert granted(stays) == [True]


def test_to_leave_twice_does_no_harm():
    """What was granted is told again, and the queue is as it was."""
    gate = Gate()
    leader = gate.enter(anything)
    waiter, other = gate.enter(anything), gate.enter(anything)
    gate.leave(waiter)

    assert gate.leave(waiter) is None
    assert repr(gate).endswith("1 waiting>")
    assert is_waiting(other)
    leader.unused()


def test_a_permit_for_who_is_gone_is_handed_on():
    """A waiter whose thread died in the queue is served in its turn, and loses what it gets."""
    gate = Gate()
    leader = gate.enter(anything)
    gate.enter(anything)
    waiter = gate.enter(anything)
    leader.unused()
    gc.collect()
    gate.look(waiter)

    assert granted(waiter) == [True]


@pytest.mark.parametrize("how", ["succeeded", "failed", "unused", "closed"])
def test_a_lost_permit_is_found_by_who_settles_another(how):
    """Every event counts those that were lost before it."""
    gate = open_gate(maximum=4)
    lost, other = gate.enter(anything), gate.enter(anything)
    before = repr(gate)
    del lost
    gc.collect()
    getattr(other, how)()

    assert "2 being made" in before
    assert "0 being made" in repr(gate)


def test_a_settled_permit_is_not_lost():
    """The control: what has come to its end leaves nothing to its finaliser."""
    gate = open_gate(maximum=8)
    for how in ("failed", "unused", "closed"):
        getattr(gate.enter(anything), how)()
    gc.collect()

    assert not gate._ended


def test_to_close_does_not_wait_for_the_lock():
    """In a forked child its holder may be a thread that does not exist: the next event counts it."""
    gate, permits = busy_gate(1)
    waiter = gate.enter(anything)
    with gate._lock:
        permits[0].closed()
        meanwhile = repr(gate), is_waiting(waiter)
    gate.look(waiter)

    assert meanwhile == ("<Gate 0 idle of 1 open, 0 being made of 16 allowed, 1 waiting>", True)
    assert granted(waiter) == [True]


def test_what_is_beyond_the_capacity_comes_back():
    """For the caller to close: the gate closes nothing."""
    gate = Gate(capacity=2)
    back = [gate.offer(number) for number in (1, 2, 3)]
    gate.capacity = 3

    assert back == [None, None, 3]
    assert gate.offer(3) is None
    assert gate.idle() == 3


def test_a_waiter_is_served_beyond_the_capacity():
    """The control: what is wanted is not idle."""
    gate = Gate(capacity=0)
    leader = gate.enter(anything)
    waiter = gate.enter(anything)

    assert (gate.offer(1), waiter.wait(0)) == (None, 1)
    assert gate.offer(2) == 2
    leader.unused()


def test_idle_items_are_taken_out_by_a_predicate():
    """The oldest first; the others stay as they were."""
    gate = filled(1, 2, 3, 4)

    assert gate.take(even) == [2, 4]
    assert gate.take(even) == []
    assert gate.take(anything) == [1, 3]
    assert gate.idle() == 0


def test_a_forked_child_gives_up_without_the_lock():
    """Its holder is a thread that does not exist here: to wait for it would be for ever."""
    gate = filled(1, 2)
    with gate._lock:
        idle = gate.abandon()

    assert idle == [1, 2]
    assert gate.idle() == 0


@pytest.fixture(autouse=True, scope="module")
def strangers():
    """Whoever comes to a gate comes from another thread than whoever was there before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "get_ident", itertools.count().__next__)
        yield


KINDS = {"anything": anything, "even": even, "nothing": nothing}
#: Which of several: taken modulo how many there are.
WHICH = st.integers(0, 11)
#: Fractions that a float holds exactly.
SECONDS = st.sampled_from([0.0, 1 / 64, 1 / 4, 1.0, 1.5])
PERMIT = "a permit"


def pace(failures):
    """Return the pause after so many failures."""
    return failures / 4


def pick(members, which):
    """Take one out of a list."""
    return members.pop(which % len(members))


class Caller:
    """A call, as the account knows it: it shares failures and pauses, or has one attempt, or is silent."""

    def __init__(self, kind):
        """Begin outside, with nothing."""
        self.kind = kind
        self.shares, self.held = kind in ("paced", "unpaced"), kind == "paced"
        #: Who has one attempt says that it is paced, which must not matter.
        self.charges = None if kind == "silent" else Charges(lambda: self.shares, lambda: kind != "unpaced")
        #: The number of the failure that it has heard of last; None until it has asked for anything.
        self.heard = None
        self.times = 0
        self.eager = False
        #: When its permit was given, or when it began to wait.
        self.since = 0.0
        self.waiter = self.permit = self.item = None


class Account(RuleBasedStateMachine):
    """One thread that plays all: whatever the order, the gate does what a plain account of it says."""

    def __init__(self):
        """Begin with nothing: no item, no permit, nobody waiting."""
        super().__init__()
        kinds = ["paced"] * 3 + ["unpaced"] * 2 + ["single"] * 2 + ["silent"]
        self.outside = [Caller(kind) for kind in kinds]
        self.queue, self.granted, self.makers, self.users = [], [], [], []
        self.idle, self.closed, self.members = [], [], {}
        self.made = self.open = self.failures = self.epoch = self.last = 0
        #: Who was charged with a failure, its own or another's, and has not come back; whose calls are over.
        self.away, self.over = set(), []
        #: When the failures were that all share; and the last refusal, with the moment until which it holds.
        self.moments, self.refusal, self.until = [], None, -float("inf")
        #: When each permit was given whose item is not made; and what has ended, but not been counted yet.
        self.making, self.gone = [], []
        self.resume_at = 0.0
        #: Whether something has changed that nobody announces.
        self.unannounced = False

    @initialize(capacity=st.integers(0, 3), maximum=st.integers(1, 4))
    def begin(self, capacity, maximum):
        """Make the gate."""
        self.clock = Clock(0.0)
        self.gate = Gate(capacity, maximum, pace, self.clock)
        self.window = Window(maximum)

    def has_room(self):
        """Tell whether a permit may be given: the window, or one more for each that has stalled."""
        stalled = sum(self.clock.now - since > 1.0 for since in self.making)
        return len(self.making) < min(self.window.size + stalled, self.window.maximum)

    def is_held(self, caller):
        """Tell whether a pause holds this one back now: those that share failures and are paced."""
        return caller.held and not self.window.proven and self.clock.now < self.resume_at

    def is_alone(self, caller):
        """Tell whether nobody else would come at the end of a pause, and the failure was none of its own."""
        return not caller.times and not self.queue and not self.away

    def is_worth(self, more=0):
        """Tell whether one more would serve the queue, with so many more in it."""
        return self.window.is_worth(len(self.queue) + more, self.open)

    def give(self, caller):
        """Count a permit that is given now, when it may be given."""
        stalled = sum(self.clock.now - since > 1.0 for since in self.making)
        caller.since = self.clock.now
        self.making.append(caller.since)
        assert len(self.making) <= min(self.window.size + stalled, self.window.maximum)
        assert not self.is_held(caller) or self.is_alone(caller)
        assert self.window.proven or self.window.weak > 1 or stalled or len(self.making) == 1

    def let_in(self):
        """Count what has ended, and give free permits: to the eager, else where they serve best."""
        for since in self.gone:
            if since is None:
                self.open -= 1
            else:
                self.making.remove(since)
        self.gone, self.unannounced = [], False
        while self.queue and self.has_room():
            free = [caller for caller in self.queue if not self.is_held(caller)]
            eager = [caller for caller in free if caller.eager]
            if not free or (not eager and not self.is_worth()):
                break
            caller = eager[0] if eager else free[-1 if self.open else 0]
            self.queue.remove(caller)
            self.give(caller)
            self.granted.append((caller, PERMIT))

    def charge(self, caller):
        """Count a failure, its own or another's; until it comes back, it is on its way."""
        caller.heard, caller.times = caller.heard + 1, caller.times + 1
        self.away.add(caller)

    def replace(self, caller):
        """End a call: nobody waits for it any more, though its charges are kept; one like it comes."""
        self.away.discard(caller)
        if caller.charges is not None:
            caller.charges.over = True
            self.over.append(caller.charges)
        self.outside.append(Caller(caller.kind))

    def tell(self, fatal):
        """Give everybody who waits at a cold gate the last failure, if it is theirs."""
        if fatal and not self.window.proven:
            self.refusal, self.until = self.failures, self.clock.now + HOLDS
        for caller in [one for one in self.queue if not self.window.proven and (fatal or one.shares)]:
            self.queue.remove(caller)
            self.granted.append((caller, Told(self.failures)))
            if not fatal:
                self.charge(caller)

    @precondition(lambda self: self.outside)
    @rule(which=WHICH, kind=st.sampled_from(sorted(KINDS)), eager=st.booleans(), ago=st.none() | SECONDS)
    def enter(self, which, kind, eager, ago):
        """Ask: an idle item, a failure that was missed, a permit that is free and worth it, or a place."""
        caller = pick(self.outside, which)
        fitting = [item for item in self.idle if KINDS[kind](item)]
        began = None if ago is None else self.clock.now - ago
        found = self.gate.enter(KINDS[kind], caller.charges, eager, began)
        if fitting:
            assert found == fitting[-1]
            self.idle.remove(found)
            caller.item = found
            self.users.append(caller)
            return
        if not self.window.proven and self.tell_at_entrance(caller, began, found):
            self.outside.append(caller)
            return
        self.let_in()
        held = self.is_held(caller) and not self.is_alone(caller)
        if not held and self.has_room() and (eager or self.is_worth(more=1)):
            assert isinstance(found, Permit)
            caller.permit = found
            self.give(caller)
            self.makers.append(caller)
        else:
            assert is_waiting(found)
            caller.waiter, caller.eager, caller.since = found, eager, self.clock.now
            self.queue.append(caller)

    def tell_at_entrance(self, caller, began, found):
        """Tell of a refusal a moment ago, or of a failure since the caller came or just before it began."""
        if began is not None and began < self.until:
            assert found == Told(self.refusal)
            return True
        if not caller.shares:
            return False
        self.away.discard(caller)
        if caller.heard is None:
            recent = () if began is None else self.moments[-32:]
            caller.heard = self.epoch - sum(began < one + HOLDS for one in recent)
        if caller.heard < self.epoch:
            assert found == Told(self.last)
            self.charge(caller)
            return True
        return False

    @precondition(lambda self: self.outside)
    @rule(which=WHICH)
    def hang_up(self, which):
        """End a call between two attempts."""
        self.replace(pick(self.outside, which))

    @precondition(lambda self: self.queue)
    @rule(which=WHICH)
    def give_up(self, which):
        """Leave the queue with nothing."""
        caller = pick(self.queue, which)
        assert self.gate.leave(caller.waiter) is None
        self.outside.append(caller)

    @precondition(lambda self: self.queue)
    @rule(which=WHICH)
    def look(self, which):
        """Look at what nobody has announced; after a mean handshake any permit will do."""
        caller = self.queue[which % len(self.queue)]
        self.gate.look(caller.waiter)
        if caller.held and caller.since < self.resume_at <= self.clock.now:
            caller.since = self.clock.now
        if self.window.handshake is not None and self.clock.now - caller.since >= self.window.handshake:
            caller.eager = True
        self.let_in()

    @precondition(lambda self: self.granted)
    @rule(which=WHICH, in_time=st.booleans())
    def collect(self, which, in_time):
        """Come for what was granted: in time, or just as the time ran out."""
        caller, what = pick(self.granted, which)
        found = caller.waiter.wait(0) if in_time else self.gate.leave(caller.waiter)
        caller.waiter = None
        if what is PERMIT:
            assert isinstance(found, Permit)
            caller.permit = found
            self.makers.append(caller)
        else:
            assert found == what
            caller.item = None if isinstance(what, Told) else what
            (self.outside if isinstance(what, Told) else self.users).append(caller)

    @precondition(lambda self: self.makers)
    @rule(which=WHICH, seconds=SECONDS, proof=st.booleans())
    def succeed(self, which, seconds, proof):
        """Make an item, which is then in use; to fail afterwards changes nothing."""
        caller = pick(self.makers, which)
        caller.permit.succeeded(seconds, proof)
        assert caller.permit.failed("late", charges=caller.charges) is False
        self.making.remove(caller.since)
        self.made, self.open = self.made + 1, self.open + 1
        is_first = self.window.handshake is None
        self.window.succeeded(seconds, proof)
        self.members[self.made], caller.permit, caller.item = caller.permit, None, self.made
        self.users.append(caller)
        self.let_in()
        for other in self.queue if is_first else ():
            other.since = self.clock.now

    @precondition(lambda self: self.makers)
    @rule(which=WHICH, reset=st.booleans(), fatal=st.booleans())
    def fail(self, which, reset, fatal):
        """Fail to make one: at a cold gate that is everybody's, and a pause begins if it can be shared."""
        caller = pick(self.makers, which)
        self.failures += 1
        cold = not self.window.proven and not fatal
        if cold and caller.held:
            self.resume_at = self.clock.now + pace(caller.times + 1)
        paced = caller.permit.failed(self.failures, reset=reset, fatal=fatal, charges=caller.charges)
        caller.permit.succeeded()
        assert paced is (cold and caller.held)
        caller.permit = None
        if reset:
            self.window.failed()
        if cold:
            self.epoch, self.last = self.epoch + 1, self.failures
            self.moments.append(self.clock.now)
            if caller.shares:
                self.charge(caller)
        self.tell(fatal)
        self.making.remove(caller.since)
        # What is fatal ends the call, and another one comes.
        (self.replace if fatal else self.outside.append)(caller)
        self.let_in()

    @precondition(lambda self: self.makers)
    @rule(which=WHICH, how=st.sampled_from(["unused", "closed"]))
    def make_nothing(self, which, how):
        """Hand over, for a reason of one's own."""
        caller = pick(self.makers, which)
        getattr(caller.permit, how)()
        caller.permit = None
        self.making.remove(caller.since)
        self.outside.append(caller)
        self.let_in()

    @precondition(lambda self: self.makers)
    @rule(which=WHICH)
    def lose(self, which):
        """Forget a permit: an exception came between gate and connection."""
        caller = pick(self.makers, which)
        caller.permit = None
        self.gone.append(caller.since)
        self.outside.append(caller)
        self.unannounced = True

    @precondition(lambda self: self.users)
    @rule(which=WHICH)
    def prove(self, which):
        """Receive a response: the first one opens the window."""
        self.members[self.users[which % len(self.users)].item].proved()
        self.window.proved()
        self.let_in()

    @precondition(lambda self: self.users)
    @rule(which=WHICH)
    def refuse(self, which):
        """Hear that the server refuses an item that it seemed to accept."""
        self.failures += 1
        self.members[self.users[which % len(self.users)].item].refused(self.failures)
        self.tell(fatal=True)

    @precondition(lambda self: self.users)
    @rule(which=WHICH, how=st.sampled_from(["closed", "closed while busy", "lost"]))
    def close(self, which, how):
        """Close an item, perhaps while another thread is in the gate, or lose it."""
        caller = pick(self.users, which)
        self.outside.append(caller)
        self.gone.append(None)
        self.closed.append(caller.item)
        permit, caller.item = self.members.pop(caller.item), None
        if how == "closed":
            permit.closed()
            self.let_in()
            return
        with self.gate._lock:
            if how == "closed while busy":
                permit.closed()
            del permit
        self.unannounced = True

    @precondition(lambda self: self.users)
    @rule(which=WHICH, held=st.none() | SECONDS)
    def offer(self, which, held):
        """Give it back: to the first who waits for such a one, else to the idle, else to be closed."""
        caller = pick(self.users, which)
        self.outside.append(caller)
        item, caller.item = caller.item, None
        takers = [one for one in self.queue if one.waiter.suits(item)]
        kept = bool(takers) or len(self.idle) < self.gate.capacity
        assert self.gate.offer(item, held) == (None if kept else item)
        if held is not None:
            self.window.held(held)
        if takers:
            self.queue.remove(takers[0])
            self.granted.append((takers[0], item))
        elif kept:
            self.idle.append(item)
        else:
            self.end(item)
        if self.queue:
            self.let_in()

    def end(self, item):
        """Close what nobody uses."""
        self.members.pop(item).closed()
        self.closed.append(item)
        self.gone.append(None)
        self.let_in()

    @precondition(lambda self: self.idle)
    @rule(kind=st.sampled_from(sorted(KINDS)))
    def take(self, kind):
        """Close idle items."""
        doomed = [item for item in self.idle if KINDS[kind](item)]
        assert self.gate.take(KINDS[kind]) == doomed
        self.idle = [item for item in self.idle if item not in doomed]
        for item in doomed:
            self.end(item)

    @rule(capacity=st.integers(0, 3))
    def resize(self, capacity):
        """Another lease comes or goes."""
        self.gate.capacity = capacity

    @rule(seconds=SECONDS)
    def wait(self, seconds):
        """Let time go by: pauses end, handshakes stall, waiters have waited long enough."""
        self.clock.now += seconds
        self.unannounced = True

    @invariant()
    def the_gate_agrees(self):
        """What it says of itself is what the account says, and each call was charged as often."""
        if hasattr(self, "gate"):
            assert repr(self.gate) == (
                f"<Gate {len(self.idle)} idle of {self.open} open, {len(self.making)} being made of "
                f"{self.window.size} allowed, {len(self.queue)} waiting>"
            )
            left = self.resume_at - self.clock.now
            assert self.gate.pause() == (0.0 if self.window.proven else max(0.0, left))
            everybody = [*self.outside, *self.queue, *self.makers, *self.users]
            everybody += [one for one, _ in self.granted]
            assert len(everybody) == len(set(everybody)) == 8
            assert all(one.charges is None or one.charges.times == one.times for one in everybody)

    @invariant()
    def nobody_waits_in_vain(self):
        """Who waits has got nothing, and no idle item suits; if there is room, it is not worth one."""
        assert all(is_waiting(one.waiter) for one in self.queue)
        assert not any(one.waiter.suits(item) for one in self.queue for item in self.idle)
        for one in self.queue:
            left = self.resume_at - self.clock.now if self.is_held(one) else LOOK_EVERY
            assert 0.0 <= self.gate.nap(one.waiter) <= min(left, LOOK_EVERY)
        free = [one for one in self.queue if not self.is_held(one)]
        if free and not self.unannounced and self.has_room():
            assert not self.is_worth()
            assert not any(one.waiter.eager for one in free)

    @invariant()
    def each_item_is_in_one_place(self):
        """Idle, in use, on its way to a waiter, or closed; none is lost, none is twice."""
        in_use = [one.item for one in self.users]
        on_the_way = [what for _, what in self.granted if isinstance(what, int)]

        assert sorted([*self.idle, *in_use, *on_the_way, *self.closed]) == list(range(1, self.made + 1))

    def teardown(self):
        """End it all: nothing is left to be made, open, or waiting."""
        for caller in self.queue:
            self.gate.leave(caller.waiter)
        for permit in [*self.members.values(), *(one.permit for one in self.makers)]:
            permit.closed()
        for caller, what in self.granted:
            if what is PERMIT:
                self.gate.leave(caller.waiter).closed()
        self.gate.take(anything)
        self.gate.look(Waiter(anything, None, False, 0.0))

        assert repr(self.gate).startswith("<Gate 0 idle of 0 open, 0 being made of ")
        assert repr(self.gate).endswith(" allowed, 0 waiting>")


@pytest.mark.slow
class TestAccount(Account.TestCase):
    """Never more being made than the window allows, no lost wake-up, each item in exactly one place."""

    settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
