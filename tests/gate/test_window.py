"""How many may be made at once, and when one is worth making: the arithmetic, then the gate that uses it."""

import gc
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_transport.gate.gate import LOOK_EVERY, STALLED, Gate
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.window import MAXIMUM, Window
from tests.gate.test_gate import anything, busy_gate, even, granted, is_waiting, nothing, open_gate
from tests.retry.values import Clock
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

SECONDS = st.floats(0.0, 100.0)
COUNT = st.integers(0, 50)


def opened(maximum=MAXIMUM, seconds=0.0):
    """Return a window whose server has accepted one connection, made in so many seconds."""
    window = Window(maximum)
    window.succeeded(seconds)
    return window


def learned(handshake=None, hold=None):
    """Return a window that has measured this."""
    window = Window()
    window.handshake, window.hold = handshake, hold
    return window


def test_a_cold_window_lets_one_through():
    """Before the first proof one handshake at a time is all that is known to be safe."""
    window = Window()

    assert (window.size, window.proven, window.doubted, window.weak) == (1, False, False, 0)
    assert (window.handshake, window.hold) == (None, None)


def test_the_first_proof_opens_the_window():
    """To its maximum at once: a server that bears one handshake bears a start's worth of them."""
    window = opened(maximum=8)

    assert (window.size, window.proven) == (8, True)
    assert Window().maximum == MAXIMUM == 16


def test_each_reset_halves_the_window():
    """Down to one, and never to none: somebody has to go on trying."""
    window = opened(maximum=10)
    sizes = []
    for _ in range(5):
        window.failed()
        sizes.append(window.size)

    assert sizes == [5, 2, 1, 1, 1]
    assert window.doubted


def test_each_success_adds_one():
    """Up to the maximum; one success ends the doubt that a reset has raised."""
    window = opened(maximum=4)
    window.failed()
    window.failed()
    sizes = []
    for _ in range(5):
        window.succeeded(0.0)
        sizes.append(window.size)

    assert sizes == [2, 3, 4, 4, 4]
    assert not window.doubted


def test_a_success_without_proof_adds_one_to_an_open_window():
    """Once the server has accepted one, silence is as good as a ticket."""
    window = opened(maximum=8)
    window.failed()
    window.succeeded(0.0, proof=False)

    assert (window.size, window.proven, window.doubted, window.weak) == (5, True, False, 0)


def test_a_cold_window_stays_at_one_through_resets():
    """And the first proof opens it all the same."""
    window = Window()
    window.failed()
    cold = window.size, window.proven, window.doubted
    window.succeeded(0.0)

    assert cold == (1, False, True)
    assert (window.size, window.proven, window.doubted) == (16, True, False)


def test_what_has_stalled_makes_room():
    """Beside each that has stalled there is room for one more, up to the maximum."""
    window = opened(maximum=4)
    window.failed()
    room = {
        (0, 0): True,
        (2, 0): False,
        (2, 1): True,
        (3, 1): False,
        (3, 2): True,
        (4, 2): False,
        (4, 4): False,
    }

    assert window.size == 2
    assert {counts: window.has_room(*counts) for counts in room} == room


def test_a_full_window_has_no_room_beside_what_has_stalled():
    """The control: at its maximum it takes as many as it says, and not one more."""
    window = opened(maximum=4)

    assert [window.has_room(3, 0), window.has_room(4, 0), window.has_room(4, 3)] == [True, False, False]


def test_weak_successes_let_in_as_many_as_there_were():
    """A silent server may have accepted: it is tried with one more each time, and stays unproven."""
    window = Window(maximum=4)
    sizes = []
    for _ in range(6):
        window.succeeded(0.0, proof=False)
        sizes.append((window.size, window.proven))

    assert sizes == [(1, False), (2, False), (3, False), (4, False), (4, False), (4, False)]
    assert window.weak == 6


