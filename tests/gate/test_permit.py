"""Leave to make one item: what the gate learns from it, once, and what becomes of one that is lost."""

import gc
import itertools
from contextlib import suppress

import pytest

from resilient_transport.gate.gate import Gate
from resilient_transport.gate.permit import Permit
from tests.gate.values import (
    anything,
    ask,
    elsewhere,
    led,
    let_in,
    look,
    nothing,
    open_gate,
    permitted,
    sharing,
)


class Heard:
    """What gives a permit, and writes down what it learns."""

    def __init__(self):
        """Begin with nothing."""
        self.story = []

    def __getattr__(self, name):
        """Return a method of the gate."""
        return lambda *arguments: self.story.append((name, *arguments)) or f"{name}'s result"


CALLER = sharing()


@pytest.mark.parametrize(
    ("act", "heard"),
    [
        (lambda one: one.succeeded(), ("made", True)),
        (lambda one: one.succeeded(proof=False), ("made", False)),
        (lambda one: one.failed("it"), ("failed", "it", True, False, None)),
        (
            lambda one: one.failed("it", reset=False, fatal=True, caller=CALLER),
            ("failed", "it", False, True, CALLER),
        ),
        (lambda one: one.unused(), ("unused",)),
        (lambda one: one.closed(), ("closed",)),
        (lambda one: one.is_alone(), ("is_alone",)),
    ],
)
def test_a_permit_tells_its_gate(act, heard):
    """Itself, and what came of it."""
    gate = Heard()
    permit = Permit(gate)
    act(permit)

    assert gate.story == [(heard[0], permit, *heard[1:])]


def test_a_permit_tells_how_the_server_took_the_item():
    """As often as it is said: what a server accepts or refuses is not this item's alone."""
    gate = Heard()
    permit = Permit(gate)
    permit.succeeded(proof=False)
    for act in (permit.proved, permit.doubted, permit.proved):
        act()
    permit.refused("refused")

    assert gate.story[1:] == [("proved",), ("doubted",), ("proved",), ("refused", "refused")]


def test_a_failure_says_whether_the_pool_pauses():
    """It is the gate's answer; the second time there is none."""
    permit = Permit(Heard())

    assert (permit.failed("it"), permit.failed("it")) == ("failed's result", False)


SETTLING = ["succeeded", "failed", "unused"]


@pytest.mark.parametrize(("first", "again"), list(itertools.product([*SETTLING, "closed"], SETTLING)))
def test_a_permit_is_settled_once(first, again):
    """Whoever settles it again, as `close` does after `connect`, changes nothing."""
    gate = Heard()
    permit = Permit(gate)
    getattr(permit, first)()
    before = list(gate.story)
    getattr(permit, again)()

    assert len(before) == 1
    assert gate.story == before


@pytest.mark.parametrize("act", [*SETTLING, "closed", "proved", "doubted", "is_alone"])
def test_a_permit_without_a_gate_tells_nobody(act):
    """It was given in the middle of the gate's bookkeeping, and is counted by nobody."""
    permit = Permit(None)

    assert getattr(permit, act)() in (None, False)


def test_a_permit_without_a_gate_shares_no_refusal():
    """The same for what it is told of the item."""
    permit = Permit(None)
    permit.refused("refused")

    assert permit.failed("it", caller=sharing()) is False


def counts(gate):
    """Return how many items are open, and how many are being made."""
    return gate.open(), gate.making()


@pytest.mark.parametrize(
    ("steps", "story"),
    [
        (["succeeded", "closed"], [(1, 0), (0, 0)]),
        (["succeeded", "closed", "closed"], [(1, 0), (0, 0), (0, 0)]),
        (["failed", "closed"], [(0, 0), (0, 0)]),
        (["unused"], [(0, 0)]),
        (["closed", "proved"], [(0, 0), (0, 0)]),
        (["succeeded", "closed", "proved"], [(1, 0), (0, 0), (0, 0)]),
        (["closed", "succeeded"], [(0, 0), (0, 0)]),
    ],
)
def test_the_counts_follow_from_the_permits(steps, story):
    """Being made, open, ended: each permit is in one state; another one's is its own affair."""
    gate = open_gate()
    other = let_in(gate)
    other.succeeded()
    permit = let_in(gate)
    before = counts(gate)
    found = []
    for step in steps:
        getattr(permit, step)()
        found.append(counts(gate))

    assert before == (1, 1)
    assert found == [(1 + open_items, making) for open_items, making in story]
    other.closed()


