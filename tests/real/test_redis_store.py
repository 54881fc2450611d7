"""One process and a real Redis: what it asks it and what not, and every way in which Redis can be away."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import inf

import pytest
import requests

import resilient_transport.redis
from resilient_transport import Breaker, CircuitOpen, RetryPolicy, attempts_of, override
from resilient_transport.call.origin_state import state_of
from resilient_transport.redis import RedisLimits
from resilient_transport.redis.address import address_of
from resilient_transport.redis.shared_circuit import Leave
from resilient_transport.redis.store import CONNECTIONS, Asker, Store, View
from resilient_transport.retry.breaker import Circuit
from resilient_transport.retry.budget import CAPACITY, RETRY_COST, Quota
from resilient_transport.retry.deadline import Deadline
from resilient_transport.testing import Script
from resilient_transport.util.origin import origin_at
from tests.programs import run_python
from tests.real.conftest import require
from tests.real.servers import Redis
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

ORIGIN = "https://api.example"
PASSWORD = "8f14e45fceea167a"
BREAKER = Breaker(failures=3, window=LONG_TIMEOUT, cool_down=LONG_TIMEOUT)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    """A Redis that the tests of this module share."""
    require("redis-server")
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(autouse=True)
def empty(redis, server):
    """Begin each test with an empty Redis, a process that knows nothing of it, and a faultless server."""
    redis.say("FLUSHALL")
    redis.say("CONFIG", "RESETSTAT")
    server.play(Script())
    server.reset_peers()
    yield
    resilient_transport.redis.clear()


class Told(list):
    """The names of the events of a test, and what they say."""

    def __call__(self, event):
        """Take an event."""
        self.append(type(event).__name__)
        self.said = str(event)


def asker(left=inf, told=None):
    """A call."""
    return Asker(ORIGIN, lambda: left, Told() if told is None else told)


def store_of(redis, timeout=LONG_TIMEOUT, url=None, prefix="test"):
    """A Redis as another process would know it."""
    place, connect, secrets = address_of(url or redis.url, timeout)
    return Store(connect, place, prefix, timeout, secrets)


def limits_of(redis, **settings):
    """A policy's limits."""
    return RedisLimits(redis.url, **{"timeout": LONG_TIMEOUT, **settings})


def test_processes_share_a_bucket(redis):
    """What one draws the other misses; what one gives back the other has; it is never more than full."""
    one, other = store_of(redis), store_of(redis)

    assert one.take(asker(), 400, 0) == (True, 100)
    assert other.take(asker(), 101, 0) == (False, 100)
    assert other.take(asker(), 100, 0) == (True, 0)
    assert one.take(asker(), RETRY_COST, 0) == (False, 0)
    assert one.take(asker(), 0, 60) == (True, 60)
    assert other.take(asker(), 0, CAPACITY) == (True, CAPACITY)
    assert redis.say("DBSIZE") == ":0\r\n"


def test_another_prefix_or_database_shares_nothing(redis):
    """The control: who has another name, or another database."""
    store_of(redis).take(asker(), CAPACITY, 0)
    others = [store_of(redis, prefix="other"), store_of(redis, url=redis.url.replace("/0", "/1"))]

    assert [other.take(asker(), 5, 0).is_granted for other in others] == [True, True]
    assert not store_of(redis).take(asker(), 5, 0).is_granted


def test_what_is_forgotten(redis):
    """The quota of an origin that nobody has called for an hour begins full."""
    store_of(redis).take(asker(), 5, 0)
    quota = redis.say("TTL", f"test:quota:{ORIGIN}")
    store_of(redis).step(asker(), BREAKER, "failed", 0)
    circuit = redis.say("TTL", f"test:circuit:3/10/10:{ORIGIN}")

    assert 3590 <= int(quota.strip().removeprefix(":")) <= 3600
    assert 3610 <= int(circuit.strip().removeprefix(":")) <= 3620


def test_a_healthy_call_asks_nothing(redis, server, dial):
    """No script runs for calls that succeed at once; the control fails once, and draws."""
    session = dial(policy=RetryPolicy(shared=limits_of(redis), backoff=0))
    for _ in range(20):
        session.get(server.url)
    healthy = redis.commands()
    session.get(server.url + "/status/503?times=1&id=a")

    assert healthy == 0
    assert redis.commands() > 0


