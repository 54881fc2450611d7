"""Who may make an item, who gets an idle one, and who waits: threads only, no sockets."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from resilient_transport.wire.gate import MAXIMUM, Gate, Permit, Waiter, Window
from tests.timeouts import LONG_TIMEOUT


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
    """Return a gate that has made its first item."""
    gate = Gate(**fields)
    gate.enter(anything).succeeded()
    return gate


def filled(*items, **fields):
    """Return a gate with these idle items, the oldest first."""
    gate = Gate(**fields)
    for item in items:
        assert gate.offer(item) is None
    return gate


def is_waiting(waiter):
    """Tell whether nothing was granted to a waiter yet."""
    return isinstance(waiter, Waiter) and waiter.wait(0) is None


def test_a_cold_window_lets_one_through():
    """Before the first proof one handshake at a time is all that is known to be safe."""
    window = Window()

    assert (window.size, window.proven, window.doubted) == (1, False, False)


def test_the_first_proof_opens_the_window():
    """To its maximum at once: a server that bears one handshake bears a start's worth of them."""
    window = Window(maximum=8)
    window.succeeded()

    assert (window.size, window.proven) == (8, True)
    assert Window().maximum == MAXIMUM == 16


def test_each_reset_halves_the_window():
    """Down to one, and never to none: somebody has to go on trying."""
    window = Window(maximum=10)
    window.succeeded()
    sizes = []
    for _ in range(5):
        window.failed()
        sizes.append(window.size)

    assert sizes == [5, 2, 1, 1, 1]
    assert window.doubted


def test_each_success_adds_one():
    """Up to the maximum; one success ends the doubt that a reset has raised."""
    window = Window(maximum=4)
    window.succeeded()
    window.failed()
    window.failed()
    sizes = []
    for _ in range(5):
        window.succeeded()
        sizes.append(window.size)

    assert sizes == [2, 3, 4, 4, 4]
    assert not window.doubted


def test_a_cold_window_stays_at_one_through_resets():
    """And the first proof opens it all the same."""
    window = Window()
    window.failed()
    cold = window.size, window.proven, window.doubted
    window.succeeded()

    assert cold == (1, False, True)
    assert (window.size, window.proven, window.doubted) == (16, True, False)


def test_a_cold_gate_grants_one_permit():
    """Who comes second waits for the first one's outcome."""
    gate = Gate()
    leader = gate.enter(anything)

    assert isinstance(leader, Permit)
    assert is_waiting(gate.enter(anything))
    assert repr(gate) == "<Gate 0 idle, 1 being made of 1 allowed, 1 waiting>"


def test_an_open_gate_grants_as_many_as_its_window():
    """The control: after the first success nobody waits until the window is full."""
    gate = open_gate(maximum=3)
    granted = [gate.enter(anything) for _ in range(4)]

    assert [isinstance(one, Permit) for one in granted] == [True, True, True, False]
    assert is_waiting(granted[3])


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


def test_an_item_is_taken_before_a_permit():
    """Nothing is made while an item lies there that suits."""
    gate = filled(1)

    assert gate.enter(anything) == 1
    assert repr(gate) == "<Gate 0 idle, 0 being made of 1 allowed, 0 waiting>"


def test_an_offered_item_goes_to_who_has_waited_longest():
    """First in, first out, among those whom it suits."""
    gate = Gate()
    leader = gate.enter(anything)
    picky, first, second = gate.enter(nothing), gate.enter(even), gate.enter(even)

    assert gate.offer(2) is None
    assert (is_waiting(picky), first.wait(0), is_waiting(second)) == (True, 2, True)
    assert gate.offer(3) is None
    assert gate.idle() == 1
    assert gate.offer(4) is None
    assert second.wait(0) == 4
    leader.unused()


def test_a_permit_goes_to_who_has_waited_longest():
    """In the order in which they came, whatever would suit them."""
    gate = Gate()
    leader = gate.enter(anything)
    first, second = gate.enter(nothing), gate.enter(anything)
    leader.unused()

    assert isinstance(first.wait(0), Permit)
    assert is_waiting(second)


