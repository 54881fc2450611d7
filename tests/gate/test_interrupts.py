"""Signals in the middle of the gate's own bookkeeping: handlers that raise, and handlers that make a call.

Each story is told once for each line of the gate that it runs through, and the signal comes in front of that
line. Python runs no handler between the end of a block and the release of its lock, so no signal comes there.
"""

import gc
import itertools
import linecache
import sys
from math import inf

import pytest

from resilient_transport.gate import caller, cold_start, gate, permit, waiter, window
from resilient_transport.gate.gate import Gate
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.waiter import Waiter
from resilient_transport.pool.shared_pool import SharedPool
from resilient_transport.settings.options import DEFAULT_OPTIONS
from resilient_transport.util import inbox
from resilient_transport.util.inbox import Inbox
from tests.gate.values import alone, anything, ask, elsewhere, let_in, look, nothing, permitted, sharing

FILES = {module.__file__ for module in (caller, cold_start, gate, inbox, permit, waiter, window)}


class Interrupt(BaseException):
    """What a signal handler raises."""


class Item:
    """What is made, kept and handed out."""


class Signal:
    """Runs a handler in front of one line of the gate, counted from when it is sent."""

    def __init__(self, gate, line, handler):
        """Begin with nothing."""
        self._inbox, self._handler = gate.inbox, handler
        self._left = line

    def has_come(self):
        """Tell whether there were so many lines."""
        return self._left <= 0

    def during(self, work):
        """Do something in a thread of its own, in the middle of which it comes; return what comes of it."""
        return elsewhere(self._traced, work)

    def _traced(self, work):
        sys.settrace(self)
        try:
            return work()
        except (Interrupt, Hangs) as error:
            return type(error)
        finally:
            sys.settrace(None)

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename not in FILES and frame.f_code.co_name != "_serve":
            return None
        if event == "line" and not self._is_release(frame):
            self._left -= 1
            if self._left == 0:
                self._handler()
        return self

    def _is_release(self, frame):
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        return self._inbox.is_mine() and text.startswith(("with ", "try:", "finally:", "self.lock.release"))


class Story:
    """A gate, those who wait at it, and what one more does there.

    `act` is what a signal interrupts. Who waits are bystanders: other threads' callers, which know nothing of
    it. `others` are their permits.
    """

    suits = staticmethod(nothing)

    def __init__(self, make):
        """Make the gate; the sub-class fills it."""
        self.gate = make()
        self.bystanders, self.others, self.items, self.own = [], [], [], []
        self.begin()

    def begin(self):
        """Come to the point where the signal comes."""

    def act(self):
        """Do what it interrupts; return the waiter, if there is one."""

    def item(self):
        """Make an item."""
        self.items.append(Item())
        return self.items[-1]

    def lead(self, *callers):
        """Be let in, with these who wait."""
        self.own.append(let_in(self.gate, leader := sharing()))
        self.bystanders = [ask(self.gate, anything, one) for one in callers]
        return leader

    def ask(self, *looks):
        """Ask, and do as the shared pool does: whatever happens, leave the queue."""
        waiter = Waiter(self.suits, sharing())
        try:
            self.gate.enter(waiter)
            for look_again in looks:
                look_again(waiter)
        finally:
            self.gate.leave(waiter)
        return waiter

    def end(self):
        """Forget all that was interrupted, let the bystanders go on, and return who got nothing."""
        self.own.clear()
        for other in self.others:
            other.unused()
        gc.collect()
        in_vain = []
        for bystander in self.bystanders:
            self.gate.look(bystander)
            if bystander.granted is None:
                in_vain.append(bystander)
            if isinstance(bystander.granted, Permit):
                bystander.granted.unused()
        return in_vain

    def is_lost(self, item):
        """Tell whether nobody has an item whom anybody can ask."""
        return item not in self.gate.idle() and not any(one.granted is item for one in self.bystanders)


class Takes(Story):
    """One takes an idle item at once."""

    suits = staticmethod(anything)

    def begin(self):
        self.gate.offer(self.item())

    def act(self):
        return self.ask()


class TakesWithoutWaiting(Takes):
    """One takes an idle item, or nothing."""

    def act(self):
        self.gate.take(anything)


class IsLetIn(Story):
    """One gets leave to make one."""

    def act(self):
        return self.ask()


