"""What the process remembers of an origin, and for how long."""

import socket
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from resilient_transport import ResilientAdapter, RetryPolicy, stats
from resilient_transport.call import origin_state
from resilient_transport.call.origin_state import ORIGINS, state_of
from resilient_transport.retry.breaker import Breaker
from tests.retry.values import Clock
from tests.timeouts import LONG_TIMEOUT

HERE, THERE = "https://localhost", "https://localhost:8443"
ONCE = Breaker(failures=1)


def open_circuit(origin, clock=None):
    """Open the circuit of an origin; return it."""
    circuit = state_of(origin).circuit(ONCE)
    if clock is not None:
        circuit._clock = clock
    circuit.failed(circuit.enter())
    return circuit


def call_others(number, since=0):
    """Let so many other origins be called."""
    for each in range(since, since + number):
        state_of(f"https://host-{each}.example")


def test_an_origin_has_one_state():
    """Its calls share quota, counters and circuits; another origin's do not."""
    state_of(HERE).quota.take(100)

    assert state_of(HERE) is state_of(HERE)
    assert state_of(HERE) is not state_of(THERE)
    assert (state_of(HERE).quota.tokens, state_of(THERE).quota.tokens) == (400, 500)


def test_clear_forgets_everything():
    """Whoever asks afterwards begins anew."""
    open_circuit(HERE)
    state_of(HERE).quota.take(100)
    origin_state.clear()

    assert state_of(HERE).quota.tokens == 500
    assert not state_of(HERE).circuit(ONCE).is_open()


def test_an_origin_has_one_circuit_for_each_breaker():
    """Equal breakers share, others do not; nor do origins."""
    one = state_of(HERE).circuit(Breaker())

    assert state_of(HERE).circuit(Breaker(failures=5)) is one
    assert state_of(HERE).circuit(Breaker(failures=6)) is not one
    assert state_of(THERE).circuit(Breaker()) is not one


def test_circuits_of_many_breakers_are_bounded():
    """Who makes another breaker for each call fills no memory; the one in use, and an open one, are kept."""
    used, opened = state_of(HERE).circuit(Breaker()), open_circuit(HERE)
    for number in range(2, 200):
        state_of(HERE).circuit(Breaker(failures=number, window=1.0))
        state_of(HERE).circuit(Breaker())

    assert len(state_of(HERE)._circuits) <= 16
    assert state_of(HERE).circuit(Breaker()) is used
    assert state_of(HERE).circuit(ONCE) is opened


def test_the_origin_that_is_in_use_is_kept():
    """However many newer ones there are; the first of those is forgotten."""
    here, other = state_of(HERE), state_of("https://host-0.example")
    for number in range(2 * ORIGINS):
        call_others(1, number)
        state_of(HERE)

    assert state_of(HERE) is here
    assert state_of("https://host-0.example") is not other
    assert len(origin_state._states) <= ORIGINS


def test_the_origin_that_is_not_in_use_is_forgotten():
    """The control: what is called once goes after so many others."""
    here = state_of(HERE)
    call_others(ORIGINS)

    assert state_of(HERE) is not here


def test_an_open_circuit_is_kept():
    """It leaves its origin alone until it has cooled down, although nobody calls that meanwhile."""
    circuit = open_circuit(HERE)
    call_others(3 * ORIGINS)

    assert state_of(HERE).circuit(ONCE) is circuit
    assert circuit.is_open()


def test_a_circuit_that_has_cooled_down_may_go():
    """The control: it refuses nothing any more, and would be there for ever."""
    clock = Clock(1000.0)
    circuit = open_circuit(HERE, clock)
    clock.now += ONCE.cool_down
    call_others(ORIGINS)

    assert state_of(HERE).circuit(ONCE) is not circuit


def test_if_all_are_open_the_one_that_was_used_first_goes():
    """The memory is bounded in all."""
    first = open_circuit("https://open-0.example")
    others = [open_circuit(f"https://open-{number}.example") for number in range(1, ORIGINS)]
    assert state_of("https://open-1.example").circuit(ONCE) is others[0]
    state_of(HERE)

    assert len(origin_state._states) == ORIGINS
    assert state_of("https://open-1.example").circuit(ONCE) is others[0]
    assert state_of("https://open-0.example").circuit(ONCE) is not first


def test_reading_figures_is_no_use():
    """Who looks at `stats()` all the time keeps nothing that nobody calls."""
    here = state_of(HERE)
    for number in range(0, ORIGINS, 64):
        call_others(64, number)
        assert stats()

    assert state_of(HERE) is not here


def test_threads_find_the_same():
    """The state of an origin in use is one, and its counts are exact, while others come and go."""
    together = threading.Barrier(8)

    def work(thread):
        together.wait()
        for number in range(1000):
            state_of(HERE).counters.ended()
            state_of(f"https://{thread}-{number}.example")
        return id(state_of(HERE))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(before)

    assert len(found) == 1
    assert state_of(HERE).counters.counts().calls == 8000


@pytest.mark.parametrize("breaker", [None, Breaker()])
def test_ten_thousand_origins_that_refuse_take_little(breaker):
    """What is remembered of them all is 4 MB at the most, each with a failure, a retry and a refusal."""

    def refuse(number):
        state = state_of(f"https://host-{number}.example:8443")
        for _ in range(2):
            state.counters.failed("connect")
            state.counters.retried()
        state.counters.refused("limit")
        state.counters.ended()
        state.quota.take(5)
        if breaker is not None:
            circuit = state.circuit(breaker)
            circuit.failed(circuit.enter())

    origin_state.clear()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(10_000):
            refuse(number)
        size = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert size < 4_000_000
    assert len(origin_state._states) <= ORIGINS


def test_a_hot_origin_keeps_its_open_circuit():
    """The whole way: calls are refused by the circuit although 1,100 newer origins are called meanwhile."""
    policy = RetryPolicy(retries=0, breaker=Breaker(failures=1, cool_down=LONG_TIMEOUT))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(policy=policy))
        ends = []
        for number in range(3):
            with pytest.raises(requests.ConnectionError) as raised:
                session.get(f"http://127.0.0.1:{port}/")
            ends.append(type(raised.value).__name__)
            call_others(1100, number * 1100)

    assert ends == ["ConnectionError", "CircuitOpen", "CircuitOpen"]
