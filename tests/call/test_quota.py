"""The retry quota of an origin: a server that is down is not buried, and a cold start is not refused."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import RetryPolicy, attempts_of
from resilient_transport.call.origin_state import state_of
from resilient_transport.retry.budget import CAPACITY, PAY_BACK, RETRY_COST
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.util.origin import origin_at
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

EMPTY = "the retry quota of its origin is empty"
#: What the quota of one origin allows.
SHARE = CAPACITY // RETRY_COST
CALLS, THREADS = 1000, 50
#: Where a smaller number proves as much. Successes pay back what is missing with the second.
FEW, ENOUGH = 200, CAPACITY // PAY_BACK + 100


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.reset_peers()
    server.play(Script())


def resets(number):
    """Reset so many first handshakes."""
    return Script((Rule(Fault(Moment.CLIENT_HELLO), first=number),))


def drained(server):
    """The quota of a server, without a token."""
    quota = state_of(origin_at(server.url)).quota
    quota.tokens = 0
    return quota


def test_the_first_repetition_of_a_cold_start_is_free(server, dial):
    """With no token left, a reset handshake is repeated once all the same, and draws nothing."""
    server.play(resets(1))
    quota = drained(server)
    response = dial(server).get(server.url)

    assert [attempt.stage for attempt in attempts_of(response)] == ["handshake", "done"]
    assert quota.tokens == 1


def test_the_second_is_not(server, dial):
    """The control: the next one is refused, and the error says why."""
    server.play(resets(2))
    drained(server)
    with pytest.raises(requests.ConnectionError) as caught:
        dial(server).get(server.url)

    assert server.counts().accepts == 2
    assert EMPTY in attempts_of(caught.value)[-1].decision
    assert any(EMPTY in note for note in caught.value.__notes__)


def test_a_warm_pool_has_no_free_repetition(server, dial):
    """Once a connection was there, the quota counts from the first."""
    session = dial(server)
    session.get(server.url)
    drained(server)
    server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None),)))
    server.reset_peers()
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(server.url)

    assert server.counts().accepts == 1
    assert EMPTY in attempts_of(caught.value)[-1].decision


@pytest.mark.parametrize("fault", [Fault(Moment.EXECUTED), Fault(Moment.BODY, after_bytes=1)])
def test_the_first_request_belongs_to_a_cold_start(server, dial, fault):
    """What fails later on the first connection is repeated once as well, and no more."""
    server.play(Script((Rule(fault),)))
    drained(server)
    with pytest.raises(requests.RequestException) as caught:
        dial(server).get(server.url + "/words/3")

    assert server.counts().accepts == 2
    assert EMPTY in attempts_of(caught.value)[-1].decision


def test_an_empty_quota_hands_the_status_out(server, dial):
    """Where it was a status, the response is handed out, and its attempts say why."""
    session = dial(server)
    session.get(server.url)
    drained(server)
    response = session.get(server.url + "/status/503")

    assert response.status_code == 503
    assert server.counts().executed == 2
    assert EMPTY in attempts_of(response)[-1].decision


def test_with_tokens_it_is_repeated(server, dial):
    """The control: the same status with a full quota."""
    response = dial(server, policy=RetryPolicy(backoff=0)).get(server.url + "/status/503")

    assert response.status_code == 503
    assert server.counts().executed == 6
    assert state_of(origin_at(server.url)).quota.tokens == CAPACITY - 5 * RETRY_COST


def test_origins_have_quotas_of_their_own(server, dial, fault_server_factory):
    """One server that is down takes nothing from another."""
    other = fault_server_factory()
    drained(server)
    response = dial(server, policy=RetryPolicy(backoff=0)).get(other.url + "/status/503?times=1&id=a")

    assert response.status_code == 200


def test_a_success_gives_back_what_it_drew(server, dial):
    """A server that heals leaves the quota full."""
    policy = RetryPolicy(backoff=0)
    for number in range(30):
        dial(server, policy=policy).get(server.url + f"/status/503?times=4&id={number}")

    assert state_of(origin_at(server.url)).quota.tokens == CAPACITY


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [CAPACITY, 0])
def test_a_cold_start_of_many_is_never_refused(server, dial, tokens):
    """160 first calls at once, whatever the quota: the first reset of each is repeated."""
    server.play(resets(1))
    state_of(origin_at(server.url)).quota.tokens = tokens
    session = dial(server, pool_maxsize=160, policy=RetryPolicy(backoff=0.01))
    barrier = threading.Barrier(160)

    def first_call(_):
        barrier.wait(LONG_TIMEOUT)
        return session.get(server.url).status_code

    with ThreadPoolExecutor(160) as pool:
        statuses = list(pool.map(first_call, range(160)))

    assert statuses == [200] * 160


class Failing:
    """A server that says 503 until it is told otherwise, and counts."""

    def __init__(self):
        self.well = threading.Event()
        self.lock = threading.Lock()
        self.busy = 0

    def __call__(self, _):
        if self.well.is_set():
            return Answer(told("200 OK", b"", Content_Length="0"))
        self.busy += 1
        return Answer(told("503 Busy", b"", Content_Length="0"))


def storm(session, url, calls=CALLS):
    """Make so many calls from 50 threads; return each one's status, and what it has paid back."""

    def one(_):
        try:
            response = session.get(url)
        except requests.exceptions.RetryError:
            return 503, 0
        drawn = RETRY_COST * (len(getattr(response, "attempts", [None])) - 1)
        return response.status_code, max(drawn, PAY_BACK) if response.ok else 0

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(one, range(calls)))
    return [status for status, _ in outcomes], sum(paid for _, paid in outcomes)


