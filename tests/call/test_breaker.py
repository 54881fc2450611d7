"""A circuit breaker around a real server: what is left alone, for how long, and who tries again."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
import requests

from resilient_transport import CircuitOpen, ResilientAdapter, RetryPolicy, attempts_of
from resilient_transport.call.origin_state import state_of
from resilient_transport.events import CircuitClosed, CircuitOpened
from resilient_transport.retry.breaker import Breaker
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.util.origin import origin_at
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.end_to_end.ways import call
from tests.retry.values import Clock
from tests.timeouts import LONG_TIMEOUT

BREAKER = Breaker(failures=3, window=10.0, cool_down=30.0)
#: Every request is executed and not answered.
UNANSWERED = Script((Rule(Fault(Moment.EXECUTED), on_request=None),))
ONCE = {"retries": 0, "backoff": 0, "breaker": BREAKER}


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.fixture
def cooling(monkeypatch):
    """Return a function that puts the circuit of a server on a clock of its own."""

    def put(url, breaker=BREAKER):
        circuit = state_of(origin_at(url)).circuit(breaker)
        circuit._clock = Clock(1000.0)
        return circuit._clock

    return put


def fail(server, session, times=3):
    """Let so many calls fail, and then have nothing wrong with the server."""
    server.play(UNANSWERED)
    for _ in range(times):
        call(session, server.url)
    server.play(Script())


def test_it_opens_before_anything_is_opened(server, dial, cooling):
    """After three failures no connection is made and nothing is sent, although the server is well again."""
    cooling(server.url)
    session = dial(server, policy=RetryPolicy(**ONCE))
    fail(server, session)
    outcomes = [call(session, server.url + "/words/3") for _ in range(5)]

    assert outcomes == [CircuitOpen] * 5
    assert server.counts().accepts == 0


@pytest.mark.parametrize("breaker", [None, Breaker(failures=4)])
def test_it_is_closed_otherwise(server, dial, breaker):
    """The control: it is off by default, and three failures do not open one that wants four."""
    session = dial(server, policy=RetryPolicy(retries=0, breaker=breaker))
    fail(server, session)

    assert call(session, server.url) == 200


def test_off_by_default(server, dial):
    """The control: however many calls fail, the next is made."""
    session = dial(server, max_retries=0)
    fail(server, session, 20)

    assert RetryPolicy().breaker is None
    assert call(session, server.url) == 200


def test_its_exception(server, dial, cooling):
    """What a program catches today; it says when, goes through a pickle, and names no secret."""
    cooling(server.url).now += 1
    session = dial(server, policy=RetryPolicy(**ONCE))
    fail(server, session)
    state_of(origin_at(server.url)).circuit(BREAKER)._clock.now += 10
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(server.url + "/?secret=hunter2", headers={"Authorization": "Bearer hunter3"})
    error = pickle.loads(pickle.dumps(caught.value))

    assert isinstance(error, CircuitOpen)
    assert error.retry_after == caught.value.retry_after == 20
    assert str(error) == str(caught.value)
    assert server.url in str(error)
    assert "hunter" not in str(error)
    assert attempts_of(caught.value) == ()


def test_a_success_clears_the_count(server, dial):
    """Two failures, an answer, two failures: it is closed."""
    session = dial(server, policy=RetryPolicy(**ONCE))
    for _ in range(2):
        fail(server, session, 2)
        outcome = call(session, server.url)

    assert outcome == 200


def test_failures_that_are_far_apart(server, dial, cooling):
    """Three within more than the window leave it closed."""
    clock = cooling(server.url)
    session = dial(server, policy=RetryPolicy(**ONCE))
    for _ in range(3):
        fail(server, session, 1)
        clock.now += 6

    assert call(session, server.url) == 200


def test_a_call_in_progress_stops(server, dial):
    """Ten repetitions were allowed, three attempts are made; the failure says why it ended."""
    server.play(UNANSWERED)
    session = dial(server, policy=RetryPolicy(retries=10, backoff=0, breaker=BREAKER))
    with pytest.raises(requests.ConnectionError) as caught:
        session.get(server.url)

    assert not isinstance(caught.value, CircuitOpen)
    assert server.counts().executed == 3
    assert "the circuit of its origin is open" in attempts_of(caught.value)[-1].decision
    assert call(session, server.url) is CircuitOpen


def test_a_status_in_progress_stops(server, dial):
    """Where it was a status, the response is handed out."""
    session = dial(server, policy=RetryPolicy(retries=10, backoff=0, breaker=BREAKER))
    response = session.get(server.url + "/status/503")

    assert response.status_code == 503
    assert server.counts().executed == 3
    assert "the circuit of its origin is open" in attempts_of(response)[-1].decision


def test_a_call_that_pauses_stops(server, dial, monkeypatch):
    """Others have opened it meanwhile: what the call has met is raised, and nothing more is sent."""
    server.play(UNANSWERED)
    patient = dial(server, policy=RetryPolicy(retries=10, breaker=BREAKER))
    others = dial(server, policy=RetryPolicy(**ONCE))
    monkeypatch.setattr(
        "resilient_transport.call.loop.sleep", lambda _: [call(others, server.url) for _ in range(2)]
    )
    with pytest.raises(requests.ConnectionError) as caught:
        patient.get(server.url)

    assert not isinstance(caught.value, CircuitOpen)
    assert server.counts().executed == 3
    assert [attempt.delay for attempt in attempts_of(caught.value)] == [None]
    assert "the circuit of its origin is open" in attempts_of(caught.value)[-1].decision


def test_one_probe_of_twenty_threads(dial, server, cooling):
    """Half-open, the server sees a single request, and everybody else is refused at once."""
    release, bad = threading.Event(), Answer(told("503 Busy", b"", Content_Length="0"))

    def answer(_):
        if len(verbatim.heads) <= 3:
            return bad
        assert release.wait(LONG_TIMEOUT)
        return Answer(told("200 OK", b"", Content_Length="0"))

    with VerbatimServer(answer) as verbatim, dial(server, policy=RetryPolicy(**ONCE)) as session:
        clock = cooling(verbatim.url)
        for _ in range(3):
            call(session, verbatim.url)
        clock.now += 30
        with ThreadPoolExecutor(20) as pool:
            calls = [pool.submit(call, session, verbatim.url) for _ in range(20)]
            done = as_completed(calls, LONG_TIMEOUT)
            refused = [next(done).result() for _ in range(19)]
            release.set()
            (last,) = (each.result() for each in done)
        seen, after = len(verbatim.heads), call(session, verbatim.url)

    assert refused == [CircuitOpen] * 19
    assert (last, seen, after) == (200, 4, 200)


def test_a_probe_that_fails_opens_it_anew(server, dial, cooling):
    """One request, and the server is left alone for as long again."""
    clock = cooling(server.url)
    session = dial(server, policy=RetryPolicy(**{**ONCE, "retries": 5}))
    fail(server, session, 1)
    clock.now += 30
    server.play(UNANSWERED)
    outcomes = [call(session, server.url) for _ in range(2)]
    clock.now += 29
    outcomes.append(call(session, server.url))

    assert outcomes == [requests.ConnectionError, CircuitOpen, CircuitOpen]
    assert server.counts().executed == 1


class Interrupted(BaseException):
    """What Ctrl-C looks like, wherever it comes."""


def interrupt():
    """A body that is interrupted while it is sent."""
    yield b"x"
    raise Interrupted


def test_a_lost_probe_is_forgotten(server, dial, cooling):
    """A probe that was interrupted keeps nobody waiting."""
    clock = cooling(server.url)
    session = dial(server, policy=RetryPolicy(**ONCE))
    fail(server, session)
    clock.now += 30
    with pytest.raises(Interrupted):
        session.put(server.url + "/echo", data=interrupt())

    assert call(session, server.url) == 200


def test_warming_does_not_count(server, dial, cooling):
    """A connection says nothing of what the origin answers: it opens no circuit, and closes none."""
    clock = cooling(server.url)
    session = dial(server, policy=RetryPolicy(**ONCE))
    warm = session.get_adapter(server.url).warm
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO)),)))
    for _ in range(4):
        with pytest.raises(requests.ConnectionError) as caught:
            warm(server.url, session=session)
    server.play(Script())
    fail(server, session)
    server.play(Script())
    clock.now += 1
    warm(server.url, session=session)

    assert type(caught.value) is not CircuitOpen
    assert call(session, server.url) is CircuitOpen


def test_it_is_told(server, dial, cooling):
    """The hook hears once that it opens, and once that it closes."""
    clock, heard = cooling(server.url), []
    session = dial(server, ResilientAdapter(policy=RetryPolicy(**ONCE), on_event=heard.append))
    fail(server, session)
    clock.now += 30
    for _ in range(2):
        call(session, server.url)

    assert [type(event) for event in heard if "Circuit" in type(event).__name__] == [
        CircuitOpened,
        CircuitClosed,
    ]