def test_a_reset_halves_what_weak_successes_have_opened():
    """The server bore fewer than it seemed to."""
    window = Window()
    for _ in range(6):
        window.succeeded(0.0, proof=False)
    window.failed()

    assert (window.size, window.proven, window.doubted) == (3, False, True)


def test_a_response_proves_what_was_weak():
    """The first response is the proof that the handshake has not brought."""
    window = Window(maximum=8)
    window.succeeded(0.0, proof=False)
    window.proved()

    assert (window.size, window.proven) == (8, True)


def test_only_the_first_proof_opens():
    """The control: later responses do not undo what resets have taught."""
    window = opened(maximum=8)
    window.failed()
    window.proved()

    assert (window.size, window.proven, window.doubted) == (4, True, True)


def test_the_first_measurement_is_the_mean():
    """Of a handshake, with proof or without, and of a hold."""
    strong, weak = Window(), Window()
    strong.succeeded(0.5)
    weak.succeeded(0.25, proof=False)
    strong.held(2.0)

    assert (strong.handshake, weak.handshake, strong.hold) == (0.5, 0.25, 2.0)


def test_a_new_measurement_weighs_an_eighth():
    """As in TCP's round-trip times: seven parts old, one part new."""
    window = learned(handshake=1.0, hold=1.0)
    window.succeeded(9.0)
    window.held(5.0)

    assert (window.handshake, window.hold) == (2.0, 1.5)


def test_a_failure_measures_nothing():
    """How long it took to be reset says nothing about how long a handshake takes."""
    window = learned(handshake=1.0, hold=2.0)
    window.failed()

    assert (window.handshake, window.hold) == (1.0, 2.0)


@given(st.lists(SECONDS, min_size=1, max_size=20))
def test_a_mean_lies_between_its_measurements(seconds):
    """Whatever was measured, in whatever order."""
    window = Window()
    for one in seconds:
        window.succeeded(one)

    assert min(seconds) - 1e-9 <= window.handshake <= max(seconds) + 1e-9


@pytest.mark.parametrize(("seconds", "hold"), [(3.0, 3.0), (4.0, 4.0), (4.5, 4.0), (3600.0, 4.0)])
def test_a_long_hold_counts_as_eight_handshakes(seconds, hold):
    """After one download nobody must think that connections come back slowly."""
    window = learned(handshake=0.5)
    window.held(seconds)

    assert window.hold == hold


@pytest.mark.parametrize("handshake", [None, 0.0])
def test_without_a_handshake_to_compare_with_a_hold_counts_in_full(handshake):
    """The control: there is nothing to cap it by."""
    window = learned(handshake=handshake)
    window.held(3600.0)

    assert window.hold == 3600.0


@given(handshake=SECONDS, holds=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=20))
def test_a_mean_hold_never_exceeds_eight_handshakes(handshake, holds):
    """However long, and however often: one connection's worth of waiting is bounded."""
    window = learned(handshake=handshake + 0.001)
    for hold in holds:
        window.held(hold)

    assert window.hold <= 8 * window.handshake * (1 + 1e-9)


@given(ahead=COUNT, made=COUNT, hold=st.none() | SECONDS)
def test_with_nothing_known_one_is_always_worth_making(ahead, made, hold):
    """With no connection open nothing can come back, and without a mean nobody can tell when."""
    never_measured, nothing_open = learned(None, hold), learned(1.0, hold)

    assert never_measured.is_worth(ahead, made)
    assert nothing_open.is_worth(ahead, 0)


@pytest.mark.parametrize(
    ("ahead", "hold", "made", "worth"),
    [
        (1, 1.0, 1, True),  # as long as a handshake: make one
        (1, 0.75, 1, False),
        (2, 0.75, 1, True),
        (2, 0.75, 2, False),
        (3, 0.75, 2, True),
        (1, 8.0, 8, True),
        (1, 8.0, 9, False),
        (0, 8.0, 1, False),  # nobody waits
    ],
)
def test_one_is_worth_making_when_waiting_takes_longer(ahead, hold, made, worth):
    """Callers ahead, oneself included, times the mean hold, shared by the open ones, against a handshake."""
    assert learned(1.0, hold).is_worth(ahead, made) is worth


