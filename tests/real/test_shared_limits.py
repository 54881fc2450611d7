"""Several processes that share a quota and a circuit in a real Redis, which dies and comes back meanwhile."""

import os
import signal
import threading
import time

import pytest

from resilient_transport.retry.budget import CAPACITY, RETRY_COST
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.real.conftest import require
from tests.real.servers import Redis
from tests.real.workers import Workers
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

WORKERS, CALLS, THREADS = 4, 40, 8
#: What one quota allows.
SHARE = CAPACITY // RETRY_COST
#: What happens to Redis: its host is silent, or its port refuses.
SILENT, DEAD = "silent", "dead"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A Redis that the tests of this module share; each has a prefix of its own."""
    require("redis-server")
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def workers():
    """Processes that make calls."""
    with Workers(WORKERS) as started:
        yield started


class Origin:
    """A server that is well at /well, and fails at /ill until it is told otherwise."""

    def __init__(self):
        self.is_ill = True
        #: What is done before an answer of /ill, outside of any lock.
        self.before = lambda: None

    def __call__(self, head):
        """Answer a request."""
        if head.startswith(b"GET /well") or not self.is_ill:
            return Answer(told("200 OK", b"", Content_Length="0"), before=self.before)
        return Answer(told("503 Busy", b"", Content_Length="0"), before=self.before)


@pytest.fixture
def origin():
    """A server, and what it is told by."""
    told_by = Origin()
    with VerbatimServer(told_by) as server:
        yield server, told_by


def requests_of(server):
    """How many requests for what fails have come."""
    return sum(head.startswith(b"GET /ill") for head in server.heads)


def begin(workers, server, shared, prefix, **settings):
    """Have all workers begin anew, with a warm connection each: a cold start has a free repetition."""
    workers.all(do="begin", shared=shared, prefix=prefix, **{"breaker": None, **settings})
    workers.all(do="get", url=server.url + "well", calls=1)


def storm(workers, server):
    """Let all workers call at the same time; return what each tells."""
    return workers.all(do="get", url=server.url + "ill", calls=CALLS, threads=THREADS)


def until(condition):
    """Wait until something holds."""
    end = time.monotonic() + LONG_TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(SHORT_TIMEOUT / 4)


@pytest.mark.slow
def test_all_processes_keep_to_one_quota(redis, workers, origin):
    """To a server that is down, 4 processes send what one would send more; the control sends 4 times that."""
    server, _ = origin
    begin(workers, server, redis.url, "one quota")
    outcomes = storm(workers, server)
    shared = requests_of(server)
    server.heads.clear()
    begin(workers, server, None, "")
    control = storm(workers, server)

    assert [outcome["outcomes"] for outcome in outcomes] == [{"503": CALLS}] * WORKERS
    assert shared == WORKERS * CALLS + SHARE
    assert sum(outcome["attempts"] for outcome in outcomes) == shared
    assert all(any("shared in Redis, is empty" in why for why in outcome["why"]) for outcome in outcomes)
    assert [outcome["events"] for outcome in outcomes] == [[]] * WORKERS
    assert requests_of(server) == WORKERS * (CALLS + SHARE)
    assert not any("Redis" in why for outcome in control for why in outcome["why"])


def stop(redis, how):
    """Let Redis fall silent or die."""
    if how == DEAD:
        redis.kill()
    else:
        os.kill(redis.pid, signal.SIGSTOP)


def go_on(redis, how):
    """Let Redis be there again."""
    if how == DEAD:
        redis.start()
    else:
        os.kill(redis.pid, signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.parametrize("how", [SILENT, DEAD])
def test_redis_goes_away_and_comes_back(redis, workers, origin, how):
    """In the middle of a storm: no call notices, each process keeps to a quota, and says once what it is."""
    server, told_by = origin
    # A Redis that is there answers in a thousandth of that, on a machine that does nothing else.
    begin(workers, server, redis.url, f"away {how}", timeout=5 * SHORT_TIMEOUT)
    is_first = threading.Lock()

    def stop_once():
        if requests_of(server) > WORKERS * CALLS // 2 and is_first.acquire(blocking=False):
            stop(redis, how)

    told_by.before = stop_once
    try:
        outcomes = storm(workers, server)
        told_by.before, alone = lambda: None, requests_of(server)
        again = storm(workers, server)
    finally:
        go_on(redis, how)
    told_by.is_ill = False
    found = [[] for _ in range(WORKERS)]

    def are_back():
        for events, outcome in zip(
            found, workers.all(do="get", url=server.url + "ill", calls=1), strict=True
        ):
            events += outcome["events"]
        return all(found)

    until(are_back)

    assert [outcome["outcomes"] for outcome in (*outcomes, *again)] == [{"503": CALLS}] * 2 * WORKERS
    assert WORKERS * CALLS + SHARE <= alone <= WORKERS * (CALLS + SHARE)
    lost = [first["events"] + second["events"] for first, second in zip(outcomes, again, strict=True)]
    # By turns, however many there are: on a busy machine it may have been too slow before.
    assert [set(events[::2]) for events in lost] == [{"SharedLimitsLost"}] * WORKERS
    assert [set(events[1::2]) - {"SharedLimitsFound"} for events in lost] == [set()] * WORKERS
    assert [events[-1] for events in lost] == ["SharedLimitsLost"] * WORKERS
    assert [events[0] for events in found] == ["SharedLimitsFound"] * WORKERS


#: Its cool-down is over when a test says so.
BREAKER = {"failures": 5, "window": 2 * LONG_TIMEOUT, "cool_down": 2 * LONG_TIMEOUT}


def refused(outcome):
    """How many calls were refused by the circuit."""
    return outcome["outcomes"].get("CircuitOpen", 0)


def probe(workers, server, told_by):
    """Let all workers call while the one that probes waits; return what came of it for each of them."""
    answers, probing = {}, threading.Event()
    told_by.before = lambda: probing.wait(LONG_TIMEOUT)

    def call(which):
        answers[which] = workers.one(which, do="get", url=server.url + "ill", calls=1)

    threads = [threading.Thread(target=call, args=(which,)) for which in range(WORKERS)]
    for thread in threads:
        thread.start()
    until(lambda: len(answers) == WORKERS - 1)
    probing.set()
    for thread in threads:
        thread.join(LONG_TIMEOUT)
    return list(answers.values())


@pytest.mark.slow
def test_a_circuit_opens_for_all_and_one_probes(redis, workers, origin):
    """What one process has met opens it for all within a second; one call of all probes, and closes it."""
    server, told_by = origin
    begin(workers, server, redis.url, "circuit", breaker=BREAKER, retries=0)
    control = workers.all(do="get", url=server.url + "well", calls=1)
    opening = workers.one(0, do="get", url=server.url + "ill", calls=BREAKER["failures"])
    until(lambda: all(map(refused, workers.all(do="get", url=server.url + "well", calls=1))))
    noticed = workers.all(do="get", url=server.url + "well", calls=1)
    # Its cool-down is over, and who has begun anew does not know of it.
    key = redis.say("KEYS", "circuit:circuit:*").split("\r\n")[2]
    workers.all(do="begin", shared=redis.url, prefix="circuit", breaker=BREAKER, retries=0)
    redis.say("HSET", key, "opens", "1")
    before, told_by.is_ill = len(server.heads), False
    probed = probe(workers, server, told_by)
    probes = len(server.heads) - before
    until(lambda: not any(map(refused, workers.all(do="get", url=server.url + "well", calls=1))))

    assert not any(map(refused, control))
    assert opening["events"] == ["CircuitOpened"]
    assert all("shared in Redis, is open" in outcome["said"][0] for outcome in noticed)
    assert probes == 1
    assert sum(map(refused, probed)) == WORKERS - 1
    assert sorted(event for outcome in probed for event in outcome["events"]) == ["CircuitClosed"]