def test_a_healthy_call_with_a_breaker_looks_once_a_second(redis, server, dial):
    """However many calls there are."""
    session = dial(policy=RetryPolicy(shared=limits_of(redis), breaker=BREAKER))
    began = time.monotonic()
    for _ in range(30):
        session.get(server.url)
    seconds = time.monotonic() - began

    # The first one needs a second command: the script is not known yet.
    assert 1 <= redis.commands() <= 2 + seconds


def test_what_was_drawn_is_given_back_at_once(redis, server, dial):
    """A call that succeeds in the end leaves the shared quota full, whatever becomes of its process then."""
    session = dial(policy=RetryPolicy(shared=limits_of(redis), backoff=0))
    session.get(server.url + "/status/503?times=3&id=b")
    after_success = redis.say("DBSIZE")
    session.get(server.url + "/status/503")

    assert after_success == ":0\r\n"
    assert redis.say("GET", f"resilient_transport:quota:{origin_at(server.url)}") == "$3\r\n475\r\n"


def test_who_knows_that_tokens_are_missing_pays_for_successes(redis, server, dial, monkeypatch):
    """One token for each call, gathered; a process that has seen a full bucket pays nothing (the control)."""
    session = dial(policy=RetryPolicy(shared=limits_of(redis), backoff=0))
    key = f"resilient_transport:quota:{origin_at(server.url)}"
    redis.say("SET", key, "100")
    session.get(server.url)
    ignorant = redis.say("GET", key)
    session.get(server.url + "/status/503")
    for _ in range(10):
        session.get(server.url)
    (store,) = resilient_transport.redis._stores.values()
    known = store.origins[origin_at(server.url)]
    gathered = known.pending
    known.given_at = -inf
    session.get(server.url)

    assert ignorant == "$3\r\n100\r\n"
    # The first of them is given back at once, since nothing was for a while.
    assert 0 < gathered <= 10
    assert redis.say("GET", key) == f"$2\r\n{100 - 5 * RETRY_COST + 11}\r\n"


def test_what_was_drawn_while_redis_was_away_is_not_given_back(redis):
    """To the shared quota, that is; what was drawn there is (the control)."""
    key, limits = f"resilient_transport:quota:{ORIGIN}", limits_of(redis)
    quota, other = (limits.quota(Quota(), ORIGIN, Deadline(), None) for _ in range(2))
    (store,) = resilient_transport.redis._stores.values()
    redis.say("SET", key, "100")
    other.take(RETRY_COST)
    store.presence.lost(time.monotonic())
    away = quota.take(RETRY_COST)
    store.presence.found(time.monotonic())
    quota.give_back(RETRY_COST)
    kept = redis.say("GET", key)
    other.give_back(RETRY_COST)

    assert away
    assert kept == "$2\r\n95\r\n"
    assert redis.say("GET", key) == "$3\r\n100\r\n"


def test_a_success_finds_out_that_redis_is_back(redis, server, dial):
    """One that would ask nothing otherwise (the control: it does not, once it has seen a full bucket)."""
    told = Told()
    session = dial(policy=RetryPolicy(shared=limits_of(redis), backoff=0), on_event=told)
    session.get(server.url)
    redis.kill()
    try:
        session.get(server.url + "/status/503?times=1&id=c")
    finally:
        redis.start()
    (store,) = resilient_transport.redis._stores.values()
    store.presence._state = store.presence._state._replace(asked_at=0.0)
    known = store.origins[origin_at(server.url)]
    known.given_at = -inf
    session.get(server.url)
    commands, known.given_at = redis.commands(), -inf
    session.get(server.url)

    assert [name for name in told if name.startswith("Shared")] == ["SharedLimitsLost", "SharedLimitsFound"]
    assert redis.commands() == commands


def test_each_process_keeps_to_its_own_quota_too(redis, server, dial):
    """With tokens in Redis and none of its own, nothing is repeated, nor asked."""
    session = dial(policy=RetryPolicy(shared=limits_of(redis), backoff=0))
    session.get(server.url)
    state_of(origin_at(server.url)).quota.tokens = 0
    response = session.get(server.url + "/status/503")

    assert attempts_of(response)[-1].decision.endswith("the retry quota of its origin is empty")
    assert redis.commands() == 0


