"""Many threads against a server that does everything wrong: no hang, nothing done twice, nothing left behind.

`STRESS_SECONDS` says for how long, 60 for the issue's figure. pytest's own limit has to be longer then:

    STRESS_SECONDS=60 python -m pytest -o faulthandler_timeout=300 tests/end_to_end/test_stress.py
"""

import gc
import math
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry
from urllib3.util.ssl_ import create_urllib3_context

from resilient_transport import ResilientAdapter, RetryPolicy, registry
from resilient_transport.gate.waiter import Waiter
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from resilient_transport.util import atomic
from resilient_transport.util.inbox import Inbox
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

STRESS_SECONDS = float(os.environ.get("STRESS_SECONDS", "3"))
THREADS, CROWD = 200, 1000
IDENTITY_THREADS, IDENTITY_CALLS = 8, 2000
#: Long enough for a call whose time-out is SHORT_TIMEOUT, and far from any other.
STALL = 2 * SHORT_TIMEOUT
#: Seconds after which everybody turns to a pool that is cold.
EPOCH = 0.5
#: All that the server does wrong, each to so many connections of a hundred.
WRONGS = [
    (Fault(Moment.ACCEPT), 4),
    (Fault(Moment.ACCEPT, How.FIN), 2),
    (Fault(Moment.CLIENT_HELLO), 5),
    (Fault(Moment.CLIENT_HELLO, How.STALL, seconds=STALL), 2),
    (Fault(Moment.HANDSHAKE), 5),
    (Fault(Moment.HANDSHAKE, How.CLOSE_NOTIFY), 2),
    (Fault(Moment.HANDSHAKE, How.CORRUPT), 2),
    (Fault(Moment.HANDSHAKE, How.STALL, seconds=STALL), 2),
    (Fault(Moment.HANDSHAKE, How.ALERT, seconds=0.01), 2),
    (Fault(Moment.REQUEST), 10),
    (Fault(Moment.REQUEST, How.CORRUPT), 5),
    (Fault(Moment.EXECUTED), 10),
    (Fault(Moment.EXECUTED, How.FIN), 5),
    (Fault(Moment.EXECUTED, How.CORRUPT), 10),
    (Fault(Moment.EXECUTED, How.STALL, seconds=STALL), 2),
    (Fault(Moment.HEAD, How.FIN), 5),
    (Fault(Moment.BODY, after_bytes=100), 10),
    (Fault(Moment.BODY, How.STALL, after_bytes=100, seconds=STALL), 2),
]
#: Each connection meets its fault with its first, second, ... request, as long as that lasts.
CHAOS = Script(
    tuple(
        Rule(fault, probability=share / 100, on_request=nth)
        for fault, share in WRONGS
        for nth in ((1, 2, 3, 5, 8) if fault.at.name in ("REQUEST", "EXECUTED", "HEAD", "BODY") else (1,))
    ),
    seed=5,
)
PATHS = ["/bytes/1", "/bytes/3000", "/chunked/3000", "/gzip/3000", "/words/30", "/echo"]


@pytest.fixture(scope="module")
def server(authority):
    """A fault server of this module."""
    with FaultServer(authority=authority) as server:
        yield server


def run_all(number, work):
    """Run so many threads; return how many of them did not end, and what escaped from the others."""
    escaped = []

    def run(index):
        try:
            work(index)
        except BaseException as error:
            escaped.append(error)

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(number)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + STRESS_SECONDS + 3 * LONG_TIMEOUT
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return sum(thread.is_alive() for thread in threads), escaped


def sockets():
    """The sockets that this process has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(link))
        except OSError:
            # The descriptor of the listing itself.
            continue
    return sorted(name for name in found if name.startswith("socket:"))


def is_held(lock):
    """Whether any thread holds a reentrant lock; this one does not."""
    free = lock.acquire(blocking=False)
    if free:
        lock.release()
    return not free


def restless():
    """What is not at rest: gates where somebody connects, waits or has an item, and locks that are held."""
    found = []
    for shared_pool in list(registry._shared_pools.values()):
        gate = shared_pool.gate
        story, idle = repr(gate), len(gate.idle())
        if not story.startswith(f"<Gate {idle} idle of {idle} open, 0 being made of") or gate.waiting():
            found.append(story)
        found += ["gate"] * is_held(gate.inbox.lock)
        found += ["a connect begun for nobody"] * len(shared_pool.preconnects)
    steps = ["a step"] * repr(atomic.lock).startswith("<locked")
    return found + steps + ["registry"] * is_held(Inbox.lock)


def not_at_rest(patience):
    """What does not come to rest in time. The reaper may be about to close what it has found dead."""
    end = time.monotonic() + patience
    while (found := restless()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


class Watch:
    """What was there before, to be compared with what is there afterwards."""

    def __init__(self):
        registry.clear()
        gc.collect()
        self._threads, self._sockets = set(threading.enumerate()), sockets()

    def left_behind(self, patience=LONG_TIMEOUT):
        """The threads, sockets, gates and locks that were left behind."""
        unsettled = not_at_rest(patience)
        registry.clear()
        gc.collect()
        # The reaper ends by itself, at its next look.
        registry.reaper.stop()
        registry.reaper.resume()
        threads = set(threading.enumerate()) - self._threads
        return (
            unsettled,
            [thread.name for thread in threads],
            [name for name in sockets() if name not in self._sockets],
        )


class Apart(ResilientAdapter):
    """An adapter whose pools are shared with those of the same number only."""

    def __init__(self, number, **settings):
        self.number = number
        super().__init__(**settings)

    def init_poolmanager(self, *args, **kwargs):
        """Put the number into the pools' key, by a value that changes nothing."""
        super().init_poolmanager(*args, blocksize=16384 + self.number, **kwargs)