@pytest.mark.parametrize(("ahead", "worth"), [(1, False), (2, True), (3, True)])
def test_an_unknown_hold_is_half_a_handshake(ahead, worth):
    """A short call takes a round trip, TCP and TLS at least two: the second in the queue makes its own."""
    assert learned(1.0).is_worth(ahead, made=1) is worth


@given(handshake=SECONDS, hold=st.none() | SECONDS, ahead=COUNT, made=COUNT, more=COUNT)
def test_a_longer_queue_makes_it_no_less_worth(handshake, hold, ahead, made, more):
    """Monotonic in those ahead."""
    window = learned(handshake, hold)

    assert window.is_worth(ahead, made) <= window.is_worth(ahead + more, made)


@given(handshake=SECONDS, hold=st.none() | SECONDS, ahead=COUNT, made=COUNT, more=COUNT)
def test_more_open_ones_make_it_no_more_worth(handshake, hold, ahead, made, more):
    """Antitonic in the connections that are open."""
    window = learned(handshake, hold)

    assert window.is_worth(ahead, made) >= window.is_worth(ahead, made + more)


@given(
    st.integers(1, 20),
    st.lists(st.sampled_from(["succeeded", "weak", "failed", "proved", "held"]), max_size=40),
)
def test_the_window_keeps_its_bounds(maximum, story):
    """From one to the maximum, whatever happens; proven stays proven; doubted is what was reset last."""
    window = Window(maximum)
    proven, doubted = False, False
    for event in story:
        if event == "weak":
            window.succeeded(1.0, proof=False)
        elif event == "failed":
            window.failed()
        elif event == "proved":
            window.proved()
        else:
            getattr(window, event)(1.0)
        proven = proven or event in ("succeeded", "proved")
        doubted = event == "failed" if event in ("succeeded", "weak", "failed") else doubted

        assert 1 <= window.size <= maximum
        assert (window.proven, window.doubted) == (proven, doubted)


def test_a_cold_gate_grants_one_permit():
    """Who comes second waits for the first one's outcome."""
    gate = Gate()
    leader = gate.enter(anything)

    assert isinstance(leader, Permit)
    assert is_waiting(gate.enter(anything))
    assert repr(gate) == "<Gate 0 idle of 0 open, 1 being made of 1 allowed, 1 waiting>"


def test_an_open_gate_grants_as_many_as_its_window():
    """The control: after the first success nobody waits until the window is full."""
    gate = open_gate(maximum=3)
    found = [gate.enter(anything) for _ in range(4)]

    assert granted(*found) == [True, True, True, False]
    assert is_waiting(found[3])


def test_the_first_success_wakes_everyone():
    """The window opens, and all who waited may make their own, as far as it is wide and worth it."""
    gate = Gate(maximum=3)
    leader = gate.enter(anything)
    waiters = [gate.enter(anything) for _ in range(5)]
    leader.succeeded(1.0)

    assert granted(*waiters) == [False, False, True, True, True]
    assert repr(gate) == "<Gate 0 idle of 1 open, 3 being made of 3 allowed, 2 waiting>"


def test_a_reset_of_a_cold_gate_wakes_one():
    """The control: the next one tries, alone."""
    gate = Gate(maximum=3)
    leader = gate.enter(anything)
    waiters = [gate.enter(anything) for _ in range(3)]
    leader.failed()

    assert granted(*waiters) == [True, False, False]


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
    getattr(gate.enter(anything), how)(**fields)

    assert (gate.window.size, gate.window.proven, gate.window.doubted) == story