def test_nobody_overtakes_the_queue():
    """A permit that is free while others wait for one is theirs."""
    gate = Gate()
    leader = gate.enter(anything)
    waiter = gate.enter(anything)
    late = gate.enter(anything)
    leader.unused()

    assert isinstance(waiter.wait(0), Permit)
    assert is_waiting(late)


def test_the_first_success_wakes_everyone():
    """The window opens, and all who waited may make their own, as far as it is wide."""
    gate = Gate(maximum=3)
    leader = gate.enter(anything)
    waiters = [gate.enter(anything) for _ in range(5)]
    leader.succeeded()

    assert [isinstance(waiter.wait(0), Permit) for waiter in waiters] == [True, True, True, False, False]
    assert repr(gate) == "<Gate 0 idle, 3 being made of 3 allowed, 2 waiting>"


def test_a_reset_of_a_cold_gate_wakes_one():
    """The control: the next one tries, alone."""
    gate = Gate(maximum=3)
    leader = gate.enter(anything)
    waiters = [gate.enter(anything) for _ in range(3)]
    leader.failed()

    assert [isinstance(waiter.wait(0), Permit) for waiter in waiters] == [True, False, False]


def test_a_reset_narrows_what_is_granted_next():
    """Permits that are out stay out; new ones wait until the window has room again."""
    gate = open_gate(maximum=4)
    permits = [gate.enter(anything) for _ in range(4)]
    waiter = gate.enter(anything)
    permits[0].failed()
    permits[1].failed()
    narrowed = is_waiting(waiter), gate.window.size
    permits[2].unused()
    still = is_waiting(waiter)
    permits[3].unused()

    assert narrowed == (True, 1)
    assert still
    assert isinstance(waiter.wait(0), Permit)


@pytest.mark.parametrize("first", ["succeeded", "failed", "unused"])
@pytest.mark.parametrize("again", ["succeeded", "failed", "unused"])
def test_a_permit_is_settled_once(first, again):
    """Whoever settles it again, as `close` does after `connect`, changes nothing."""
    gate = open_gate(maximum=8)
    permit, other = gate.enter(anything), gate.enter(anything)
    getattr(permit, first)()
    before = repr(gate), gate.window.size, gate.window.doubted
    getattr(permit, again)()

    assert (repr(gate), gate.window.size, gate.window.doubted) == before
    assert "1 being made" in repr(gate)
    other.unused()
    assert "0 being made" in repr(gate)


@pytest.mark.parametrize(
    ("how", "size", "proven", "doubted"),
    [("succeeded", 8, True, False), ("failed", 4, True, True), ("unused", 8, True, False)],
)
def test_a_permit_tells_the_window_how_it_went(how, size, proven, doubted):
    """What came to nothing for another reason says nothing about the server."""
    gate = open_gate(maximum=8)
    getattr(gate.enter(anything), how)()

    assert (gate.window.size, gate.window.proven, gate.window.doubted) == (size, proven, doubted)


def test_proof_is_needed_until_one_came_and_after_a_reset():
    """The next item is confirmed while nothing is known of the server, or something bad."""
    gate = Gate()
    story = [gate.needs_proof()]
    for how in ("unused", "succeeded", "failed", "unused", "succeeded"):
        getattr(gate.enter(anything), how)()
        story.append(gate.needs_proof())

    assert story == [True, True, False, True, True, False]


def test_who_gives_up_waits_no_longer():
    """Nothing is granted to the one who left, and the next in the queue is served."""
    gate = Gate()
    leader = gate.enter(anything)
    gone, stays = gate.enter(anything), gate.enter(anything)

    assert gate.leave(gone) is None
    assert gate.offer(1) is None
    assert (gone.wait(0), stays.wait(0)) == (None, 1)
    leader.unused()
    assert repr(gate) == "<Gate 0 idle, 0 being made of 1 allowed, 0 waiting>"


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
    assert isinstance(stays.wait(0), Permit)


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


def test_a_lost_permit_is_handed_on():
    """An exception from a signal handler may lose a permit between gate and connection: nobody is stuck."""
    gate = Gate()
    lost = gate.enter(anything)
    waiter = gate.enter(anything)

    del lost
    gc.collect()
    gate.sweep()

    assert isinstance(waiter.wait(0), Permit)


