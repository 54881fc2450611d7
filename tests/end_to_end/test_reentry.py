"""A call that meets itself: a signal handler, or a finaliser, makes one while its thread is inside another.

The pool, the gate and the connection have tests of their own for that; here it is everything else that a call
goes through.
"""

import io
import itertools
import random
import signal
import sys
import threading
from contextlib import contextmanager

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, install, stats, uninstall
from resilient_transport.call.origin_state import state_of
from resilient_transport.connection import resolver
from resilient_transport.retry.breaker import Breaker
from resilient_transport.retry.budget import Quota
from resilient_transport.retry.deadline import Deadline
from resilient_transport.telemetry.counters import Counters
from resilient_transport.testing import Fault, FaultServer, Moment, Rule, Script
from resilient_transport.util import atomic
from tests.stepwise import at_each_line, within
from tests.timeouts import LONG_TIMEOUT

#: What a call goes through beside pool, gate and connection.
FILES = (
    "adapter/adapter.py",
    "body/request_body.py",
    "call/circuit.py",
    "call/disabled.py",
    "call/origin_state.py",
    "connection/resolver.py",
    "pool/key.py",
    "retry/backoff.py",
    "retry/breaker.py",
    "retry/budget.py",
    "settings/override.py",
    "telemetry/counters.py",
    "telemetry/dispatch.py",
    "util/atomic.py",
    "util/bounded_dict.py",
    "util/identity_dict.py",
    "util/origin.py",
)
POLICY = RetryPolicy(backoff=0.0001, breaker=Breaker(failures=50), deadline=LONG_TIMEOUT)


@pytest.fixture(scope="module")
def server(authority):
    """Return a server without TLS: each step of a call takes a call, so they had better be quick."""
    with FaultServer(authority=authority, tls=False) as server:
        yield server


@pytest.fixture
def sessions():
    """Return two sessions; the second is used by who comes in between."""
    made = [requests.Session(), requests.Session()]
    for session in made:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(policy=POLICY, on_event=lambda event: None))
    yield made
    for session in made:
        session.close()


CALLS = {
    "GET": lambda session, url: session.get(url),
    "file": lambda session, url: session.post(url + "/echo", data=io.BytesIO(b"x" * 10)),
    "iterator": lambda session, url: session.post(url + "/echo", data=iter([b"x" * 10])),
}
#: A request that fails once, so that what comes after a failure is met, too.
ONCE = Script((Rule(Fault(Moment.REQUEST), first=1),))


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("other", ["GET", "file"])
def test_a_call_within_a_call(server, sessions, kind, other):
    """At each step another call is served, and both are counted."""
    server.play(Script())
    outer, inner = sessions
    made = [0]

    def call(session, kind):
        made[0] += 1
        assert CALLS[kind](session, server.url).ok

    steps = list(at_each_line(FILES, lambda: call(outer, kind), lambda: call(inner, other)))

    assert len(steps) > 50, "hardly any step was found"
    assert stats()[server.url].calls == made[0]


def test_a_call_within_a_call_that_is_repeated(server, sessions):
    """What is done after a failure is interrupted, too."""
    outer, inner = sessions
    steps = []

    def repeated():
        server.play(ONCE)
        outer.close()
        assert outer.get(server.url).ok

    steps += at_each_line(FILES, repeated, lambda: inner.get(server.url + "/words/1"))

    assert {step.partition(":")[0] for step in steps} >= {"budget.py", "breaker.py", "counters.py"}


@contextmanager
def plain_lock():
    """Let the one lock be one that its own thread waits for, until the block ends."""
    before, atomic.lock = atomic.lock, threading.Lock()
    try:
        yield atomic.lock
    finally:
        atomic.lock = before