@pytest.mark.parametrize("made", [False, True])
def test_a_lost_permit_is_given_back_by_being_forgotten(made):
    """A signal handler has raised, and nobody has it any more: it is counted no longer."""
    gate, permit, _, (waiter,) = led(None)
    if made:
        permit.succeeded(proof=False)
    before = counts(gate), permitted(waiter)
    del permit
    gc.collect()
    after = counts(gate)
    look(gate)

    assert before == (((1, 1) if made else (0, 1)), [made])
    assert after == ((0, 1) if made else (0, 0))
    assert permitted(waiter) == [True]


def test_a_permit_that_somebody_has_is_not_lost():
    """The control: whoever waits goes on waiting, however long the collector takes."""
    gate, permit, _, (waiter,) = led(None, clock=lambda: 0.0)
    gc.collect()
    look(gate)

    assert permitted(waiter) == [False]
    permit.unused()


def test_waiters_whose_threads_have_died_hold_nobody_up():
    """Each is served in its turn, gives it back by being forgotten, and the next one is served at once."""
    gate, leader, _, _ = led()
    for _ in range(5):
        ask(gate)
    last, after = ask(gate), ask(gate)
    leader.unused()

    assert permitted(last, after) == [True, False]
    assert (gate.making(), gate.waiting()) == (1, 1)


def test_a_permit_may_be_lost_in_the_middle_of_the_bookkeeping():
    """The garbage collector runs anywhere: what is lost there is counted no longer, and serves the next."""
    gate = open_gate(maximum=1)
    gate.offer(1)
    lost = [let_in(gate)]
    first = ask(gate, nothing)

    def suits(_):
        lost.clear()
        gc.collect()
        return False

    second = ask(gate, suits)

    assert permitted(first, second) == [True, False]
    assert gate.making() == 1


def test_closing_does_not_wait():
    """Another thread is in the gate: an open item is closed at once; who comes next counts the other."""
    gate = open_gate(maximum=2)
    made, making = let_in(gate), let_in(gate)
    made.succeeded()
    waiter = ask(gate, nothing)
    also = ask(gate, nothing)
    with gate.inbox.lock:
        elsewhere(lambda: (made.closed(), making.closed()))
        meanwhile = counts(gate), permitted(waiter, also)
    look(gate)

    assert meanwhile == ((0, 2), [True, False])
    assert permitted(also) == [True]
    assert counts(gate) == (0, 2)


class Interrupted(Gate):
    """A gate that a signal's handler keeps its own thread from."""

    def made(self, *_):
        """Raise as the handler does."""
        raise KeyboardInterrupt

    failed = unused = made


@pytest.mark.parametrize("how", SETTLING)
def test_closing_gives_back_what_an_interrupt_has_left(how):
    """Settled, but the gate never learned of it: the end of its item is the end of its place."""
    gate = Interrupted()
    permit, waiter = let_in(gate), ask(gate)
    with suppress(KeyboardInterrupt):
        getattr(permit, how)()
    before = counts(gate), permitted(waiter)
    permit.closed()

    assert before == ((0, 1), [False])
    assert permitted(waiter) == [True]


def test_an_item_that_was_closed_while_a_handler_made_it_is_not_open():
    """Made and closed in the middle of the gate's bookkeeping: both are done in their order."""
    gate = Gate()
    permit = let_in(gate)
    with gate.inbox.lock:
        permit.succeeded()
        permit.closed()
        meanwhile = counts(gate)
    look(gate)

    assert (meanwhile, counts(gate)) == ((0, 1), (0, 0))
    assert gate.window.proven


def test_only_a_permit_without_neighbours_is_alone():
    """While its item is being made, and nothing else is."""
    gate = open_gate()
    first = let_in(gate)
    story = [first.is_alone()]
    second = let_in(gate)
    story += [first.is_alone(), second.is_alone()]
    first.succeeded()
    story += [first.is_alone(), second.is_alone()]
    with gate.inbox.lock:
        story.append(second.is_alone())

    assert story == [True, False, False, False, True, False]


def test_a_permit_that_an_item_suits_is_none():
    """The control: who finds an idle item makes nothing."""
    gate = Gate()
    gate.offer(1)

    assert ask(gate, anything).granted == 1
    assert counts(gate) == (0, 0)