def test_a_reset_before_anything_was_carried_narrows_the_window():
    """The item seemed accepted: it counts as a reset handshake, and as open until it is closed."""
    gate, permits = busy_gate(1, maximum=8)
    permits[0].doubted()

    assert (gate.window.size, gate.window.proven, gate.window.doubted) == (4, True, True)
    assert repr(gate).startswith("<Gate 0 idle of 1 open, 0 being made")


@pytest.mark.parametrize("first", ["succeeded", "failed", "unused", "closed"])
@pytest.mark.parametrize("again", ["succeeded", "failed", "unused"])
def test_a_permit_is_settled_once(first, again):
    """Whoever settles it again, as `close` does after `connect`, changes nothing."""
    gate = open_gate(maximum=8)
    permit, other = gate.enter(anything), gate.enter(anything)
    getattr(permit, first)()
    before = repr(gate), gate.window.size, gate.window.doubted
    getattr(permit, again)()
    after = repr(gate), gate.window.size, gate.window.doubted
    other.unused()

    assert after == before
    assert "1 being made" in before[0]
    assert "0 being made" in repr(gate)


def test_what_is_closed_while_being_made_came_to_nothing():
    """The next in the queue makes one."""
    gate = Gate()
    permit, waiter = gate.enter(anything), gate.enter(anything)
    permit.closed()

    assert granted(waiter) == [True]
    assert repr(gate) == "<Gate 0 idle of 0 open, 1 being made of 1 allowed, 0 waiting>"


def test_proof_of_a_closed_item_does_not_open_it_again():
    """Another thread has closed it as the response came: the server has accepted it all the same."""
    gate = Gate()
    permit = gate.enter(anything)
    permit.succeeded(1.0, proof=False)
    permit.closed()
    permit.proved()

    assert gate.window.proven
    assert "of 0 open" in repr(gate)


class Interrupted(Gate):
    """A gate that a signal's handler keeps its own thread from: it comes in front of the lock."""

    def settle(self, *args, **fields):
        """Raise as the handler does."""
        raise KeyboardInterrupt

    fail = settle


@pytest.mark.parametrize("how", ["succeeded", "failed", "unused", "closed"])
def test_a_permit_whose_settling_is_interrupted_is_not_lost(how):
    """A signal may come between the permit and the gate's lock: the place is free again all the same."""
    gate = Interrupted()
    permit = gate.enter(anything)
    with suppress(KeyboardInterrupt):
        getattr(permit, how)()
    del permit
    gc.collect()

    assert granted(gate.enter(anything)) == [True]


def test_a_weak_success_lets_in_as_many_as_there_were():
    """A silent server is tried with one, then with two at once; its first response opens the window."""
    gate = Gate(maximum=4)
    first = gate.enter(anything)
    waiters = [gate.enter(anything, eager=True) for _ in range(7)]
    story = []
    for step in (
        lambda: first.succeeded(0.0, proof=False),
        lambda: waiters[0].granted.succeeded(0.0, proof=False),
        first.proved,
    ):
        step()
        story.append((sum(granted(*waiters)), gate.window.proven))

    assert story == [(1, False), (3, False), (5, True)]
    assert repr(gate) == "<Gate 0 idle of 2 open, 4 being made of 4 allowed, 2 waiting>"


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
    assert granted(waiter) == [True]


def test_proof_is_needed_until_one_came_and_after_a_reset():
    """The next item is confirmed while nothing is known of the server, or something bad."""
    gate = Gate()
    story = [gate.needs_proof()]
    for how in ("unused", "succeeded", "failed", "unused", "succeeded"):
        getattr(gate.enter(anything), how)()
        story.append(gate.needs_proof())

    assert story == [True, True, False, True, True, False]


def test_who_comes_waits_for_an_open_item_while_that_is_sooner():
    """A hold is taken for half a handshake: the first waits for the one in use, the second makes its own."""
    gate, _open = busy_gate(1)
    found = [gate.enter(anything) for _ in range(3)]

    assert granted(*found) == [False, True, True]