class Waits(Story):
    """One waits, looks, and leaves."""

    def begin(self):
        self.others = [let_in(self.gate)]
        self.bystanders = [ask(self.gate, anything, sharing())]

    def act(self):
        return self.ask(self.gate.nap, self.gate.look)


class IsInAHurry(Waits):
    """One waits until it gets a permit whatever the window."""

    def act(self):
        return self.ask(lambda waiter: self.gate.look(waiter, urgent=True))


class DiesInTheQueue(Waits):
    """One waits, and its thread ends without another word."""

    def act(self):
        ask(self.gate, nothing, sharing())


class GivesBack(Story):
    """One gives an item back, and nobody waits."""

    def act(self):
        self.gate.offer(self.items[0] if self.items else self.item())


class ServesAnother(GivesBack):
    """One gives an item back that another one waits for."""

    def begin(self):
        self.others = [let_in(self.gate)]
        self.bystanders = [ask(self.gate), ask(self.gate)]


class Makes(Story):
    """One makes an item, which others wait for."""

    def begin(self):
        self.lead(sharing(), None, alone())

    def act(self):
        self.own[0].succeeded()


class MakesAndProves(Makes):
    """One makes an item of which the server says nothing before its first response."""

    def act(self):
        self.own[0].succeeded(proof=False)
        self.own[0].proved()


class IsRefused(Makes):
    """One makes an item that the server refuses."""

    def act(self):
        self.own[0].succeeded(proof=False)
        self.own[0].refused("refused")


class Fails(Story):
    """One can not make an item, which is everybody's failure that takes part."""

    def begin(self):
        self.leader = self.lead(sharing(), None, sharing(), alone())

    def act(self):
        self.own[0].failed("a reset", caller=self.leader)


class FailsForGood(Fails):
    """One can not make an item, nor can anybody."""

    def act(self):
        self.own[0].failed("refused", fatal=True, caller=self.leader)


class HandsOver(Makes):
    """One makes nothing."""

    def act(self):
        self.own[0].unused()


class ClosesBefore(Makes):
    """One closes what it has not made."""

    def act(self):
        self.own[0].closed()


class ClosesAfter(Makes):
    """One closes what it has made."""

    def act(self):
        self.own[0].succeeded()
        self.own[0].closed()


class GivesUpAll(Takes):
    """A finaliser takes out what nobody will use."""

    def act(self):
        self.gate.give_up_idle()


class TakesOut(Takes):
    """The reaper takes out what is too old."""

    def act(self):
        self.gate.take_out(anything)


STORIES = [
    Takes, TakesWithoutWaiting, IsLetIn, Waits, IsInAHurry, DiesInTheQueue, GivesBack, ServesAnother, Makes,
    MakesAndProves, IsRefused, Fails, FailsForGood, HandsOver, ClosesBefore, ClosesAfter, GivesUpAll,
    TakesOut,
]  # fmt: skip


def raises():
    """Raise, as a handler does."""
    raise Interrupt


def what_is_lost(kind, make=Gate):
    """Interrupt a story in front of each of its lines; return what was not right afterwards, by line."""
    wrong = {}
    for line in itertools.count(1):
        story = kind(make)
        signal = Signal(story.gate, line, raises)
        signal.during(story.act)
        if not signal.has_come():
            assert line > 1, "no line was interrupted"
            return wrong
        in_vain = story.end()
        newcomer = ask(story.gate, nothing, began=inf)
        look(story.gate)
        counts = story.gate.making(), story.gate.open(), story.gate.waiting()
        if in_vain or not permitted(newcomer)[0] or counts != (1, 0, 0):
            wrong[line] = in_vain, permitted(newcomer), counts
        if not elsewhere(story.gate.inbox.try_to_empty):
            wrong[line] = "the lock is held"
    return None


@pytest.mark.parametrize("kind", STORIES)
def test_an_interrupt_loses_nothing(kind):
    """Afterwards nothing is being made, nobody waits in vain, and who comes is served."""
    assert what_is_lost(kind) == {}


class RemovesFirst(Gate):
    """A gate that takes a waiter out of its queue before it serves it."""

    def _serve(self, waiter, what):
        self._queue.remove(waiter)
        waiter.grant(what)


@pytest.mark.parametrize("kind", [ServesAnother, Fails, Makes])
def test_who_is_out_of_the_queue_before_it_is_served_waits_in_vain(kind):
    """The control: between the two an interrupt loses another thread's waiter."""
    assert what_is_lost(kind, RemovesFirst)


