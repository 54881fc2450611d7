"""Whoever connects first to a cold server: what becomes of those who wait for it.

A leader that stalls, dies or takes its time strands nobody, and is charged to nobody. A failure that would
have been everybody's is met once.
"""

import gc
import math
import signal
import socket
import threading
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, attempts_of, registry
from resilient_transport.gate import gate
from resilient_transport.gate.gate import LOOK_EVERY
from resilient_transport.gate.permit import Permit
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.end_to_end.test_differential import shape
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

pytestmark = pytest.mark.slow

WAITERS = 16
#: The first connection stalls in its handshake, until the server is told to reset it.
STALLED_ONCE = Script((Rule(Fault(Moment.CLIENT_HELLO, How.STALL), first=1),))
COMES_UP_AFTER = 0.4
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#: What a caller is told of whose failure it was.
BORROWED = "of the call that this one had waited for"


class Caller(threading.Thread):
    """A thread that makes one GET, and keeps how it ended."""

    def __init__(self, session, url, **values):
        super().__init__(daemon=True)
        self.ending = None
        self._call = lambda: session.get(url, **values)
        self.start()

    def run(self):
        """Make the call."""
        self.ending = ending_of(self._call)

    def outcome(self):
        """The response or the exception; an error if the call hangs."""
        self.join(LONG_TIMEOUT)
        assert not self.is_alive(), "the call hangs"
        return self.ending


def ending_of(call):
    """What a call returns, or raises."""
    try:
        return call()
    except requests.RequestException as error:
        return error


def at_once(number, call):
    """Make so many calls at the same moment; return how each ended."""
    barrier = threading.Barrier(number)

    def wait_and_call(index):
        barrier.wait(LONG_TIMEOUT)
        return ending_of(lambda: call(index))

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(wait_and_call, range(number)))


def eventually(holds):
    """Wait until something holds; an error if it never does."""
    until = time.monotonic() + LONG_TIMEOUT
    while not holds():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.002)


def outcomes_of(callers):
    """How so many calls ended, which run at the same time."""
    return [caller.outcome() for caller in list(callers)]


def queued():
    """How many callers wait, at all gates together."""
    return sum(shared_pool.gate.waiting() for shared_pool in list(registry._shared_pools.values()))


def left_in_gates():
    """What all gates say of themselves that is not at rest."""
    gates = [repr(shared_pool.gate) for shared_pool in list(registry._shared_pools.values())]
    return [told for told in gates if ", 0 being made of" not in told or ", 0 waiting>" not in told]


def stalled_leader(server, session, **values):
    """A call whose handshake has begun, and stalls."""
    server.play(STALLED_ONCE)
    leader = Caller(session, server.url, **values)
    server.wait_for(lambda counts: counts.handshake_failures == 1)
    return leader


def shut_the_gate(monkeypatch):
    """Let no stall be taken for one, and nobody be in a hurry."""
    look = gate.Gate.look
    monkeypatch.setattr(gate, "STALLED", math.inf)
    monkeypatch.setattr(gate.Gate, "look", lambda self, waiter, urgent: look(self, waiter))


def tried(outcomes):
    """How many attempts each of these took."""
    return [len(attempts_of(outcome)) for outcome in outcomes]


def test_a_stalled_leader_strands_nobody(server, dial):
    """Those who wait are let in while the leader stalls, at their first attempt; it ends well, too."""
    session = dial(server)
    leader = stalled_leader(server, session)
    answers = outcomes_of(Caller(session, server.url, timeout=LONG_TIMEOUT / 2) for _ in range(WAITERS))
    stalls_still = leader.is_alive()
    server.reset_peers()
    late = leader.outcome()

    assert [answer.ok for answer in answers] == [True] * WAITERS
    assert tried(answers) == [1] * WAITERS
    assert stalls_still
    assert (late.ok, len(attempts_of(late)) > 1) == (True, True)
    assert left_in_gates() == []