@pytest.fixture
def down():
    """A server that is down, and what it is told by."""
    failing = Failing()
    with VerbatimServer(failing) as verbatim:
        yield verbatim, failing


@pytest.mark.slow
def test_a_server_that_is_down_is_not_buried(down, dial, server):
    """1,000 calls cost it 1,000 requests and the quota's share: a tenth more."""
    verbatim, _ = down
    session = dial(server, pool_maxsize=THREADS, policy=RetryPolicy(backoff=0.001, backoff_max=0.001))
    statuses, paid = storm(session, verbatim.url)

    assert statuses == [503] * CALLS
    assert paid == 0
    assert len(verbatim.heads) == CALLS + SHARE


@pytest.mark.slow
def test_stock_quadruples_the_load(down, dial, server):
    """The control: `Retry(total=3)` sends each of them four times."""
    verbatim, _ = down
    retry = Retry(total=3, status_forcelist=[503], backoff_factor=0.001)
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=THREADS, max_retries=retry))
        storm(session, verbatim.url, FEW)

    assert len(verbatim.heads) == 4 * FEW


@pytest.mark.slow
def test_the_share_is_paid_back_by_successes_only(down, dial, server):
    """A server that heals half-way gets the share, and what those that succeeded have paid back; no more."""
    verbatim, failing = down
    session = dial(server, pool_maxsize=THREADS, policy=RetryPolicy(backoff=0.001, backoff_max=0.001))
    healing = threading.Thread(
        target=lambda: (wait_for(lambda: failing.busy >= CALLS // 2), failing.well.set())
    )
    healing.start()
    statuses, paid = storm(session, verbatim.url)
    healing.join(LONG_TIMEOUT)
    extra = len(verbatim.heads) - CALLS

    assert 0 < statuses.count(200) < CALLS
    assert 0 < extra <= SHARE + paid / RETRY_COST


def wait_for(condition):
    """Wait until something holds."""
    until = time.monotonic() + LONG_TIMEOUT
    while not condition():
        assert time.monotonic() < until
        time.sleep(SHORT_TIMEOUT / 100)


@pytest.mark.slow
def test_recovery(down, dial, server):
    """With an empty quota, calls that begin once the server is well succeed at once."""
    verbatim, failing = down
    session = dial(server, pool_maxsize=THREADS, policy=RetryPolicy(backoff=0.001, backoff_max=0.001))
    storm(session, verbatim.url, FEW)
    quota = state_of(origin_at(verbatim.url)).quota
    empty = quota.tokens
    failing.well.set()
    began = time.monotonic()
    statuses, paid = storm(session, verbatim.url, ENOUGH)
    took = time.monotonic() - began

    assert empty < RETRY_COST
    assert statuses == [200] * ENOUGH
    assert paid == ENOUGH * PAY_BACK
    assert quota.tokens == CAPACITY
    assert took < LONG_TIMEOUT


class FailingTogether(Failing):
    """Its first answers wait for each other; all of them are 503, and from then on it is well."""

    def __init__(self):
        super().__init__()
        self.here = threading.Barrier(THREADS, action=self.well.set)

    def __call__(self, head):
        if self.well.is_set():
            return super().__call__(head)
        return Answer(told("503 Busy", b"", Content_Length="0"), before=lambda: self.here.wait(LONG_TIMEOUT))


def test_calls_that_pause_recover_with_the_server(dial, server):
    """50 calls wait while the server is down; once it is well, each is answered when its pause is over."""
    pause = 0.05
    with VerbatimServer(FailingTogether()) as verbatim:
        session = dial(server, pool_maxsize=THREADS, policy=RetryPolicy(retries=100, backoff=pause))
        with ThreadPoolExecutor(THREADS) as pool:
            responses = list(pool.map(lambda _: session.get(verbatim.url), range(THREADS)))
    pauses = [[attempt.delay for attempt in attempts_of(response)] for response in responses]

    assert [response.status_code for response in responses] == [200] * THREADS
    assert len(verbatim.heads) == 2 * THREADS
    assert all(0 <= first <= pause and last is None for first, last in pauses)
