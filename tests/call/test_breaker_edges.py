"""Where a circuit breaker could be misled: by warming, by cut bodies, by one's own pool, by a slow probe."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from resilient_transport import CircuitOpen, DeadlineExceeded, ResilientAdapter, RetryPolicy, attempts_of
from resilient_transport.call.origin_state import state_of
from resilient_transport.retry.breaker import Breaker
from resilient_transport.util.origin import origin_at
from tests.end_to_end.verbatim_server import FIN, RST, Answer, VerbatimServer, told
from tests.end_to_end.ways import call
from tests.retry.values import Clock
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

BREAKER = Breaker(failures=3, window=10.0, cool_down=30.0)
OK = Answer(told("200 OK", b"ok", Content_Length="2"))
BAD = Answer(told("500 No", b"", Content_Length="0"))
#: 100 kB of a megabyte, so that a part of it is handed on before it breaks.
PART = b"x" * 100_000


def cut(then=FIN, **fields):
    """Return an answer whose body ends too soon."""
    return Answer(told("200 OK", PART, Content_Length="1000000", **fields), then)


def dialled(**values):
    """Return a session with an adapter that repeats nothing, and has a breaker."""
    policy = {"retries": 0, "backoff": 0.0, "breaker": BREAKER, **values.pop("policy", {})}
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", ResilientAdapter(policy=RetryPolicy(**policy), **values))
    return session


def put_on_clock(verbatim):
    """Put the circuit of a server on a clock of its own; return both."""
    circuit = state_of(origin_at(verbatim.url)).circuit(BREAKER)
    circuit._clock = Clock(1000.0)
    return circuit, circuit._clock


def test_warming_between_failures_clears_no_count():
    """A server that answers 500 is left alone after three of them, however often it is connected to."""
    with VerbatimServer(lambda _: BAD) as verbatim, dialled() as session:
        outcomes = []
        for _ in range(5):
            outcomes.append(call(session, verbatim.url))
            session.get_adapter(verbatim.url).warm(verbatim.url)
        seen = len(verbatim.heads)

    assert outcomes == [500] * 3 + [CircuitOpen] * 2
    assert seen == 3


def test_warming_takes_no_probe_and_makes_none():
    """When it has cooled down, a connection neither closes the circuit nor keeps a call from probing."""
    with VerbatimServer([BAD] * 3 + [OK]) as verbatim, dialled() as session:
        circuit, clock = put_on_clock(verbatim)
        for _ in range(3):
            call(session, verbatim.url)
        clock.now += 30
        session.get_adapter(verbatim.url).warm(verbatim.url)
        still_open = circuit.is_open()
        outcome = call(session, verbatim.url)

    assert still_open
    assert outcome == 200
    assert not circuit.is_open()


@pytest.mark.parametrize("fields", [{}, {"ETag": '"v1"'}], ids=["plain", "resumable"])
@pytest.mark.parametrize("then", [FIN, RST])
def test_a_body_that_is_cut_is_a_failure(then, fields):
    """Where nothing is repeated, three answers that break after 100 kB open the circuit."""
    with VerbatimServer(lambda _: cut(then, **fields)) as verbatim, dialled() as session:
        outcomes = [call(session, verbatim.url) for _ in range(5)]
        seen = len(verbatim.heads)

    assert CircuitOpen not in outcomes[:3]
    assert all(issubclass(outcome, requests.RequestException) for outcome in outcomes[:3])
    assert outcomes[3:] == [CircuitOpen] * 2
    assert seen == 3


def test_a_body_that_is_whole_is_none():
    """The control: as many bytes, and the end where it was announced."""
    whole = Answer(told("200 OK", PART, Content_Length=str(len(PART)), ETag='"v1"'))
    with VerbatimServer(lambda _: whole) as verbatim, dialled() as session:
        outcomes = [call(session, verbatim.url) for _ in range(5)]

    assert outcomes == [200] * 5


@pytest.mark.parametrize("fields", [{}, {"ETag": '"v1"'}], ids=["plain", "resumable"])
def test_a_probe_that_is_cut_opens_it_anew(fields):
    """The head of an answer is not the answer: the server is left alone for as long again."""
    with VerbatimServer([BAD] * 3 + [cut(**fields), OK]) as verbatim, dialled() as session:
        circuit, clock = put_on_clock(verbatim)
        for _ in range(3):
            call(session, verbatim.url)
        clock.now += 30
        probe, after = call(session, verbatim.url), call(session, verbatim.url)
        left = circuit.opens_in()
        clock.now += 29
        late = call(session, verbatim.url)
        seen = len(verbatim.heads)
        clock.now += 1
        last = call(session, verbatim.url)

    assert issubclass(probe, requests.RequestException)
    assert probe is not CircuitOpen
    assert (after, left, late, seen) == (CircuitOpen, 30, CircuitOpen, 4)
    assert last == 200


def test_waiting_for_a_place_opens_nothing():
    """A pool that is too small is no fault of the server, however many calls end at their deadline in it."""
    with (
        VerbatimServer(lambda _: OK) as verbatim,
        dialled(policy={"deadline": SHORT_TIMEOUT}, pool_maxsize=1, pool_block=True) as session,
    ):
        holder = session.get(verbatim.url, stream=True)
        outcomes = [call(session, verbatim.url) for _ in range(4)]
        holder.close()
        outcomes.append(call(session, verbatim.url))

    assert outcomes == [DeadlineExceeded] * 4 + [200]


def test_a_probe_without_a_place_leaves_it_to_another():
    """A probe that got no connection of its own pool has found out nothing: the next call probes."""
    with (
        VerbatimServer([OK, *[BAD] * 3, OK]) as verbatim,
        dialled(policy={"deadline": SHORT_TIMEOUT}, pool_maxsize=1, pool_block=True) as small,
        dialled() as large,
    ):
        circuit, clock = put_on_clock(verbatim)
        holder = small.get(verbatim.url, stream=True)
        for _ in range(3):
            call(large, verbatim.url)
        clock.now += 30
        outcomes = [call(small, verbatim.url)]
        still_open = circuit.is_open()
        outcomes.append(call(large, verbatim.url))
        holder.close()

    assert outcomes == [DeadlineExceeded, 200]
    assert still_open
    assert not circuit.is_open()


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_outlives_the_pause_in_which_others_open_it(monkeypatch, stream):
    """A call that has a 503 and may not go on returns it, whole, and says why; it raises no CircuitOpen."""
    busy = Answer(told("503 Busy", b"busy", Content_Length="4", Retry_After="1"))
    with (
        VerbatimServer(lambda _: busy) as verbatim,
        dialled(policy={"retries": 3}) as patient,
        dialled() as others,
    ):
        pauses = []

        def sleep(seconds):
            pauses.append(seconds)
            for _ in range(2):
                call(others, verbatim.url)

        monkeypatch.setattr("resilient_transport.call.loop.sleep", sleep)
        with patient.get(verbatim.url, stream=stream) as response:
            body = response.content
        after, seen = call(others, verbatim.url), len(verbatim.heads)

    assert (response.status_code, body) == (503, b"busy")
    assert [attempt.delay for attempt in attempts_of(response)] == [None]
    assert "the circuit of its origin is open" in attempts_of(response)[-1].decision
    assert (pauses, after, seen) == ([1.0], CircuitOpen, 3)


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_repeated_if_nobody_opens_it(monkeypatch, stream):
    """The control: the same call goes on after its pause, and what it had is not seen."""
    busy = Answer(told("503 Busy", b"busy", Content_Length="4", Retry_After="1"))
    monkeypatch.setattr("resilient_transport.call.loop.sleep", lambda _: None)
    with VerbatimServer([busy, OK]) as verbatim, dialled(policy={"retries": 3}) as session:
        response = session.get(verbatim.url, stream=stream)
        response.close()
        accepts = verbatim.accepts

    assert [attempt.status for attempt in attempts_of(response)] == [503, 200]
    assert accepts == 1


def test_a_slow_probe_stays_the_only_one():
    """A probe may take longer than the circuit cools down: nobody takes it for lost."""
    release, asked = threading.Event(), threading.Event()

    def answer(_):
        if len(verbatim.heads) <= 3:
            return BAD
        asked.set()
        assert release.wait(LONG_TIMEOUT)
        return OK

    with VerbatimServer(answer) as verbatim, dialled() as session, ThreadPoolExecutor(1) as pool:
        _, clock = put_on_clock(verbatim)
        for _ in range(3):
            call(session, verbatim.url)
        clock.now += 30
        probe = pool.submit(call, session, verbatim.url)
        assert asked.wait(LONG_TIMEOUT)
        refused = []
        for _ in range(3):
            clock.now += 31
            refused.append(call(session, verbatim.url))
        seen = len(verbatim.heads)
        release.set()
        outcome = probe.result()
        after = call(session, verbatim.url)

    assert refused == [CircuitOpen] * 3
    assert seen == 4
    assert (outcome, after) == (200, 200)