def test_if_a_stall_kept_the_gate_shut_they_would_wait(server, dial, monkeypatch):
    """The control: with no stall taken for one, and nobody in a hurry, all who wait run into a time-out."""
    shut_the_gate(monkeypatch)
    session = dial(server, max_retries=0)
    leader = stalled_leader(server, session)
    outcomes = outcomes_of(Caller(session, server.url, timeout=1.5 * LOOK_EVERY) for _ in range(WAITERS))
    server.reset_peers()
    leader.outcome()

    assert {type(outcome) for outcome in outcomes} == {requests.ConnectTimeout}
    assert left_in_gates() == []


def test_a_leaders_own_time_out_is_charged_to_nobody(server, dial, monkeypatch):
    """A leader that grants 50 ms hands over: the others' first attempt is their only one."""
    monkeypatch.setattr(gate, "STALLED", math.inf)
    session, hasty = dial(server), dial(server, max_retries=0)
    leader = stalled_leader(server, hasty, timeout=0.05)
    answers = outcomes_of(Caller(session, server.url) for _ in range(WAITERS))

    assert tried(answers) == [1] * WAITERS
    assert isinstance(leader.outcome(), requests.Timeout)
    assert left_in_gates() == []


def test_a_leaders_reset_is_charged_to_those_who_wait(server, dial):
    """The control: what the server does to the leader, it would have done to anybody who waits."""
    session = dial(server)
    leader = stalled_leader(server, session)
    waiters = [Caller(session, server.url) for _ in range(WAITERS)]
    eventually(lambda: queued() == WAITERS)
    server.reset_peers()
    answers = outcomes_of((leader, *waiters))

    assert tried(answers) == [2] * (WAITERS + 1)
    assert [BORROWED in attempts_of(answer)[0].decision for answer in answers] == [False] + [True] * WAITERS


class Interrupted(Exception):
    """What a program's own signal handler raises."""


@pytest.fixture
def interrupt():
    """A function that has the main thread raise an exception of a kind, wherever it is."""
    kinds = []

    def raise_it(*_):
        raise kinds[-1]

    def strike(kind):
        kinds.append(kind)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, raise_it)
    yield strike
    signal.signal(signal.SIGUSR1, before)


def die_leading(server, leading, waiting, interrupt, kind, **values):
    """Lead from the main thread, and be interrupted once others wait; return how that and those ended."""
    server.play(STALLED_ONCE)
    waiters, died = [], None

    def wait_and_strike():
        server.wait_for(lambda counts: counts.handshake_failures == 1)
        waiters.extend(Caller(waiting, server.url, **values) for _ in range(WAITERS))
        eventually(lambda: queued() == WAITERS)
        interrupt(kind)

    striker = threading.Thread(target=wait_and_strike)
    striker.start()
    with warnings.catch_warnings():
        # Before Python 3.13 `ssl` leaves the socket of an interrupted handshake to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            leading.get(server.url)
        except BaseException as error:
            died = type(error)
        gc.collect()
    striker.join(LONG_TIMEOUT)
    return died, outcomes_of(waiters)


@pytest.mark.parametrize("kind", [Interrupted, KeyboardInterrupt, SystemExit])
def test_a_leader_that_dies_strands_nobody(server, dial, interrupt, monkeypatch, kind):
    """An exception out of a signal handler ends the leader's call alone, and somebody else leads."""
    monkeypatch.setattr(gate, "STALLED", math.inf)
    session = dial(server)

    died, answers = die_leading(server, session, session, interrupt, kind)

    assert died is kind
    assert tried(answers) == [1] * WAITERS
    assert [answer.ok for answer in answers] == [True] * WAITERS
    assert left_in_gates() == []


def test_if_a_dead_leader_kept_its_permit_they_would_wait(server, dial, interrupt, monkeypatch):
    """The control: with a permit that does not come back, everybody who waits runs into a time-out."""
    kept = []
    shut_the_gate(monkeypatch)
    for name in ("unused", "closed"):
        monkeypatch.setattr(Permit, name, lambda permit: kept.append(permit))
    brisk = dial(server, max_retries=0)

    _, outcomes = die_leading(server, dial(server), brisk, interrupt, KeyboardInterrupt, timeout=LOOK_EVERY)

    assert {type(outcome) for outcome in outcomes} == {requests.ConnectTimeout}