def test_a_lost_permit_is_found_by_who_comes_next():
    """Without anybody in the queue, the next caller gets the place."""
    gate = Gate()
    gate.enter(anything)
    gc.collect()

    assert isinstance(gate.enter(anything), Permit)


def test_what_is_beyond_the_capacity_comes_back():
    """For the caller to close: the gate closes nothing."""
    gate = Gate(capacity=2)

    assert [gate.offer(number) for number in (1, 2, 3)] == [None, None, 3]
    assert gate.idle() == 2
    gate.capacity = 3
    assert gate.offer(3) is None


def test_a_waiter_is_served_beyond_the_capacity():
    """The control: what is wanted is not idle."""
    gate = Gate(capacity=0)
    leader = gate.enter(anything)
    waiter = gate.enter(anything)

    assert gate.offer(1) is None
    assert waiter.wait(0) == 1
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


def test_a_waiting_thread_is_woken():
    """By an item, by a permit; each by its own, and at once."""
    gate = Gate()
    leader = gate.enter(anything)
    first, second = gate.enter(even), gate.enter(anything)
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(waiter.wait, LONG_TIMEOUT) for waiter in (first, second)]
        gate.offer(2)
        leader.unused()
        granted = [one.result(LONG_TIMEOUT) for one in waiting]

    assert granted[0] == 2
    assert isinstance(granted[1], Permit)
    assert time.monotonic() - start < LONG_TIMEOUT / 2


def test_threads_never_exceed_the_window():
    """On top of the model below: eight threads that make, fail, pass on and give up in each other's way."""
    gate = Gate(capacity=3, maximum=4)
    together = threading.Barrier(8)
    lock = threading.Lock()
    making, most = 0, 0

    def work(seed):
        nonlocal making, most
        together.wait()
        for step in range(200):
            found = gate.enter(nothing if (seed + step) % 5 == 0 else anything)
            if isinstance(found, Waiter):
                found = found.wait(0.001 if step % 7 == 0 else LONG_TIMEOUT) or gate.leave(found)
            if isinstance(found, Permit):
                with lock:
                    making += 1
                    most = max(most, making)
                with lock:
                    making -= 1
                (found.failed, found.unused, found.succeeded, found.succeeded)[(seed + step) % 4]()
                gate.offer(step)
            elif found is not None:
                gate.offer(found)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert 1 <= most <= 4
    assert repr(gate).startswith(f"<Gate {gate.idle()} idle, 0 being made")
    assert repr(gate).endswith(", 0 waiting>")


KINDS = {"anything": anything, "even": even, "nothing": nothing}
WAYS = st.sampled_from(["succeeded", "failed", "unused"])
#: Which of several: taken modulo how many there are.
WHICH = st.integers(0, 11)


def pick(members, which):
    """Take one out of a list."""
    return members.pop(which % len(members))