def test_what_was_refused_by_redis_is_not_drawn_here(redis, server, dial):
    """The process's own tokens are left as they are, and the attempts say who has refused."""
    session = dial(policy=RetryPolicy(shared=limits_of(redis), backoff=0))
    session.get(server.url)
    redis.say("SET", f"resilient_transport:quota:{origin_at(server.url)}", "4")
    response = session.get(server.url + "/status/503")

    assert len(attempts_of(response)) == 1
    assert "origin, shared in Redis, is empty" in attempts_of(response)[0].decision
    assert state_of(origin_at(server.url)).quota.tokens == CAPACITY


def enter(store):
    """Ask leave for an attempt."""
    return store.step(asker(), BREAKER, "enter", 0)


def make_old(redis):
    """Let the run of failures of a circuit have lasted for long."""
    redis.say("HSET", f"test:circuit:3/10/10:{ORIGIN}", "first", "1")


def test_failures_of_all_processes_open_a_circuit(redis):
    """So many in a row of all together; what succeeds in between clears them (the control)."""
    one, other = store_of(redis), store_of(redis)
    epoch = enter(one).epoch
    for store in (one, other):
        store.step(asker(), BREAKER, "failed", epoch)
    make_old(redis)
    other.step(asker(), BREAKER, "succeeded", epoch)
    for store in (one, other):
        store.step(asker(), BREAKER, "failed", epoch)
    still_closed = enter(one)
    make_old(redis)
    opened = one.step(asker(), BREAKER, "failed", epoch)

    assert still_closed.took_effect
    assert opened.took_effect
    assert not enter(other).took_effect
    assert enter(other).opens_in == pytest.approx(LONG_TIMEOUT, abs=1)


def test_failures_within_a_second_prove_nothing(redis):
    """Another process may have succeeded in between, unseen; so many in a row in one process prove enough."""
    one, other = store_of(redis), store_of(redis)
    for _ in range(2 * BREAKER.failures):
        for store in (one, other):
            store.step(asker(), BREAKER, "failed", 0)
    closed = enter(one)

    assert closed.took_effect
    assert one.step(asker(), BREAKER, "failed alone", closed.epoch).took_effect
    assert not enter(other).took_effect


def probed(redis, *stores):
    """Open a circuit, let its cool-down be over, and ask for a probe."""
    stores[0].step(asker(), BREAKER, "failed alone", 0)
    redis.say("HSET", f"test:circuit:3/10/10:{ORIGIN}", "opens", "1")
    return [enter(store) for store in stores]


@pytest.mark.parametrize(("step", "is_open"), [("succeeded", False), ("failed", True), ("left", None)])
def test_one_probe_for_all(redis, step, is_open):
    """Only one is given; what it reports closes the circuit, opens it anew, or lets another probe."""
    one, other = store_of(redis), store_of(redis)
    first, second = probed(redis, one, other)
    one.step(asker(), BREAKER, step, first.epoch)
    third = enter(other)

    assert first.took_effect
    assert not second.took_effect
    assert (third.is_open, third.took_effect) == {
        "succeeded": (False, True),
        "failed": (True, False),
        "left": (True, True),
    }[step]


def test_a_process_that_dies_while_it_probes_holds_nobody_up_for_ever(redis):
    """After another cool-down the next may; what the first one reports then has no say."""
    one, other = store_of(redis), store_of(redis)
    first, second = probed(redis, one, other)
    redis.say("HSET", f"test:circuit:3/10/10:{ORIGIN}", "probe", "1")
    third = enter(other)
    one.step(asker(), BREAKER, "succeeded", first.epoch)

    assert not second.took_effect
    assert third.took_effect
    assert enter(one).is_open


def test_a_clock_that_was_set_back_keeps_no_circuit_open(redis):
    """No longer than a cool-down: Redis' own clock is a wall clock."""
    one = store_of(redis)
    one.step(asker(), BREAKER, "failed alone", 0)
    refused = enter(one)
    redis.say("HSET", f"test:circuit:3/10/10:{ORIGIN}", "opens", "9999999999999")

    assert not refused.took_effect
    assert enter(one).took_effect


def test_what_began_before_has_no_say(redis):
    """Failures of attempts that began before the circuit closed do not open it anew."""
    one, other = store_of(redis), store_of(redis)
    (probe,) = probed(redis, one)
    one.step(asker(), BREAKER, "succeeded", probe.epoch)
    late = other.step(asker(), BREAKER, "failed alone", 0)

    assert not late.took_effect
    assert enter(other).took_effect