def test_a_lock_that_its_thread_waits_for_hangs():
    """The control: with a plain lock in the place of the reentrant one, there is a step at which it hangs."""
    counters = Counters()
    with plain_lock() as lock:
        steps = at_each_line(["telemetry/counters.py"], counters.ended, counters.ended, patience=0.5)
        with pytest.raises(TimeoutError, match=r"counters\.py"):
            list(steps)
        lock.release()


def count(counters):
    """Count each thing once."""
    counters.ended()
    counters.failed("connect")
    counters.refused("limit")
    counters.resumed(3)
    counters.retried()
    counters.shook_hands(True)
    counters.waited(0.02)


def test_counts_are_exact_at_each_step():
    """What is added in the middle of an addition is added, and so is that."""
    counters, made = Counters(), [0]

    def act():
        made[0] += 1
        count(counters)

    list(at_each_line(["telemetry/counters.py", "util/atomic.py"], act, act))
    counted, (number,) = counters.counts(), made

    assert number > 30
    assert (counted.calls, counted.retries, counted.resumes, counted.bytes_saved) == (
        number,
        number,
        number,
        3 * number,
    )
    assert (counted.failures, counted.repetitions_not_made) == ({"connect": number}, {"limit": number})
    assert (counted.handshakes_full, counted.handshakes_resumed, counted.waits.count) == (0, number, number)


def test_a_quota_at_each_step():
    """What is drawn in the middle may be more than there is, by one retry; what is given back, never."""
    lowest, highest = [], []

    def work():
        quota = quotas[0] = Quota(20)
        quota.take(10)
        quota.give_back(15)
        quota.take(15)
        lowest.append(quota.tokens)
        quota.give_back(100)
        highest.append(quota.tokens)

    quotas = [Quota(20)]
    list(at_each_line(["retry/budget.py"], work, lambda: quotas[0].take(5)))
    list(at_each_line(["retry/budget.py"], work, lambda: quotas[0].give_back(5)))

    assert min(lowest) >= -5
    assert max(highest) == 20


@pytest.mark.parametrize("act", ["enter", "failed", "succeeded", "left"])
def test_a_circuit_at_each_step(act):
    """Whatever comes in between, it ends in a state that it can come out of."""
    states = []

    def meddle():
        circuit = circuits[0]
        epoch = circuit.enter()
        if act != "enter":
            getattr(circuit, act)(epoch)

    def work():
        circuit = circuits[0] = state_of(f"https://{len(states)}.example").circuit(Breaker(failures=2))
        for _ in range(3):
            circuit.failed(circuit.enter())
        # Each look at the clock is after the cool-down.
        circuit._clock = itertools.count(10**9, step=100).__next__
        for _ in range(3):
            epoch = circuit.enter()
            circuit.succeeded(epoch)
            circuit.left(epoch)
        states.append(circuit)

    circuits = [state_of("https://first.example").circuit(Breaker(failures=2))]
    list(at_each_line(["retry/breaker.py"], work, meddle))

    assert len(states) > 20
    # A probe that was let in by what came in between, and never told of, is its maker's to end.
    assert all(act == "enter" or not circuit.is_open() for circuit in states)


@pytest.mark.filterwarnings("ignore:install:RuntimeWarning")
def test_installations_at_each_step():
    """What was installed last is in force, and what was not ended."""
    stock, unwrapped = requests.sessions.HTTPAdapter, requests.Session.mount
    inner = []

    def meddle():
        inner.append(install(pool_maxsize=2))

    def work():
        with install(pool_maxsize=1):
            pass

    try:
        list(at_each_line(["installation.py", "adapter/session_mount.py"], work, meddle))
        in_force = requests.sessions.HTTPAdapter
        during = requests.Session.mount
    finally:
        uninstall()

    assert in_force is inner[-1].stand_in
    assert requests.sessions.HTTPAdapter is stock
    assert during is not requests.Session.mount is unwrapped