def test_who_was_served_is_served_once():
    """An interrupt has left it in the queue: nobody gives it a second thing in place of the first."""
    gate, leader = Gate(), sharing()
    permit = let_in(gate, leader)
    served, other, third = ask(gate, anything, sharing()), ask(gate), ask(gate, nothing, sharing())
    served.grant(1)
    gate.offer(2)
    gate.look(served, urgent=True)
    permit.failed("a reset", caller=leader)

    assert (served.granted, other.granted, third.granted) == (1, 2, "a reset")
    assert (gate.waiting(), gate.making()) == (0, 0)


class Keeps(dict):
    """What is being made, held strongly."""

    def keyrefs(self):
        """Return what gives each key."""
        return [lambda key=key: key for key in self]


def keeping_gate():
    """Return a gate that keeps its permits."""
    gate = Gate()
    gate._making = Keeps()
    return gate


@pytest.mark.parametrize("kind", [IsLetIn, Makes, HandsOver])
def test_a_permit_that_is_kept_is_lost(kind):
    """The control: what is not given back by being forgotten is never given back."""
    assert what_is_lost(kind, keeping_gate)


@pytest.mark.parametrize("kind", [Takes, GivesBack, ServesAnother, TakesOut, GivesUpAll])
def test_an_interrupted_item_is_idle_granted_or_garbage(kind):
    """It is in one place at most: nobody is given what another one has."""
    places = set()
    for line in itertools.count(1):
        story = kind(Gate)
        signal = Signal(story.gate, line, raises)
        signal.during(story.act)
        if not signal.has_come():
            break
        look(story.gate)
        for item in story.items:
            owners = sum(one.granted is item for one in story.bystanders)
            places.add(owners + story.gate.idle().count(item))
        story.end()

    assert places <= {0, 1}
    assert 1 in places


class Call:
    """What a signal handler does: it makes a whole call, and it keeps what it has got."""

    def __init__(self, gate):
        """Begin."""
        self.gate = gate
        self.item, self.surplus, self.found = Item(), None, None

    def __call__(self):
        """Ask, make an item, give it back, look after the idle."""
        inside = self.gate.inbox.is_mine()
        waiter = ask(self.gate, nothing, sharing())
        self.found = self.gate.leave(waiter)
        if isinstance(self.found, Permit):
            self.found.failed("a reset", caller=waiter.caller)
        assert isinstance(self.found, Permit) or not inside
        self.gate.look(waiter, urgent=True)
        self.gate.nap(waiter)
        self.surplus = self.gate.offer(self.item)
        self.gate.give_up_idle() if inside else None
        self.gate.forget()


def what_comes_of_calls(kind, make=Gate):
    """Have a handler make a call in front of each line of a story; return what was not right, by line."""
    wrong = {}
    for line in itertools.count(1):
        story = kind(make)
        call = Call(story.gate)
        signal = Signal(story.gate, line, call)
        result = signal.during(lambda story=story: [story.act()])
        if not signal.has_come():
            assert line > 1, "no line was interrupted"
            return wrong
        if result is Hangs:
            return {line: "it hangs"}
        look(story.gate)
        waiters = [one for one in [*result, *story.bystanders] if one is not None]
        taken = any(one.granted is call.item for one in waiters)
        kept = call.item in story.gate.idle() or taken or call.surplus is call.item
        # What the story itself takes out is its own.
        kept = kept or kind in (TakesOut, GivesUpAll, TakesWithoutWaiting)
        result.clear()
        waiters.clear()
        call.found = None
        in_vain = story.end()
        counts = story.gate.making(), story.gate.open(), story.gate.waiting()
        if in_vain or not kept or counts != (0, 0, 0):
            wrong[line] = in_vain, kept, counts
    return None


@pytest.mark.parametrize("kind", STORIES)
def test_a_handler_that_makes_a_call_is_served(kind):
    """Wherever it strikes: its call goes its own way, what it has done is done by the next, nothing hangs."""
    assert what_comes_of_calls(kind) == {}


class Hangs(BaseException):
    """Told in place of waiting for oneself for ever."""


class Plain:
    """A lock that does not know its holder."""

    def __init__(self):
        """Begin with nobody."""
        self._is_held = False

    def __enter__(self):
        if self._is_held:
            raise Hangs
        self._is_held = True

    def __exit__(self, *_):
        self._is_held = False


def plain_gate():
    """Return a gate with a lock that does not know its holder."""
    gate = Gate()

    class PlainInbox(Inbox):
        lock, is_mine = Plain(), staticmethod(lambda: False)

    gate.inbox = PlainInbox()
    return gate


