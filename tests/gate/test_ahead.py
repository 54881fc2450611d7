"""What a leader that has shaken hands lets others do while the server's proof is under way. No sockets."""

import pytest

from resilient_transport.gate.gate import MOST_THRIFT, STALLED, Gate
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.window import AHEAD, Window
from tests.gate.values import ask, led, let_in, look, nothing, open_gate, permitted, sharing

CALLERS = 2 * AHEAD


class Clock:
    """A clock that stands still."""

    def __init__(self):
        """Begin at 0."""
        self.now = 0.0

    def __call__(self):
        """Return the time."""
        return self.now


def started(*, callers=CALLERS, **fields):
    """Return a cold gate, its leader's permit, and so many that wait for that."""
    gate, permit, _, waiters = led(*[sharing() for _ in range(callers)], **fields)
    return gate, permit, waiters


def test_some_are_let_in_when_the_first_has_shaken_hands():
    """Four, in the order in which they came; without that, the control, nobody is."""
    _, permit, waiters = started()
    before = sum(permitted(*waiters))
    permit.shook_hands(1.0, True)

    assert before == 0
    assert permitted(*waiters) == [True] * AHEAD + [False] * (CALLERS - AHEAD)


def test_of_many_one_in_four_is():
    """A burst of 32 is not held up for a round trip more; what a refusal costs stays a part of the whole."""
    _, permit, waiters = started(callers=31)
    permit.shook_hands(1.0, True)

    assert sum(permitted(*waiters)) == 31 // AHEAD


def test_who_waits_for_proof_takes_no_place_once_the_server_is_known():
    """When the first is accepted, as many may begin as ever; fewer where others still shake hands."""
    begun = []
    for have_shaken in (True, False):
        gate, permit, waiters = started(callers=40, maximum=16)
        permit.shook_hands(1.0, True)
        ahead = [waiter.granted for waiter in waiters if isinstance(waiter.granted, Permit)]
        for one in ahead if have_shaken else ():
            one.shook_hands(1.0, True)
        permit.succeeded()
        begun.append(sum(permitted(*waiters)) - len(ahead))

    assert begun == [16, 16 - len(ahead)]


def test_near_by_nobody_is():
    """There the proof comes sooner than a handshake, and with a session to resume."""
    _, permit, waiters = started()
    permit.shook_hands(1.0)

    assert sum(permitted(*waiters)) == 0


def test_no_more_than_may_ever_run_at_once():
    """Who has set `handshakes=2` gets no third one."""
    _, permit, waiters = started(maximum=2)
    permit.shook_hands(1.0, True)

    assert sum(permitted(*waiters)) == 1


def test_those_let_in_let_in_nobody_else():
    """Each has shaken hands, and the first one's proof has not come: there are five still."""
    _, permit, waiters = started()
    permit.shook_hands(1.0, True)
    for waiter in waiters[:AHEAD]:
        waiter.granted.shook_hands(1.0, True)

    assert sum(permitted(*waiters)) == AHEAD


@pytest.mark.parametrize("how", ["failed", "doubted", "refused"])
def test_after_a_failure_nobody_shakes_hands_ahead(how):
    """A server that resets gets one at a time again; one that refuses, none."""
    gate, permit, waiters = started()
    permit.shook_hands(1.0, True)
    getattr(permit, how)(*["refused"] * (how == "refused"))
    permit.closed()
    for waiter in waiters[:AHEAD]:
        waiter.granted.closed()
    look(gate)
    let_in_since = sum(permitted(*waiters[AHEAD:]))
    following = ask(gate, nothing, sharing())
    if isinstance(following.granted, Permit):
        following.granted.shook_hands(1.0, True)

    assert let_in_since + permitted(following)[0] <= 1
    assert gate.making() <= 1


def test_the_wait_for_proof_ends():
    """A leader that is silent holds nobody up for longer than the proof may take."""
    clock = Clock()
    gate, permit, waiters = started(clock=clock)
    permit.shook_hands(0.25)
    naps = [gate.nap(waiters[0])]
    story = [sum(permitted(*waiters))]
    for clock.now in (0.125, 0.25):
        look(gate)
        story.append(sum(permitted(*waiters)))

    assert naps == [(0.25, False)]
    assert story == [0, 0, 1]


def test_nor_for_longer_than_a_stall():
    """However long its handshake has taken."""
    clock = Clock()
    gate, permit, waiters = started(clock=clock)
    clock.now = STALLED / 2
    permit.shook_hands(10 * STALLED)
    clock.now = STALLED
    look(gate)

    assert sum(permitted(*waiters)) == 1


def test_what_is_settled_lets_in_nobody():
    """It has nothing to say any more; nor has one that nobody counts."""
    _, permit, waiters = started()
    permit.unused()
    before = sum(permitted(*waiters))
    permit.shook_hands(1.0, True)
    Permit(None).shook_hands(1.0, True)

    assert (before, sum(permitted(*waiters))) == (1, 1)


def test_a_proven_server_needs_none_of_it():
    """The window is open, and holds: who has shaken hands makes room for one, and lets nobody in besides."""
    gate = open_gate(maximum=2)
    permits = [let_in(gate), let_in(gate)]
    waiters = [ask(gate, nothing), ask(gate, nothing)]
    before = permitted(*waiters)
    permits[0].shook_hands(1.0, True)

    assert (before, permitted(*waiters)) == ([False, False], [True, False])


@pytest.mark.parametrize(("is_far", "thrift"), [(False, 0.05), (True, MOST_THRIFT)], ids=["near", "far"])
def test_far_away_the_first_answers_are_waited_for_longer(is_far, thrift):
    """They take a handshake and as long again; near by, 50 ms as ever."""
    clock = Clock()
    gate, permit, _ = started(callers=0, thrift=0.05, clock=clock)
    permit.shook_hands(1.0, is_far)
    permit.succeeded()
    late = ask(gate, nothing)
    clock.now = thrift - 0.01
    look(gate)
    before = permitted(late)[0]
    clock.now = thrift
    look(gate)

    assert (before, permitted(late)[0]) == (False, True)


def test_a_window_that_has_met_anything_is_as_it_is():
    """`ahead` is for a server of which nothing is known."""
    new, doubted, proven = Window(16), Window(16), Window(16)
    doubted.failed()
    proven.proved()
    proven.size = 1

    assert [one.has_room(1, 0, AHEAD) for one in (new, doubted, proven)] == [True, False, False]
    assert not Gate().window.has_room(1, 0)