#: Calls that keep their connection for as long as the server lets them.
HOLDERS = pytest.mark.parametrize(
    ("path", "stream"),
    [("/slow/30", False), ("/bytes/9000000", True)],
    ids=["slow response", "unread stream"],
)


def hold(server, session, path, stream):
    """Begin a call that keeps its connection; return it once the server has its request."""
    server.play(Script())
    holder = Caller(session, server.url + path, stream=stream)
    server.wait_for(lambda counts: counts.executed == 1)
    if stream:
        assert holder.outcome().ok
    return holder


@HOLDERS
def test_a_leaders_response_holds_nobody(server, dial, path, stream):
    """While a cold server's first caller waits for its answer, or leaves it unread, others are served."""
    session = dial(server)
    holder = hold(server, dial(server, max_retries=0), path, stream)
    answers = outcomes_of(Caller(session, server.url) for _ in range(WAITERS))
    held_still = server.counts().executed == 1 + WAITERS and (stream or holder.is_alive())
    server.reset_peers()
    ending = holder.outcome()

    assert tried(answers) == [1] * WAITERS
    assert [answer.ok for answer in answers] == [True] * WAITERS
    assert held_still
    assert isinstance(ending, requests.Response if stream else requests.ConnectionError)
    assert left_in_gates() == []
    if stream:
        ending.close()


@HOLDERS
def test_behind_one_agent_everybody_is_held(server, dial, path, stream):
    """The control: stock with one connection for all, as the report asks for, serves nobody meanwhile."""
    session = dial(server, HTTPAdapter(pool_maxsize=1, pool_block=True))
    holder = hold(server, session, path, stream)
    waiters = [Caller(session, server.url) for _ in range(2)]
    for waiter in waiters:
        waiter.join(SHORT_TIMEOUT)
    held = [waiter.is_alive() for waiter in waiters]
    server.reset_peers()
    if stream:
        holder.outcome().close()
    outcomes = outcomes_of((holder, *waiters))

    assert held == [True, True]
    assert len(outcomes) == 3


@pytest.fixture
def connects(monkeypatch):
    """How many TCP connects there were, by port."""
    counted = Counter()
    counted.before_the_first = lambda: None

    def counting(name):
        original = getattr(socket.socket, name)

        def method(sock, address):
            if sock.family == socket.AF_INET:
                counted[address[1]] += 1
                if counted[address[1]] == 1:
                    counted.before_the_first()
            return original(sock, address)

        monkeypatch.setattr(socket.socket, name, method)

    counting("connect")
    counting("connect_ex")
    return counted


@pytest.fixture
def dead_ports():
    """A function that makes sockets bound to ports of their own, where nobody listens."""
    made = []

    def make(number):
        made.extend(socket.socket() for _ in range(number))
        for sock in made[-number:]:
            sock.bind(("127.0.0.1", 0))
        return made[-number:]

    yield make
    for sock in made:
        sock.close()


def plain_session(adapter):
    """A session for servers without TLS."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter)
    return session


def url_of(listener):
    """The URL of a port of this machine."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("make", "most"),
    [(ResilientAdapter, 6), (lambda: HTTPAdapter(max_retries=Retry(5)), WAITERS * 6)],
    ids=["ours", "stock with Retry(5)"],
)
def test_a_dead_port_costs_all_callers_together_six_connects(connects, dead_ports, make, most, monkeypatch):
    """Each of five times 6 connects for 16 callers, not for each of them; stock, the control, some 96."""
    monkeypatch.setattr(gate, "STALLED", math.inf)
    # The first one fails when the others have come, however slow the machine is.
    connects.before_the_first = lambda: most > 6 or eventually(lambda: queued() == WAITERS - 1)
    ports = dead_ports(5)

    def start(listener):
        with plain_session(make()) as session:
            return at_once(WAITERS, lambda _: session.get(url_of(listener)))

    outcomes = [outcome for listener in ports for outcome in start(listener)]
    counted = [connects[listener.getsockname()[1]] for listener in ports]

    assert {type(outcome) for outcome in outcomes} == {requests.ConnectionError}
    assert max(tried(outcomes)) <= 6
    assert max(counted) <= most
    assert most == 6 or min(counted) > most / 2