def test_a_circuit_in_calls(redis, server, dial):
    """It opens, refuses before anything is opened, and says that it is shared; another breaker does not."""
    policy = RetryPolicy(shared=limits_of(redis), breaker=BREAKER, retries=0)
    told = Told()
    session = dial(policy=policy, on_event=told)
    for _ in range(BREAKER.failures):
        session.get(server.url + "/status/503")
    resilient_transport.redis.clear()
    before = server.counts().requests
    with pytest.raises(CircuitOpen, match="shared in Redis, is open") as caught:
        session.get(server.url)
    after = server.counts().requests
    other = dial(policy=RetryPolicy(shared=limits_of(redis), breaker=Breaker()))

    assert told.count("CircuitOpened") == 1
    assert after == before
    assert 0 < caught.value.retry_after <= LONG_TIMEOUT
    assert other.get(server.url).ok


def test_a_circuit_that_opens_in_a_call_ends_it(redis, server, dial):
    """A call that is at its repetitions ends with what it has, and says why."""
    session = dial(policy=RetryPolicy(shared=limits_of(redis), breaker=BREAKER, backoff=0))
    response = session.get(server.url + "/status/503")

    assert len(attempts_of(response)) == BREAKER.failures
    assert attempts_of(response)[-1].decision.endswith("circuit of its origin, shared in Redis, is open")


def test_a_probe_in_calls(redis, server, dial):
    """What nobody's fault ends gives the probe back; what succeeds closes the circuit; both are told."""
    policy = RetryPolicy(shared=limits_of(redis), breaker=BREAKER, retries=0)
    told = Told()
    session = dial(policy=policy, on_event=told)
    for _ in range(BREAKER.failures):
        session.get(server.url + "/status/503")
    key = f"resilient_transport:circuit:3/10/10:{origin_at(server.url)}"
    redis.say("HSET", key, "opens", "1")
    resilient_transport.redis.clear()
    with pytest.raises(ValueError, match="the source"):
        session.put(server.url + "/echo", data=broken())
    response = session.get(server.url)

    assert response.ok
    assert told.count("CircuitClosed") == 1
    assert redis.say("HGET", key, "opens") == "$-1\r\n"


def broken():
    """A body whose source fails."""
    yield b"x"
    raise ValueError("the source has failed")


def test_without_redis_each_process_has_a_circuit_of_its_own(redis, server, dial):
    """It opens after as many failures, lets one probe after as long, and does not say that it is shared."""
    told = Told()
    redis.kill()
    try:
        policy = RetryPolicy(shared=limits_of(redis), breaker=BREAKER, retries=0)
        session = dial(policy=policy, on_event=told)
        for _ in range(BREAKER.failures):
            session.get(server.url + "/status/503")
        with pytest.raises(CircuitOpen, match=r"The circuit of https://localhost:\d+ is open") as caught:
            session.get(server.url)
        own = state_of(origin_at(server.url)).circuit(BREAKER)
        own._clock = lambda: time.monotonic() + 2 * LONG_TIMEOUT
        with pytest.raises(ValueError, match="the source"):
            session.put(server.url + "/echo", data=broken())
        response = session.get(server.url)
    finally:
        redis.start()

    assert 0 < caught.value.retry_after <= LONG_TIMEOUT
    assert response.ok
    assert [name for name in told if name.startswith(("Circuit", "Shared"))] == [
        "SharedLimitsLost",
        "CircuitOpened",
        "CircuitClosed",
    ]


def test_a_circuit_that_is_open_stays_so_when_redis_goes(redis, server, dial):
    """As long as it was to be; then the process's own holds."""
    session = dial(policy=RetryPolicy(shared=limits_of(redis), breaker=BREAKER, retries=0))
    for _ in range(BREAKER.failures):
        session.get(server.url + "/status/503")
    (store,) = resilient_transport.redis._stores.values()
    known = store.origins[origin_at(server.url)].circuits[BREAKER]
    redis.kill()
    try:
        known.look = known.look._replace(holds_until=0.0)
        with pytest.raises(CircuitOpen):
            session.get(server.url)
        known.look = known.look._replace(probed_at=0.0)
        response = session.get(server.url)
    finally:
        redis.start()

    assert response.ok