@pytest.mark.parametrize("kind", [Takes, IsLetIn, Makes, Fails, GivesBack])
def test_with_a_plain_lock_a_handler_hangs(kind):
    """The control: its own thread holds the lock that it waits for."""
    assert what_comes_of_calls(kind, plain_gate) == {max(what_comes_of_calls(kind, plain_gate)): "it hangs"}


def test_what_a_predicate_does_to_the_gate_is_left():
    """It is asked under the lock: a call from there gets a permit that is not counted, and spoils nothing."""
    gate = Gate()
    for item in (1, 2, 3):
        gate.offer(item)
    leader, story = let_in(gate), []

    def suits(item):
        waiter = ask(gate, anything)
        story.append((permitted(waiter), gate.take(anything), gate.take_out(anything), gate.making()))
        waiter.granted.succeeded()
        gate.offer(item * 10)
        leader.failed("a reset")
        return item == 2

    found = ask(gate, suits).granted
    meanwhile = gate.idle()
    look(gate)

    assert found == 2
    assert story == [([True], None, [], 1)] * 2
    assert (meanwhile, gate.idle()) == ([1, 3], [1, 3, 30, 20])
    assert (gate.making(), gate.window.doubted) == (0, False)


def test_what_a_handler_gives_back_goes_to_who_waits():
    """The next holder of the lock serves the queue first, then the idle, whatever the capacity."""
    gate = Gate(capacity=0)
    leader, waiter = let_in(gate), ask(gate)
    with gate.inbox.lock:
        story = [gate.offer(1), gate.offer(2)]
    meanwhile = waiter.granted
    look(gate)

    assert (story, meanwhile) == ([None, None], None)
    assert (waiter.granted, gate.idle()) == (1, [2])
    leader.unused()


@pytest.mark.parametrize("how", ["succeeded", "failed", "unused", "closed"])
def test_what_a_handler_settles_is_counted_by_the_next(how):
    """It holds the lock already, and leaves it; a failure is its own: it charges nobody."""
    gate, leader = Gate(), sharing()
    permit, waiter = let_in(gate, leader), ask(gate, nothing, sharing())
    with gate.inbox.lock:
        getattr(permit, how)(*(["a reset"] if how == "failed" else []))
        meanwhile = gate.making(), waiter.granted
    look(gate)

    assert meanwhile == (1, None)
    assert permitted(waiter) == [True]
    assert gate.window.proven is (how == "succeeded")
    assert gate.cold_start.round == 0


@pytest.mark.parametrize(("how", "proven"), [("proved", True), ("doubted", False), ("refused", False)])
def test_what_a_handler_hears_is_heard_by_the_next(how, proven):
    """A response, a reset, a refusal: what it says of the server is not lost."""
    gate = Gate()
    permit = let_in(gate)
    permit.succeeded(proof=False)
    waiters = [ask(gate, nothing), ask(gate, nothing)]
    with gate.inbox.lock:
        getattr(permit, how)(*(["refused"] if how == "refused" else []))
        meanwhile = gate.window.proven, gate.window.doubted, waiters[1].granted
    look(gate)

    assert meanwhile == (False, False, None)
    assert (gate.window.proven, gate.window.doubted) == (proven, how == "doubted")
    assert waiters[1].granted == "refused" if how == "refused" else permitted(waiters[1]) == [proven]


def test_a_handler_that_leaves_the_queue_is_gone():
    """Its waiter is taken out by the next, or takes with it what it is granted before."""
    gate = Gate()
    leader, waiter, other = let_in(gate), ask(gate), ask(gate)
    with gate.inbox.lock:
        left = gate.leave(waiter)
    leader.unused()

    assert left is None
    assert (permitted(waiter, other), gate.waiting()) == ([False, True], 0)


def test_to_end_a_lease_does_not_wait():
    """A finaliser ends it while another thread is in the gate; who comes next agrees anew."""
    pool = SharedPool("key")
    tickets = [pool.join(size, DEFAULT_OPTIONS) for size in (10, 20)]
    before = pool.gate.capacity
    with pool.gate.inbox.lock:
        elsewhere(tickets[1].end)
        meanwhile = pool.gate.capacity, pool.leases()
    look(pool.gate)

    assert (before, meanwhile) == (20, (20, 1))
    assert pool.gate.capacity == 10
