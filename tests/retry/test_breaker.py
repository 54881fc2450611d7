"""A circuit breaker, on a clock of its own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilient_transport.retry.breaker import Breaker, Circuit
from tests.retry.values import Clock


@pytest.fixture
def clock():
    """A clock that stands still until it is told to go on."""
    return Clock(1000.0)


@pytest.fixture
def circuit(clock):
    """A circuit that opens after three failures within 10 s, for 30 s."""
    return Circuit(Breaker(failures=3, window=10.0, cool_down=30.0), clock)


def fail(circuit, times=1):
    """Let so many attempts fail; whether each has opened the circuit."""
    return [circuit.failed(circuit.enter()) for _ in range(times)]


def open_up(circuit, clock):
    """Open it, and let it cool down."""
    fail(circuit, 3)
    clock.now += 30


def test_the_defaults():
    """Five failures within 10 s, left alone for 30 s."""
    assert Breaker() == Breaker(failures=5, window=10.0, cool_down=30.0)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"failures": 0}, ValueError),
        ({"failures": -1}, ValueError),
        ({"failures": 1.5}, TypeError),
        ({"failures": True}, TypeError),
        ({"failures": "5"}, TypeError),
        ({"window": 0}, ValueError),
        ({"window": float("inf")}, ValueError),
        ({"window": float("nan")}, ValueError),
        ({"window": None}, TypeError),
        ({"cool_down": -1}, ValueError),
        ({"cool_down": True}, TypeError),
    ],
)
def test_a_wrong_value_is_refused_by_name(values, error):
    """What is not allowed is told when it is made."""
    with pytest.raises(error, match=f"^{next(iter(values))} is "):
        Breaker(**values)


def test_it_opens_after_so_many_failures_in_a_row(circuit):
    """The last of them opens it, and it says so once."""
    assert fail(circuit, 3) == [False, False, True]
    assert circuit.is_open()
    assert circuit.enter() is None
    assert circuit.opens_in() == 30


def test_fewer_leave_it_closed(circuit):
    """The control: two failures change nothing."""
    fail(circuit, 2)

    assert not circuit.is_open()
    assert circuit.enter() is not None
    assert circuit.opens_in() == 0


def test_one_failure_may_be_enough(clock):
    """`failures=1` opens it at the first."""
    assert fail(Circuit(Breaker(failures=1), clock)) == [True]


def test_a_success_clears_the_count(circuit):
    """They have to be in a row."""
    fail(circuit, 2)

    assert circuit.succeeded(circuit.enter()) is False
    assert fail(circuit, 3) == [False, False, True]


@pytest.mark.parametrize(("apart", "opens"), [(4.9, True), (5.0, True), (5.1, False)])
def test_they_have_to_come_within_the_window(circuit, clock, apart, opens):
    """The first and the last of three are no further apart than 10 s."""
    for _ in range(3):
        opened = fail(circuit)
        clock.now += apart

    assert opened == [opens]


def test_the_window_slides(circuit, clock):
    """An old failure is forgotten, and those after it count on."""
    fail(circuit)
    clock.now += 9
    fail(circuit)
    clock.now += 2

    assert fail(circuit, 2) == [False, True]


@pytest.mark.parametrize(("later", "enters"), [(0, False), (29.9, False), (30, True), (3000, True)])
def test_it_cools_down(circuit, clock, later, enters):
    """Nothing is tried before its time."""
    fail(circuit, 3)
    clock.now += later

    assert (circuit.enter() is not None) == enters


def test_one_probe_only(circuit, clock):
    """Who comes while it is under way is refused, and may try again at once."""
    open_up(circuit, clock)
    probe = circuit.enter()

    assert probe is not None
    assert [circuit.enter() for _ in range(3)] == [None] * 3
    assert circuit.opens_in() == 0


def test_one_probe_of_twenty_threads(circuit, clock):
    """However many come in the same moment, one is let in."""
    open_up(circuit, clock)
    barrier = threading.Barrier(20)

    def enter(_):
        barrier.wait()
        return circuit.enter()

    with ThreadPoolExecutor(20) as pool:
        entered = [one for one in pool.map(enter, range(20)) if one is not None]

    assert len(entered) == 1


def test_a_good_probe_closes_it(circuit, clock):
    """It says so once, and begins to count anew."""
    open_up(circuit, clock)

    assert circuit.succeeded(circuit.enter()) is True
    assert not circuit.is_open()
    assert circuit.succeeded(circuit.enter()) is False
    assert fail(circuit, 3) == [False, False, True]


def test_a_bad_probe_opens_it_anew(circuit, clock):
    """One failure is enough then, for as long as before."""
    open_up(circuit, clock)

    assert fail(circuit) == [True]
    assert circuit.opens_in() == 30
    assert circuit.enter() is None


def test_a_probe_that_came_to_nothing_lets_another_in(circuit, clock):
    """What failed for the caller's own reasons says nothing of the server."""
    open_up(circuit, clock)
    circuit.left(circuit.enter())

    assert circuit.is_open()
    assert circuit.enter() is not None


def test_a_probe_takes_as_long_as_it_takes(circuit, clock):
    """However long the server makes it wait, no second one joins it."""
    open_up(circuit, clock)
    circuit.enter()
    clock.now += 3600

    assert circuit.enter() is None


@pytest.mark.parametrize("ending", ["succeeded", "failed"])
def test_who_began_before_it_opened_has_no_say(circuit, clock, ending):
    """A slow attempt of the time before neither closes it nor counts in what comes after."""
    early = circuit.enter()
    fail(circuit, 3)

    assert not getattr(circuit, ending)(early)
    assert circuit.is_open()
    clock.now += 30
    assert circuit.succeeded(circuit.enter()) is True
    assert not getattr(circuit, ending)(early)
    assert fail(circuit, 3) == [False, False, True]


def test_who_was_refused_has_no_say(circuit):
    """An attempt that was never made ends nothing."""
    fail(circuit, 3)

    assert not circuit.failed(None)
    assert not circuit.succeeded(None)
    circuit.left(None)
    assert circuit.is_open()


def test_many_threads_fail_at_once(circuit):
    """Of twenty failures of one moment, one opens it."""
    barrier = threading.Barrier(20)

    def one(_):
        admission = circuit.enter()
        barrier.wait()
        return circuit.failed(admission)

    with ThreadPoolExecutor(20) as pool:
        opened = list(pool.map(one, range(20)))

    assert sum(opened) == 1


def test_it_tells_its_state(circuit):
    """For who debugs it."""
    fail(circuit, 2)
    before = repr(circuit)
    fail(circuit)

    assert before == "<Circuit closed, 2 failures in a row>"
    assert repr(circuit) == "<Circuit open for 30.0 s, 0 failures in a row>"