def test_a_failure_that_redis_did_not_hear_of_counts_here(redis, server, dial):
    """Leave came from Redis, which went meanwhile: the process's own circuit begins with that failure."""
    limits = limits_of(redis)
    own = Circuit(BREAKER)
    circuit = limits.circuit(own, ORIGIN, Deadline(), None)
    leave = circuit.enter()
    redis.kill()
    try:
        opened = circuit.failed(leave)
        success = circuit.succeeded(leave)
    finally:
        redis.start()

    assert (opened, success) == (False, False)
    assert "1 failures in a row" in repr(own)
    assert not circuit.is_open()


def test_a_success_is_reported_where_there_is_something_to_clear(redis):
    """Failures that the process knows of, or what it may have missed for a second; otherwise not."""
    circuit = limits_of(redis).circuit(Circuit(BREAKER), ORIGIN, Deadline(), None)

    def commands_of(work):
        before = redis.commands()
        work()
        return redis.commands() - before

    leave = circuit.enter()
    quiet = commands_of(lambda: circuit.succeeded(leave))
    circuit.failed(leave)
    cleared = commands_of(lambda: circuit.succeeded(leave))
    again = commands_of(lambda: circuit.succeeded(leave))
    circuit._known.look = circuit._known.look._replace(holds_until=0.0)
    stale = commands_of(lambda: circuit.succeeded(leave))
    circuit._known.look = circuit._known.look._replace(epoch=7)
    late = commands_of(lambda: circuit.succeeded(leave))

    assert [quiet, cleared, again, stale, late] == [0, 1, 0, 1, 0]


def test_one_caller_looks_and_the_others_go_on(redis):
    """What was seen holds for a second more, for all but the one that looks."""
    one, other = (limits_of(redis).circuit(Circuit(BREAKER), ORIGIN, Deadline(), None) for _ in range(2))
    one.enter()
    look = one._known.look = one._known.look._replace(holds_until=0.0)
    is_first, is_second = one._has_to_look(look), other._has_to_look(look)

    assert (is_first, is_second) == (True, False)
    assert other.enter() == Leave(look.epoch)


def test_what_was_seen_earlier_does_not_replace_what_was_seen_later(redis):
    """Two threads learn in another order than they have asked in."""
    circuit = limits_of(redis).circuit(Circuit(BREAKER), ORIGIN, Deadline(), None)
    circuit.enter()
    later = circuit._known.look
    circuit._learn(View(True, 1, True, 5.0, 0), later.asked_at - 1)
    kept = circuit._known.look
    circuit._learn(View(True, 1, True, 5.0, 0), later.asked_at + 1)

    assert kept is later
    assert circuit.is_open()
    assert 0 < circuit.opens_in() <= 5


def read_only(redis):
    """A replica: it takes no writes."""
    redis.say("REPLICAOF", "127.0.0.1", "1")
    return lambda: redis.say("REPLICAOF", "NO", "ONE")


def full(redis):
    """No memory is left."""
    redis.say("CONFIG", "SET", "maxmemory", "1")
    return lambda: redis.say("CONFIG", "SET", "maxmemory", "0")


def other_type(redis):
    """Somebody else has a key of that name."""
    redis.say("LPUSH", f"test:quota:{ORIGIN}", "x")
    return lambda: redis.say("FLUSHALL")


def locked(redis):
    """The password has changed."""
    redis.say("CONFIG", "SET", "requirepass", PASSWORD[::-1])

    def unlock():
        import redis as redis_py

        with redis_py.Redis(port=redis.port, password=PASSWORD[::-1]) as client:
            client.config_set("requirepass", "")

    return unlock


def dead(redis):
    """Nobody listens."""
    redis.kill()
    return redis.start


@pytest.mark.parametrize("stop", [read_only, full, other_type, locked, dead])
def test_redis_is_away_and_back(redis, stop):
    """Whatever is wrong: no answer, nothing raised, said once and without a secret; then it is found."""
    told, url = Told(), redis.url.replace("//", f"//:{PASSWORD}@") if stop is locked else redis.url
    go_on = stop(redis)
    store = store_of(redis, url=url)
    try:
        answers = [store.take(asker(told=told), 5, 0) for _ in range(3)]
        lost = list(told)
        said = told.said
    finally:
        go_on()
    # Its pause is over.
    store.presence._state = store.presence._state._replace(asked_at=0.0)
    again = store_of(redis) if stop is locked else store
    again.presence._state = store.presence._state

    assert answers == [None] * 3
    assert lost == ["SharedLimitsLost"]
    assert PASSWORD not in said
    assert said.startswith(f"{redis.url}: shared limits are lost")
    assert again.take(asker(told=told), 5, 0) == (True, CAPACITY - 5)
    assert told == ["SharedLimitsLost", "SharedLimitsFound"]


