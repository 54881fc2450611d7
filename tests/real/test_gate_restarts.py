"""nginx is reloaded, or its worker killed, while calls run: no GET is lost, no POST runs twice."""

import collections
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of
from tests.real.conftest import at_once
from tests.timeouts import LONG_TIMEOUT

THREADS = 8
RELOADS = 5
KILLS = 3
#: Calls that are made between two disturbances.
BETWEEN = 80
PASSING_ON = "location /passed {{ proxy_pass http://127.0.0.1:{port}; }}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One call: what was asked, and the response or the exception."""

    method: str
    request_id: str
    end: Any

    @property
    def is_lost(self):
        """Whether it has failed."""
        return not isinstance(self.end, requests.Response)


def call(session, url, method, request_id):
    """Make a call with an id of its own; return how it has ended."""
    try:
        headers = {"X-Request-Id": request_id}
        return Outcome(
            method, request_id, session.request(method, url, headers=headers, timeout=LONG_TIMEOUT)
        )
    except requests.RequestException as error:
        return Outcome(method, request_id, error)


def under_load(server, session, url, disturb, times):
    """Call in a loop from eight threads, GET and POST in turn, and disturb the server meanwhile."""
    outcomes, over = [], threading.Event()

    def loop(thread):
        for number in range(1_000_000):
            if over.is_set():
                break
            method = "POST" if (thread + number) % 2 else "GET"
            outcomes.append(call(session, url, method, f"{thread}-{number}"))

    def go_on():
        enough = len(outcomes) + BETWEEN
        server.wait_for(lambda: len(outcomes) >= enough, "to answer")

    with ThreadPoolExecutor(THREADS) as threads:
        running = [threads.submit(loop, thread) for thread in range(THREADS)]
        try:
            for _ in range(times):
                go_on()
                disturb()
            go_on()
        finally:
            over.set()
    assert [each.result() for each in running] == [None] * THREADS
    return outcomes


@dataclasses.dataclass(frozen=True)
class Reloaded:
    """What came of calls during which nginx was reloaded five times."""

    outcomes: list[Outcome]
    #: How often each call was executed, by method and id.
    executed: collections.Counter[tuple[str, str]]
    #: The workers before, between and after the reloads.
    generations: list[frozenset[int]]

    def executions(self, is_lost):
        """How often POSTs were executed that failed, or did not: the numbers that occur."""
        return {
            self.executed[outcome.method, outcome.request_id]
            for outcome in self.outcomes
            if outcome.method == "POST" and outcome.is_lost == is_lost
        }


def reload_under_load(server, session):
    """Reload nginx five times under load."""
    generations = [frozenset(server.workers())]

    def reload():
        server.reload()
        generations.append(frozenset(server.workers()))

    outcomes = under_load(server, session, server.url, reload, RELOADS)
    accesses = server.access_log(at_least=sum(not outcome.is_lost for outcome in outcomes))
    executed = collections.Counter((access.method, access.request_id) for access in accesses)
    return Reloaded(outcomes, executed, generations)


def test_reloads_lose_no_call_that_may_be_repeated(nginx, dial):
    """Five reloads under load: each GET and each POST with an Idempotency-Key is answered; POSTs run once."""
    server = nginx(verify_client="on")

    seen = reload_under_load(server, dial(policy=RetryPolicy(idempotency_key=True)))

    assert len(set(seen.generations)) == RELOADS + 1
    assert [str(attempts_of(outcome.end)) for outcome in seen.outcomes if outcome.is_lost] == []
    assert {outcome.end.status_code for outcome in seen.outcomes} == {200}
    assert seen.executions(is_lost=False) == {1}


def test_a_plain_post_that_meets_a_reload_says_so_and_never_runs_twice(nginx, dial):
    """nginx may close an idle connection as a request leaves: only then a plain POST fails, not executed."""
    server = nginx(verify_client="on")

    seen = reload_under_load(server, dial())

    lost = [outcome for outcome in seen.outcomes if outcome.is_lost]
    told = [attempts_of(outcome.end)[-1] for outcome in lost]
    assert len(set(seen.generations)) == RELOADS + 1
    assert {outcome.method for outcome in lost} <= {"POST"}
    assert {(attempt.stage, attempt.reused) for attempt in told} <= {("request", True)}
    assert all("the method may not be repeated" in attempt.decision for attempt in told)
    assert seen.executions(is_lost=False) == {1}
    assert seen.executions(is_lost=True) <= {0}


@pytest.fixture
def deadly(nginx, backend):
    """Start nginx before a backend that answers once the worker was killed while eight requests were held."""
    behind = backend(lambda came: came >= THREADS and kill())
    server = nginx(verify_client="on", locations=PASSING_ON.format(port=behind.port))
    killing = threading.Lock()

    def kill():
        with killing:
            if not behind.released.is_set():
                server.kill_worker()
                behind.released.set()
        return True

    return server, behind


def meet_death(server, session):
    """Make four GETs and four POSTs at once; return how they have ended."""

    def one(number):
        method = "POST" if number % 2 else "GET"
        return lambda: call(session, server.url + "/passed", method, str(number))

    return at_once([one(number) for number in range(THREADS)])


def test_a_killed_worker_costs_no_get_and_no_post_runs_twice(deadly, dial):
    """All eight were executed when the worker dies: GETs are sent again, POSTs fail and say why."""
    server, behind = deadly

    outcomes = meet_death(server, dial())

    lost = [outcome for outcome in outcomes if outcome.is_lost]
    assert [outcome.method for outcome in lost] == ["POST"] * 4
    assert {attempts_of(outcome.end)[-1].stage for outcome in lost} == {"request"}
    assert behind.executed == {
        (outcome.method, outcome.request_id): 1 if outcome.is_lost else 2 for outcome in outcomes
    }


@pytest.mark.parametrize(
    ("retries", "lost", "posts"),
    [(0, 8, 1), (Retry(3, allowed_methods=None), 0, 2)],
    ids=["stock", "Retry(3)"],
)
def test_stock_loses_the_gets_or_runs_the_posts_twice(deadly, dial, retries, lost, posts):
    """The control: stock loses all eight; with `Retry` for all methods it executes the POSTs again."""
    server, behind = deadly

    outcomes = meet_death(server, dial(HTTPAdapter(max_retries=retries)))

    assert sum(outcome.is_lost for outcome in outcomes) == lost
    assert {count for (method, _), count in behind.executed.items() if method == "POST"} == {posts}


@pytest.mark.parametrize("key", [False, True], ids=["plain", "Idempotency-Key"])
def test_killed_workers_cost_no_get_under_load(nginx, backend, dial, key):
    """Three kills under load: GETs complete; a plain POST runs at most once, and says where it failed."""
    behind = backend(lambda _: True)
    server = nginx(verify_client="on", locations=PASSING_ON.format(port=behind.port))
    session = dial(ResilientAdapter(policy=RetryPolicy(idempotency_key=key)))

    outcomes = under_load(server, session, server.url + "/passed", server.kill_worker, KILLS)

    lost = [outcome for outcome in outcomes if outcome.is_lost]
    told = [attempts_of(outcome.end)[-1] for outcome in lost]
    posts = [count for (method, _), count in behind.executed.items() if method == "POST"]
    assert {outcome.method for outcome in lost} <= (set() if key else {"POST"})
    assert {attempt.stage for attempt in told} <= {"request", "body"}
    assert key or set(posts) == {1}
    assert any(len(attempts_of(outcome.end)) > 1 for outcome in outcomes)