@pytest.mark.filterwarnings("ignore:install:RuntimeWarning")
def test_the_end_of_another_installation_at_each_step():
    """Whatever ends in the middle of another's beginning and end, stock is back after the last."""
    stock, unwrapped = requests.sessions.HTTPAdapter, requests.Session.mount
    found = []

    def meddle():
        with install(pool_maxsize=2):
            pass

    def work():
        with install(pool_maxsize=1) as ours:
            found.append(requests.sessions.HTTPAdapter is ours.stand_in)
            found.append(requests.Session.mount is not unwrapped)
        found.append(requests.sessions.HTTPAdapter is stock)
        found.append(requests.Session.mount is unwrapped)

    list(at_each_line(["installation.py", "adapter/session_mount.py"], work, meddle))

    assert len(found) > 100
    assert all(found)


def test_an_adapter_is_mounted_at_each_step():
    """A handler that mounts the adapter which its thread is just taking over: both find it taken over."""
    kinds = set()
    adapters = [HTTPAdapter(max_retries=2)]

    def meddle():
        requests.Session().mount("https://", adapters[-1])

    def work():
        adapters.append(HTTPAdapter(max_retries=2))
        requests.Session().mount("https://", adapters[-1])
        kinds.add((type(adapters[-1]), adapters[-1].max_retries.total))

    with install():
        list(at_each_line(["installation.py", "adapter/takeover.py"], work, meddle))

    assert kinds == {(ResilientAdapter, 2)}


@pytest.mark.filterwarnings("ignore:install:RuntimeWarning")
def test_an_installation_while_another_is_put_in_force(monkeypatch):
    """Another thread installs after the look at what is in force, before the assignment: that one holds."""
    newer = []
    module = sys.modules["resilient_transport.installation"]
    look = module._in_force

    def late():
        found = look()
        if not newer:
            newer.append(None)
            newer.append(install(pool_maxsize=2))
        return found

    monkeypatch.setattr(module, "_in_force", late)
    try:
        install(pool_maxsize=1)
        in_force = requests.sessions.HTTPAdapter
    finally:
        uninstall()

    assert in_force is newer[1].stand_in


def test_a_name_is_asked_for_at_each_step():
    """A handler that wants to know what its thread is about to ask asks itself, and does not wait."""
    asked = []

    def ask():
        deadline = Deadline(LONG_TIMEOUT)
        asked.append(resolver.addresses("localhost", 80, "system", deadline))
        assert not deadline.is_over()

    within(LONG_TIMEOUT, ask)
    steps = list(at_each_line(["connection/resolver.py"], ask, ask, patience=LONG_TIMEOUT / 2))

    assert len(steps) > 10
    assert all(asked)
    assert resolver._asking._pending == {}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that signal")
def test_real_signals():
    """A timer that strikes in the middle of many additions; what its handler counts is counted."""
    counters, quota, handled = Counters(), Quota(10**9), [0]
    circuit = state_of("https://localhost").circuit(Breaker(failures=10**4))

    def work():
        count(counters)
        quota.take(1)
        circuit.failed(circuit.enter())
        circuit.succeeded(circuit.enter())
        assert counters.counts().calls

    def handle(number, frame):
        handled[0] += 1
        work()

    before = signal.signal(signal.SIGALRM, handle)
    deadline, luck, rounds = Deadline(LONG_TIMEOUT), random.Random(1), 0
    try:
        while handled[0] < 500 and not deadline.is_over():
            # One signal for each round, so that no handler is interrupted by the next.
            signal.setitimer(signal.ITIMER_REAL, luck.uniform(1e-6, 1e-4))
            work()
            rounds += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert handled[0] >= 500
    assert counters.counts().calls == rounds + handled[0]
    assert quota.tokens == 10**9 - rounds - handled[0]
    assert counters.counts().failures == {"connect": rounds + handled[0]}


def test_no_tracer_is_left():
    """The control of the harness: other tests are not traced."""
    assert sys.gettrace() is None or "coverage" in type(sys.gettrace()).__module__