def test_with_nothing_open_everybody_makes_one():
    """The control: nothing can come back."""
    gate = open_gate()

    assert granted(*[gate.enter(anything) for _ in range(3)]) == [True, True, True]


def test_who_is_eager_makes_one_at_once():
    """A request that takes no idle item has nothing to wait for."""
    gate, _open = busy_gate(1)

    assert granted(gate.enter(anything), gate.enter(nothing, eager=True)) == [False, True]


def test_an_item_counts_as_open_until_it_is_closed():
    """Once: to close it again takes away nobody else's."""
    gate, permits = busy_gate(2)
    story = []
    for permit in (permits[0], permits[0], permits[1]):
        permit.closed()
        story.append(repr(gate).partition(",")[0])

    assert story == ["<Gate 0 idle of 1 open", "<Gate 0 idle of 1 open", "<Gate 0 idle of 0 open"]


def test_closing_the_last_item_lets_in_who_waited_for_it():
    """It will not come back: somebody has to make one."""
    gate, permits = busy_gate(1)
    waiter = gate.enter(anything)
    waited = is_waiting(waiter)
    permits[0].closed()

    assert waited
    assert granted(waiter) == [True]


@pytest.mark.parametrize(("still_open", "served"), [(1, 2), (0, 0)])
def test_a_permit_goes_where_it_serves_best(still_open, served):
    """The front is served by what is in use, so the back makes one; with nothing in use the front does."""
    gate, permits = busy_gate(3, maximum=1)
    maker = gate.enter(nothing, eager=True)
    waiters = [gate.enter(anything) for _ in range(3)]
    for permit in permits[still_open:]:
        permit.closed()
    before = granted(*waiters)
    maker.unused()

    assert before == [False, False, False]
    assert granted(*waiters) == [number == served for number in range(3)]


@pytest.mark.parametrize(("waited", "served"), [(0.984375, False), (1.0, True), (5.0, True)])
def test_who_has_waited_a_mean_handshake_takes_any_permit(waited, served):
    """By then one of its own would be there: waiting on was the wrong guess."""
    clock = Clock(100.0)
    gate, _open = busy_gate(1, clock=clock)
    waiter = gate.enter(anything)
    clock.now += waited
    gate.look(waiter)

    assert (waiter.eager, granted(waiter)) == (served, [served])


def test_nobody_is_eager_before_a_handshake_was_measured():
    """How long is long is not known yet, and the leader's outcome is worth waiting for."""
    clock = Clock(0.0)
    gate = Gate(clock=clock)
    leader = gate.enter(anything)
    waiter = gate.enter(anything)
    clock.now = STALLED
    gate.look(waiter)

    assert not waiter.eager
    assert is_waiting(waiter)
    leader.unused()


def test_who_is_eager_is_served_before_who_is_not():
    """The first in the queue is content with an open item; the permit is for who is not, first come."""
    gate, _open = busy_gate(1, maximum=1)
    maker = gate.enter(nothing, eager=True)
    content, first, second = (gate.enter(nothing, eager=eager) for eager in (False, True, True))
    maker.unused()

    assert granted(content, first, second) == [False, True, False]


def test_nobody_waits_for_the_response_of_the_leader():
    """When the first handshake is over, who still waits is woken once, and waits as long again."""
    clock = Clock(0.0)
    gate = Gate(clock=clock)
    leader = gate.enter(anything)
    waiter = gate.enter(anything)
    clock.now = 0.0625
    leader.succeeded(0.0625)
    start = time.monotonic()
    woken = waiter.wait(LONG_TIMEOUT), gate.nap(waiter)
    between = time.monotonic()
    waiter.wait(SHORT_TIMEOUT)
    end = time.monotonic()
    clock.now += 0.0625
    gate.look(waiter)

    assert woken == (None, 0.0625)
    assert between - start < LONG_TIMEOUT / 2
    assert end - between > SHORT_TIMEOUT / 2
    assert granted(waiter) == [True]


