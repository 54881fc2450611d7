"""What the package is for: four parallel mTLS calls at the start of a program survive what killed them."""

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, attempts_of, registry
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

pytestmark = pytest.mark.slow

STARTS = 15
RACE = Script((Rule(Fault(Moment.CLIENT_HELLO), in_flight_over=1),), handshake_delay=0.002)
COIN = Script((Rule(Fault(Moment.CLIENT_HELLO), probability=0.5),), seed=7)
LATE_COIN = Script((Rule(Fault(Moment.HANDSHAKE), probability=0.5),), seed=11)
FAULTS = pytest.mark.parametrize("script", [RACE, COIN, LATE_COIN], ids=["race", "p=0.5", "after handshake"])


def start(server, adapter, number, calls=4):
    """Make half as many GETs and as many POSTs at once, with cold pools; return how each ended."""
    registry.clear()
    with requests.Session() as session, ThreadPoolExecutor(calls) as threads:
        session.trust_env = False
        session.verify, session.cert = server.authority.ca_file, server.authority.client
        session.mount("https://", adapter)

        def call(index):
            request_id = {"X-Request-Id": f"{number}-{index}"}
            method = "POST" if index % 2 else "GET"
            try:
                return session.request(method, server.url + "/words/3", headers=request_id).ok
            except requests.RequestException as error:
                return error

        return list(threads.map(call, range(calls)))


@pytest.fixture
def patient(monkeypatch):
    """Let a busy machine's server take its time to accept or to reset."""
    for name in ("PROOF_WAIT", "PROOF_WAIT_IN_DOUBT"):
        monkeypatch.setattr(f"resilient_transport.connection.tls_connection.{name}", LONG_TIMEOUT)


@FAULTS
@pytest.mark.usefixtures("patient")
def test_every_start_completes(server, script):
    """With default settings every call of every start ends well, POSTs included, and none runs twice."""
    server.play(script)

    outcomes = [start(server, ResilientAdapter(), number) for number in range(STARTS)]

    stories = [str(attempts_of(each)) for calls in outcomes for each in calls if each is not True]
    assert stories == []
    assert server.counts().executions == {f"{n}-{i}": 1 for n in range(STARTS) for i in range(4)}


@FAULTS
@pytest.mark.parametrize("retries", [0, Retry(3)], ids=["stock", "Retry(3)"])
def test_stock_does_not(server, script, retries):
    """The control: stock, and stock with `Retry(3)`, lose calls in the same starts."""
    server.play(script)

    outcomes = [start(server, HTTPAdapter(max_retries=retries), number) for number in range(STARTS)]

    failed = sum(any(each is not True for each in calls) for calls in outcomes)
    assert failed > STARTS / 4


def race(server, make, calls, starts):
    """Start so many times at a server that bears one handshake at once; return the story and the counts."""
    server.play(RACE)
    outcomes = [each for number in range(starts) for each in start(server, make(), number, calls)]
    lost = [str(attempts_of(each)) for each in outcomes if each is not True]
    return lost, server.wait_for(lambda counts: not counts.in_flight)


@pytest.mark.parametrize(("calls", "starts"), [(4, 10), (16, 5), (64, 2)])
def test_a_race_costs_few_connections(server, calls, starts):
    """All complete, with at most 1.2 connections a request, and hardly more than one full handshake a start.

    A caller whose handshake was reset twice while it offered a session offers none the next time: on a busy
    machine one or the other is so unlucky.
    """
    lost, counts = race(server, ResilientAdapter, calls, starts)
    full = counts.handshakes - counts.resumptions

    assert lost == []
    assert counts.accepts <= 1.2 * calls * starts
    assert starts <= full <= starts + calls * starts / 10


@pytest.mark.parametrize(("calls", "starts"), [(4, 10), (16, 5)])
def test_stock_loses_the_race(server, calls, starts):
    """The control: stock loses calls, and so it does with `Retry(3)`; nothing is resumed."""
    stock, _ = race(server, HTTPAdapter, calls, starts)
    retrying, counts = race(server, lambda: HTTPAdapter(max_retries=Retry(3)), calls, starts)

    assert len(stock) > calls * starts / 10
    assert retrying
    assert counts.handshakes - counts.resumptions == counts.handshakes > 0


@pytest.mark.parametrize(
    ("make", "at_once"),
    [(lambda: ResilientAdapter(max_retries=2), 1), (HTTPAdapter, 4)],
    ids=["ours", "stock"],
)
def test_a_cold_pool_makes_one_handshake_at_a_time(server, make, at_once):
    """Until the first connection is proven nobody else shakes hands; stock, the control, does."""
    server.play(Script(handshake_delay=LONG_TIMEOUT))
    with ThreadPoolExecutor(1) as starting:
        started = starting.submit(start, server, make(), 0)
        server.wait_for(lambda counts: counts.in_flight >= at_once, LONG_TIMEOUT)
        with suppress(TimeoutError):
            server.wait_for(lambda counts: counts.in_flight > at_once, SHORT_TIMEOUT)
        seen = server.counts().in_flight_max
        server.play(Script((Rule(Fault(Moment.HANDSHAKE)),)))
        server.reset_peers()
        started.result(LONG_TIMEOUT)

    assert seen == at_once


def test_one_context_serves_all(server, dial):
    """However many adapters and threads ask, the CA bundle and the certificate are loaded once."""
    server.play(Script())
    gc.collect()
    built = registry.contexts_built

    with ExitStack() as stack, ThreadPoolExecutor(4) as threads:
        sessions = [stack.enter_context(dial(server)) for _ in range(3)]
        # A certificate that no other test has shown.
        certificate = server.authority.issue("starter")
        for session in sessions:
            session.cert = certificate
        oks = list(threads.map(lambda number: sessions[number % 3].get(server.url).ok, range(12)))

    assert all(oks)
    assert registry.contexts_built == built + 1