def kinds_of_callers(dial, server, epoch, **pool):
    """Sessions of one epoch, and the time-outs of their calls."""
    hasty = RetryPolicy(backoff=0.005, backoff_max=0.02)
    return [
        (dial(server, Apart(epoch, max_retries=4, **pool)), LONG_TIMEOUT),
        (dial(server, Apart(epoch, policy=hasty, **pool)), LONG_TIMEOUT),
        (dial(server, Apart(epoch, max_retries=2, **pool)), SHORT_TIMEOUT),
    ]


class Storm:
    """So many threads that call for so many seconds, GETs and POSTs mixed.

    Args:
        server: whom they call, and whose idle connections are closed every now and then.
        epochs: for each epoch the sessions that are used then, and the time-outs of their calls.
        seconds: for how long.
    """

    def __init__(self, server, epochs, seconds):
        self.outcomes = Counter()
        #: What ended by a time-out that no stall of the server's can have caused.
        self.stuck = []
        self._server, self._epochs = server, epochs
        self._began = time.monotonic()
        self._over = self._began + seconds

    def run(self, threads):
        """Run; return how many threads did not end, and what escaped from the others."""
        over = threading.Event()
        gale = threading.Thread(target=self._close_idle, args=(over,))
        gale.start()
        ended = run_all(threads, self._work)
        over.set()
        gale.join(LONG_TIMEOUT)
        return ended

    def _close_idle(self, over):
        while not over.wait(EPOCH / 4):
            self._server.close_idle()

    def _work(self, index):
        luck, calls = random.Random(index), 0
        while (now := time.monotonic()) < self._over:
            calls += 1
            epoch = min(int((now - self._began) / EPOCH), len(self._epochs) - 1)
            session, patience = luck.choice(self._epochs[epoch])
            method = luck.choice(["GET", "GET", "POST"])
            name = {"X-Request-Id": f"{method}-{index}-{calls}"}
            try:
                session.request(method, self._server.url + luck.choice(PATHS), headers=name, timeout=patience)
                self.outcomes["answered"] += 1
            except requests.RequestException as error:
                self.outcomes[type(error).__name__] += 1
                if patience == LONG_TIMEOUT and isinstance(error, requests.Timeout):
                    self.stuck.append(error)


def twice(server):
    """The POSTs that were executed more than once."""
    return [
        name for name, times in server.counts().executions.items() if name.startswith("POST") and times > 1
    ]


#: Before Python 3.13 `ssl` leaves a socket to the garbage collector that was reset before its handshake.
SPARED = pytest.mark.filterwarnings(
    "error" if sys.version_info >= (3, 13) else r"ignore:unclosed .*SSLSocket:ResourceWarning"
)


@SPARED
@pytest.mark.parametrize(
    ("seconds", "pool"),
    [(STRESS_SECONDS, {}), (STRESS_SECONDS / 3, {"pool_block": True, "pool_maxsize": 3})],
    ids=["free", "three slots"],
)
def test_a_storm_of_faults_leaves_nothing_behind(server, dial, seconds, pool):
    """No call hangs, no wake-up is lost, no POST runs twice; no thread, socket, permit or lock is left."""
    watch = Watch()
    server.play(CHAOS)
    numbers = range(math.ceil(seconds / EPOCH))
    storm = Storm(server, [kinds_of_callers(dial, server, number, **pool) for number in numbers], seconds)

    hung, escaped = storm.run(THREADS)
    left = watch.left_behind()
    print(storm.outcomes, server.counts().brief())

    assert (hung, escaped, storm.stuck) == (0, [], [])
    assert twice(server) == []
    assert storm.outcomes["answered"] > 5, "hardly any call was answered: this would prove nothing"
    assert left == ([], [], [])
    assert server.wait_for(lambda counts: counts.open_connections == 0)