def test_who_waits_is_woken_once_for_the_first_handshake():
    """The control: after that everybody knows how long a nap is."""
    clock = Clock(0.0)
    gate, _open = busy_gate(1, clock=clock)
    waiter = gate.enter(anything)
    clock.now = 0.5
    _open.append(gate.enter(nothing, eager=True))
    _open[1].succeeded(1.0)

    assert (waiter.since, gate.nap(waiter)) == (0.0, 0.5)
    assert is_waiting(waiter)


def test_a_long_hold_lets_in_who_is_now_worth_one():
    """What comes back after long, and suits nobody, shows that waiting takes longer than a handshake."""
    gate, _open = busy_gate(2)
    waiter = gate.enter(even)
    gate.offer(1, held=8.0)

    assert granted(waiter) == [True]


@pytest.mark.parametrize(
    ("eager", "waited", "seconds"),
    [
        (False, 0.0, 0.25),  # until it is eager
        (False, 0.125, 0.125),
        (True, 0.0, LOOK_EVERY),
        (True, 0.5, LOOK_EVERY),
    ],
)
def test_a_nap_ends_when_there_may_be_something_new(eager, waited, seconds):
    """What nobody announces: a mean handshake has gone by, a permit was lost, a handshake has stalled."""
    clock = Clock(50.0)
    gate, _open = busy_gate(1, maximum=1, clock=clock)
    maker = gate.enter(nothing, eager=True)
    gate.window.handshake = 0.25
    waiter = gate.enter(anything, eager=eager)
    clock.now += waited

    assert gate.nap(waiter) == seconds
    maker.unused()


def test_a_nap_at_a_cold_gate_is_short():
    """The leader may stall or be lost, and nobody would tell."""
    gate = Gate()
    leader = gate.enter(anything)

    assert gate.nap(gate.enter(anything)) == LOOK_EVERY
    leader.unused()


def test_a_nap_is_over_when_its_time_has_come_already():
    """The handshake's time may end between `enter` and `nap`, as it does on a busy machine: look at once."""
    clock = Clock(0.0)
    gate, _open = busy_gate(1, clock=clock)
    gate.window.handshake = 0.0625
    waiter = gate.enter(anything)
    clock.now = 0.125

    assert gate.nap(waiter) < LOOK_EVERY / 100


def test_a_stalled_leader_holds_nobody_up():
    """After a second one more is let in, and after another second of that one's the next."""
    clock = Clock(0.0)
    gate = Gate(clock=clock)
    leader = gate.enter(anything)
    waiters = [gate.enter(anything) for _ in range(3)]
    story = []
    for now in (STALLED, STALLED + 0.25, STALLED + 0.5, 2 * STALLED + 0.5):
        clock.now = now
        gate.look(waiters[2])
        story.append(sum(granted(*waiters)))

    assert story == [0, 1, 1, 2]
    assert granted(*waiters) == [True, True, False]
    leader.unused()


def test_a_newcomer_is_let_in_beside_a_stalled_leader():
    """Without anybody in the queue to look."""
    clock = Clock(0.0)
    gate = Gate(clock=clock)
    leader = gate.enter(anything)
    clock.now = STALLED + 0.25

    assert granted(gate.enter(anything), gate.enter(anything)) == [True, False]
    leader.unused()


def test_however_many_have_stalled_the_maximum_holds():
    """A server that answers nobody is not asked by everybody."""
    clock = Clock(0.0)
    gate = Gate(maximum=3, clock=clock)
    found = [gate.enter(anything) for _ in range(6)]
    for _ in range(6):
        clock.now += 2 * STALLED
        gate.look(found[5])

    assert granted(*found) == [True, True, True, False, False, False]
    assert repr(gate) == "<Gate 0 idle of 0 open, 3 being made of 1 allowed, 3 waiting>"