class Account(RuleBasedStateMachine):
    """One thread that plays all: whatever the order, the gate does what a plain account of it says."""

    def __init__(self):
        """Begin with nothing: no item, no permit, nobody waiting."""
        super().__init__()
        self.made = 0
        self.idle, self.in_hand, self.closed = [], [], []
        self.permits, self.queue, self.granted = [], [], []
        self.making, self.size, self.proven = 0, 1, False
        self.lost = 0

    @initialize(capacity=st.integers(0, 3), maximum=st.integers(1, 5))
    def begin(self, capacity, maximum):
        """Make the gate."""
        self.gate = Gate(capacity, maximum)

    @rule(kind=st.sampled_from(sorted(KINDS)))
    def enter(self, kind):
        """Ask: an idle item if one suits, else a permit if one is free and nobody waits, else a place."""
        self.let_in()
        fitting = [item for item in self.idle if KINDS[kind](item)]
        found = self.gate.enter(KINDS[kind])
        if fitting:
            assert found == fitting[-1]
            self.idle.remove(found)
            self.in_hand.append(found)
        elif self.making < self.size and not self.queue:
            assert isinstance(found, Permit)
            self.making += 1
            self.permits.append(found)
        else:
            assert is_waiting(found)
            self.queue.append(found)

    @precondition(lambda self: self.queue)
    @rule(which=WHICH)
    def give_up(self, which):
        """Leave the queue with nothing."""
        assert self.gate.leave(pick(self.queue, which)) is None

    @precondition(lambda self: self.granted)
    @rule(which=WHICH, in_time=st.booleans())
    def collect(self, which, in_time):
        """Come for what was granted: in time, or just as the time ran out."""
        waiter, item = pick(self.granted, which)
        found = waiter.wait(0) if in_time else self.gate.leave(waiter)
        if item is None:
            assert isinstance(found, Permit)
            self.permits.append(found)
        else:
            assert found == item
            self.in_hand.append(item)

    @precondition(lambda self: self.permits)
    @rule(which=WHICH, how=WAYS, again=WAYS)
    def settle(self, which, how, again):
        """Tell how the making went, twice; what was made is in hand, and free permits are granted."""
        permit = pick(self.permits, which)
        getattr(permit, how)()
        getattr(permit, again)()
        self.making -= 1
        if how == "succeeded":
            self.size = min(self.gate.window.maximum, self.size + 1 if self.proven else 99)
            self.proven = True
            self.made += 1
            self.in_hand.append(self.made)
        elif how == "failed":
            self.size = max(1, self.size // 2)
        self.let_in()

    def let_in(self):
        """Count lost permits as settled, and grant free ones in the order of the queue."""
        self.making, self.lost = self.making - self.lost, 0
        while self.queue and self.making < self.size:
            self.making += 1
            self.granted.append((self.queue.pop(0), None))

    @precondition(lambda self: self.permits)
    @rule(which=WHICH)
    def lose(self, which):
        """Forget a permit: an exception came between gate and connection."""
        pick(self.permits, which)
        self.lost += 1

    @rule()
    def sweep(self):
        """Look for lost permits, as who waits long does."""
        self.gate.sweep()
        self.let_in()

    @precondition(lambda self: self.in_hand)
    @rule(which=WHICH)
    def offer(self, which):
        """Give it back: to the first who waits for such a one, else to the idle, else to be closed."""
        item = pick(self.in_hand, which)
        takers = [waiter for waiter in self.queue if waiter.suits(item)]
        back = self.gate.offer(item)
        if takers:
            self.queue.remove(takers[0])
            self.granted.append((takers[0], item))
        else:
            (self.idle if len(self.idle) < self.gate.capacity else self.closed).append(item)
        assert back == (item if item in self.closed else None)

    @precondition(lambda self: self.idle)
    @rule(kind=st.sampled_from(sorted(KINDS)))
    def take(self, kind):
        """Close idle items."""
        doomed = [item for item in self.idle if KINDS[kind](item)]
        assert self.gate.take(KINDS[kind]) == doomed
        self.idle = [item for item in self.idle if item not in doomed]
        self.closed += doomed

    @rule(capacity=st.integers(0, 3))
    def resize(self, capacity):
        """Another lease comes or goes."""
        self.gate.capacity = capacity

    @invariant()
    def the_gate_agrees(self):
        """What it says of itself is what the account says: so many idle, being made, allowed, waiting."""
        if hasattr(self, "gate"):
            assert repr(self.gate) == (
                f"<Gate {len(self.idle)} idle, {self.making} being made of {self.size} allowed, "
                f"{len(self.queue)} waiting>"
            )

    @invariant()
    def nobody_waits_in_vain(self):
        """While somebody waits, no permit is free and no idle item would suit them."""
        assert all(is_waiting(waiter) for waiter in self.queue)
        assert not self.queue or self.making >= self.size
        assert not any(waiter.suits(item) for waiter in self.queue for item in self.idle)

    @invariant()
    def each_item_is_in_one_place(self):
        """Idle, in a hand, on its way to a waiter, or closed; none is lost, none is twice."""
        on_the_way = [item for _, item in self.granted if item is not None]

        assert sorted([*self.idle, *self.in_hand, *on_the_way, *self.closed]) == list(range(1, self.made + 1))


class TestAccount(Account.TestCase):
    """Never more being made than the window allows, no lost wake-up, each item in exactly one place."""

    settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