def test_a_caller_without_retries_has_its_own_attempt(dead_ports):
    """Among callers that share their failures, one that allows no retries meets its own failure, once."""
    (listener,) = dead_ports(1)

    with (
        plain_session(ResilientAdapter()) as patient,
        plain_session(ResilientAdapter(max_retries=0)) as brisk,
    ):
        outcomes = at_once(WAITERS, lambda index: (patient if index else brisk).get(url_of(listener)))

    (own,) = attempts_of(outcomes[0])
    others = [attempt for outcome in outcomes[1:] for attempt in attempts_of(outcome)]
    assert (own.stage, own.shared) == ("connect", False)
    assert any(attempt.shared and BORROWED in attempt.decision for attempt in others)


def serve(listener, over):
    """Be a server that takes its time to come up."""
    over.wait(COMES_UP_AFTER)
    listener.listen()
    listener.settimeout(0.02)
    while not over.is_set():
        with suppress(TimeoutError):
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(LONG_TIMEOUT)
                peer.recv(65536)
                peer.sendall(ANSWER)


def starts_that_waited(make, listeners, callers):
    """How many of these programs, so many calls each, a server that came up as they began has answered."""

    def start(listener):
        over = threading.Event()
        server = threading.Thread(target=serve, args=(listener, over))
        with plain_session(make()) as session:
            server.start()
            outcomes = at_once(callers, lambda _: session.get(url_of(listener)))
        over.set()
        server.join(LONG_TIMEOUT)
        return all(isinstance(outcome, requests.Response) for outcome in outcomes)

    with ThreadPoolExecutor(100) as threads:
        return sum(threads.map(start, listeners))


# 91.5 % by the arithmetic of the pauses: to see fewer than this is a chance of one in a thousand.
@pytest.mark.parametrize(("callers", "starts", "share"), [(1, 100, 0.82), (2, 40, 0.75)])
def test_a_server_that_comes_up_is_awaited(dead_ports, callers, starts, share):
    """With default settings a server that comes up after 0.4 s is awaited in 9 of 10 starts."""
    assert starts_that_waited(ResilientAdapter, dead_ports(starts), callers) >= share * starts


def test_stock_does_not_wait(dead_ports):
    """The control: not once."""
    assert starts_that_waited(HTTPAdapter, dead_ports(10), 1) == 0


@pytest.fixture
def untrusted(fault_server_factory):
    """A server whose certificate nobody trusts, and which takes its time to show it."""
    return fault_server_factory(Script(handshake_delay=SHORT_TIMEOUT), certificate="untrusted")


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "through a proxy"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_fatal_failure_is_told_to_all(fault_server_factory, untrusted, dial, proxied, method):
    """16 cold callers cost 2 handshakes at most; each raises an exception of its own, in stock's words."""
    proxies = {"https": fault_server_factory(tls=False).url} if proxied else None
    session, stock = dial(untrusted), dial(untrusted, HTTPAdapter())
    expected = ending_of(lambda: stock.request(method, untrusted.url, proxies=proxies))
    before = untrusted.counts().handshake_failures
    errors = at_once(WAITERS, lambda _: session.request(method, untrusted.url, proxies=proxies))

    # Not `accepts`: on a path that is slow, those who wait dial TCP ahead.
    assert untrusted.counts().handshake_failures - before <= 2
    assert len({id(error) for error in errors}) == WAITERS
    assert len({id(error.args[0]) for error in errors}) == WAITERS
    (words,) = {str(error) for error in errors}
    assert words.startswith(str(expected))
    assert all(shape(error) == shape(expected) for error in errors)
    assert tried(errors) == [1] * WAITERS


def test_stock_tries_it_for_each(untrusted, dial):
    """The control: every caller of stock shakes hands with a server that cannot be trusted."""
    session = dial(untrusted, HTTPAdapter())

    errors = at_once(WAITERS, lambda _: session.get(untrusted.url))

    assert {type(error) for error in errors} == {requests.exceptions.SSLError}
    assert untrusted.counts().handshake_failures == WAITERS