def test_a_script_that_is_forgotten_is_sent_again(redis):
    """Redis forgets scripts when it starts, and when it is told to."""
    store, told = store_of(redis), Told()
    store.take(asker(told=told), 5, 0)
    redis.say("SCRIPT", "FLUSH")

    assert store.take(asker(told=told), 5, 0) == (True, CAPACITY - 10)
    assert told == []


def test_a_connection_that_redis_has_closed_is_not_used_again(redis):
    """As its `timeout` for idle clients does: that is no loss."""
    store, told = store_of(redis), Told()
    for _ in range(CONNECTIONS):
        store.take(asker(told=told), 5, 0)
    redis.say("CLIENT", "KILL", "TYPE", "normal")
    answers = [store.take(asker(told=told), 5, 0) for _ in range(CONNECTIONS)]

    assert None not in answers
    assert told == []


def test_many_threads_have_two_connections(redis):
    """100 at once: each has its turn, and each is counted."""
    store, before = store_of(redis), redis.accepted()
    at_once = threading.Barrier(100)

    def take(_):
        at_once.wait(LONG_TIMEOUT)
        return store.take(asker(), 1, 0)

    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(take, range(100)))
    # Those that counted are connections, too.
    made = redis.accepted() - before - 1

    assert sorted(answer.tokens for answer in answers) == list(range(CAPACITY - 100, CAPACITY))
    assert made <= CONNECTIONS


FORKS = """
import os, sys
from resilient_transport.redis import RedisLimits, _stores
from resilient_transport.redis.store import Asker
from resilient_transport.retry.budget import CAPACITY

limits = RedisLimits(sys.argv[1], timeout=10)
asker = Asker("https://api.example", lambda: 10.0, print)
take = lambda: _stores.used(limits).take(asker, 5, 0).tokens
ports = lambda: {s.connection._sock.getsockname()[1] for s in list_of(_stores.used(limits)) if s.connection}
def list_of(store):
    found = [store._slots.get() for _ in range(2)]
    for slot in found:
        store._slots.put(slot)
    return found

print(take(), take(), flush=True)
own = ports()
child = os.fork()
if not child:
    print(take(), len(ports()), ports() & own, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(take(), ports() == own, flush=True)

# A call that goes on in the child has a store that is the parent's.
store = _stores.used(limits)
child = os.fork()
if not child:
    print(store.take(asker, 5, 0).tokens, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(take(), ports() == own, flush=True)
"""


def test_a_forked_child_has_connections_of_its_own(redis):
    """It begins anew, and the parent goes on with those that it has."""
    said = run_python("-W", "error::ResourceWarning", "-c", FORKS, redis.url).stdout.split("\n")

    assert said[:5] == ["495 490", "485 1 set()", "480 True", "475", "470 True"]


def test_the_time_of_the_call_bounds_an_exchange(redis, server, dial):
    """Redis is silent and may be for long: a call with a deadline ends by that, and Redis is not to blame."""
    with silence() as url:
        told = Told()
        limits = RedisLimits(url, timeout=LONG_TIMEOUT)
        session = dial(policy=RetryPolicy(shared=limits, backoff=0, retries=1), on_event=told)
        began = time.monotonic()
        with override(deadline=SHORT_TIMEOUT), pytest.raises(requests.Timeout):
            session.get(server.url + "/status/503")
        seconds = time.monotonic() - began

    assert seconds < LONG_TIMEOUT / 2
    assert "SharedLimitsLost" not in told


def test_its_own_time_bounds_an_exchange(redis, server, dial):
    """Without a deadline; then Redis is lost, and the next calls do not wait for it."""
    with silence() as url:
        told = Told()
        limits = RedisLimits(url, timeout=SHORT_TIMEOUT)
        session = dial(policy=RetryPolicy(shared=limits, backoff=0), on_event=told)
        responses = [session.get(server.url + "/status/503") for _ in range(3)]

    assert [len(attempts_of(response)) for response in responses] == [6, 6, 6]
    assert told.count("SharedLimitsLost") == 1


@contextmanager
def silence():
    """A port that takes connections and says nothing: its URL as a Redis."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"redis://127.0.0.1:{sock.getsockname()[1]}/0"