def test_stock_executes_posts_twice(server, dial):
    """The control: after an answer that is corrupt, stock with `Retry` executes again, POSTs, too."""
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.CORRUPT), probability=0.5),)))
    retry = Retry(3, allowed_methods={"GET"})
    storm = Storm(server, [[(dial(server, HTTPAdapter(max_retries=retry)), LONG_TIMEOUT)]], EPOCH)

    hung, escaped = storm.run(THREADS // 5)

    assert (hung, escaped) == (0, [])
    assert twice(server) != []


def test_what_is_left_behind_is_noticed(server, dial):
    """The control: a response that is left open, a thread, a lock and a permit are all seen."""
    watch, over = Watch(), threading.Event()
    server.play(Script())
    thread = threading.Thread(target=over.wait, name="left", args=(LONG_TIMEOUT,))
    thread.start()
    response = dial(server).get(server.url + "/bytes/3000000", stream=True)
    (shared_pool,) = [shared_pool for shared_pool in registry._shared_pools.values() if shared_pool.leases()]
    waiter = Waiter(lambda _: True)
    shared_pool.gate.enter(waiter)
    shared_pool.gate.look(waiter, urgent=True)
    permit = waiter.granted
    with atomic.lock:
        unsettled, threads, left = watch.left_behind(SHORT_TIMEOUT)
    permit.unused()
    response.close()
    over.set()
    thread.join(LONG_TIMEOUT)

    assert [told.partition(",")[0] for told in unsettled] == ["<Gate 0 idle of 1 open", "a step"]
    assert threads == ["left"]
    assert len(left) == 1
    assert watch.left_behind() == ([], [], [])


@pytest.fixture
def small_stacks():
    """Threads that take little memory."""
    before = threading.stack_size(512 * 1024)
    yield
    threading.stack_size(before)


def crowd(server, session, number):
    """Make so many calls at once; return how they ended."""
    answers, barrier = [], threading.Barrier(number)

    def work(_):
        barrier.wait(LONG_TIMEOUT)
        answers.append(session.get(server.url + "/bytes/1"))

    hung, escaped = run_all(number, work)
    return hung, escaped, answers


@pytest.mark.usefixtures("small_stacks")
def test_a_crowd_on_a_slow_leader_is_released(server, dial):
    """1,000 threads that wait for a leader whose handshake stalls are all served, over a few connections."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO, How.STALL, seconds=1.5), first=1),)))

    hung, escaped, answers = crowd(server, dial(server), CROWD)

    assert (hung, escaped) == (0, [])
    assert [len(answer.content) for answer in answers] == [1] * CROWD
    # On a busy machine some of those that wait make a connection of their own; stock makes one for each.
    assert server.counts().accepts < CROWD * 0.9
    assert restless() == []


@pytest.mark.usefixtures("small_stacks")
def test_a_crowd_on_stock_connects_each(server, dial):
    """The control: stock makes a connection for each, and the call that stalls is lost."""
    stall = Rule(Fault(Moment.CLIENT_HELLO, How.STALL, seconds=STALL), first=1)
    server.play(Script((stall,), handshake_delay=STALL))
    number = CROWD // 10

    hung, escaped, answers = crowd(server, dial(server, HTTPAdapter()), number)

    assert (hung, len(escaped), len(answers)) == (0, 1, number - 1)
    assert server.counts().accepts > number / 2


def whoami(session, server):
    """The name in the client certificate that the server has seen."""
    return session.get(server.url + "/whoami").json()["client"]


#: Connections die in the handshake, after it, and with their first requests.
DYING = Script(
    (
        Rule(Fault(Moment.CLIENT_HELLO), probability=0.15),
        Rule(Fault(Moment.HANDSHAKE), probability=0.15),
        *(Rule(Fault(Moment.EXECUTED), probability=0.1, on_request=nth) for nth in range(1, 20)),
        *(Rule(Fault(Moment.REQUEST), probability=0.1, on_request=nth) for nth in range(1, 20)),
    ),
    seed=9,
)


def test_no_call_is_made_on_the_others_certificate(server, dial):
    """Two sessions, 8 threads, 2,000 calls, connections dying all the time: each is seen as itself."""
    server.play(DYING)
    patient = RetryPolicy(retries=30, backoff=0.001, backoff_max=0.005)
    sessions = [dial(server, policy=patient) for _ in range(2)]
    sessions[1].cert = server.authority.other_client
    seen = [Counter(), Counter()]

    def work(index):
        for _ in range(IDENTITY_CALLS // IDENTITY_THREADS):
            seen[index % 2][whoami(sessions[index % 2], server)] += 1

    hung, escaped = run_all(IDENTITY_THREADS, work)
    counts = server.counts()

    assert (hung, escaped) == (0, [])
    assert seen == [{"alice": IDENTITY_CALLS / 2}, {"bob": IDENTITY_CALLS / 2}]
    assert counts.resumptions > 0
    assert counts.accepts > 200


class Shared(HTTPAdapter):
    """The often copied adapter with one TLS context for all: psf/requests#6726."""

    def __init__(self, context):
        self.context = context
        super().__init__()

    def init_poolmanager(self, *args, **kwargs):
        """Put the context into every pool."""
        super().init_poolmanager(*args, ssl_context=self.context, **kwargs)


def test_a_shared_context_shows_the_others_certificate(fault_server_factory, dial):
    """The control: through stock, a session that has no certificate is seen with that of another."""
    server = fault_server_factory(client_auth="optional")
    context = create_urllib3_context()
    ann, stranger = (dial(server, Shared(context)) for _ in range(2))
    stranger.cert = None

    assert whoami(ann, server) == "alice"
    assert whoami(stranger, server) == "alice"
