"""Silence on a connection that was idle: a new one's answer closes siblings as old."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from resilient_transport import attempts_of, override, registry
from resilient_transport.connection.trace import CURRENT
from resilient_transport.pool.shared_pool import SharedPool
from resilient_transport.retry.stages import Failure
from tests.end_to_end.verbatim_server import KEEP, RST, STALL, Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

OK = told("200 OK", b"ok", Content_Length="2")
PATIENCE = (LONG_TIMEOUT, SHORT_TIMEOUT)


class DeadPool(VerbatimServer):
    """What it has accepted before `die` falls silent, or resets, as soon as it is asked again."""

    how = STALL
    #: What a dead one still says.
    last_words = b""

    def __init__(self):
        super().__init__(lambda _: Answer(OK))
        self.most, self.met = 0, 0
        self._together = None

    def __enter__(self):
        self._mine, self._left = threading.local(), threading.Event()
        return super().__enter__()

    def _hang_up(self):
        self._left.set()
        super()._hang_up()

    def _serve(self, client):
        self._run(self._talk_as, self.accepts, client)

    def _talk_as(self, number, client):
        self._mine.number = number
        self._talk(client)

    def _tell(self, client, answer):
        if answer.then == STALL:
            client.sendall(answer.data)
            # Reads no more either.
            self._left.wait(LONG_TIMEOUT)
        return answer.then != STALL and super()._tell(client, answer)

    def _next(self, head):
        super()._next(head)
        if b"/slow" in head:
            return Answer(b"", STALL)
        if self._mine.number <= self.most:
            with self._lock:
                self.met += 1
            return Answer(self.last_words, self.how)
        if self._together is not None:
            self._together.wait(LONG_TIMEOUT)
        return Answer(OK, KEEP)

    def have(self, session, count):
        """Make so many connections, which lie idle then."""
        self._together = threading.Barrier(count)
        with ThreadPoolExecutor(count) as threads:
            for response in threads.map(lambda _: session.get(self.url, timeout=LONG_TIMEOUT), range(count)):
                assert response.ok
        self._together = None

    def die(self, how=STALL):
        """All that was accepted so far is dead from now on."""
        self.how, self.most = how, self.accepts


@pytest.fixture
def dead_pool():
    """Such a server."""
    with DeadPool() as server:
        yield server
        registry.clear()


@pytest.fixture
def six(dead_pool, server, dial):
    """A session with six idle connections that are dead."""
    session = dial(server)
    dead_pool.have(session, 6)
    dead_pool.die()
    return session


def reused_by(x):
    """Whether each attempt took a connection that was there."""
    return [attempt.reused for attempt in attempts_of(x)]


def test_one_call_gets_through_and_the_next_meet_none(dead_pool, six):
    """Six silent connections cost one attempt in all."""
    first = six.get(dead_pool.url, timeout=PATIENCE)
    others = [six.get(dead_pool.url, timeout=PATIENCE) for _ in range(3)]

    assert reused_by(first) == [True, False]
    assert [reused_by(one) for one in others] == [[True]] * 3
    assert (dead_pool.met, dead_pool.accepts) == (1, 7)


def test_without_either_each_is_met(dead_pool, six, monkeypatch):
    """The control: a repetition that takes what is there meets the next dead one, and fails; so do others."""
    monkeypatch.setattr(Failure, "wants_new_connection", False)
    monkeypatch.setattr(SharedPool, "close_idle", lambda *_, **__: None)
    for _ in range(3):
        with pytest.raises(requests.ReadTimeout) as caught:
            six.get(dead_pool.url, timeout=PATIENCE)
        assert reused_by(caught.value) == [True, True]

    assert (dead_pool.met, dead_pool.accepts) == (6, 6)


def test_a_post_fails_once_and_the_next_does_not(dead_pool, six):
    """It may not be repeated, nor may the next one, which takes none that may be as dead."""
    with pytest.raises(requests.ReadTimeout):
        six.post(dead_pool.url, data=b"x", timeout=PATIENCE)
    second = six.post(dead_pool.url, data=b"x", timeout=PATIENCE)

    assert reused_by(second) == [False]
    assert dead_pool.met == 1


def test_a_body_that_nobody_takes(dead_pool, six):
    """Silence may be met while the request is being sent: no window, no answer."""
    body = b"x" * 30_000_000
    with pytest.raises(requests.ConnectionError):
        six.post(dead_pool.url, data=body, timeout=PATIENCE)

    assert reused_by(six.post(dead_pool.url, data=b"x", timeout=PATIENCE)) == [False]


@pytest.mark.parametrize("fault", [TimeoutError("the source's own"), None], ids=["source", "deadline"])
def test_a_body_that_comes_late_is_not_the_servers_fault(dead_pool, server, dial, fault):
    """A source that fails, or takes until the deadline is over, leaves the idle connections alone."""
    session = dial(server)
    dead_pool.have(session, 2)

    def source():
        yield b"x"
        if fault is not None:
            raise fault
        while not CURRENT.value.is_late():
            pass
        yield b"x"

    with pytest.raises(requests.RequestException), override(deadline=SHORT_TIMEOUT):
        session.put(dead_pool.url, data=source())

    assert [idle for _, idle in registry.connections().values()] == [1]


def test_calls_at_once(dead_pool, six):
    """Each of three has a dead one of its own: each is repeated on a new one."""
    with ThreadPoolExecutor(3) as threads:
        got = list(threads.map(lambda _: six.get(dead_pool.url, timeout=PATIENCE), range(3)))

    assert all(one.ok for one in got)
    assert dead_pool.met <= 3


def test_a_deadline_teaches_as_well(dead_pool, six):
    """Calls whose own time is over cannot be repeated: after the second of them nobody meets a dead one."""
    for _ in range(2):
        with pytest.raises(requests.Timeout), override(deadline=SHORT_TIMEOUT):
            six.get(dead_pool.url)

    assert reused_by(six.get(dead_pool.url, timeout=PATIENCE)) == [False]
    assert dead_pool.met == 2


def test_one_that_answers_acquits_the_others(dead_pool, server, dial):
    """A slow page, again and again, for calls that cannot be repeated: who is idle works, and stays."""
    session = dial(server, max_retries=0)
    dead_pool.have(session, 4)
    for _ in range(3):
        with pytest.raises(requests.ReadTimeout):
            session.get(dead_pool.url + "slow", timeout=PATIENCE)
        assert session.get(dead_pool.url, timeout=LONG_TIMEOUT).ok

    # One is lost each time, as with stock.
    assert [idle for _, idle in registry.connections().values()] == [1]
    assert dead_pool.accepts == 4


@pytest.mark.parametrize("limit", [{}, {"deadline": SHORT_TIMEOUT}], ids=["time-out", "deadline"])
def test_a_slow_page_closes_nobody(dead_pool, server, dial, limit):
    """What is silent on a new connection, too, is the page; the control is above: dead ones are closed."""
    session = dial(server)
    dead_pool.have(session, 4)
    with pytest.raises(requests.Timeout), override(**limit):
        session.get(dead_pool.url + "slow", timeout=LONG_TIMEOUT if limit else PATIENCE)

    assert [idle for _, idle in registry.connections().values()] == [3]
    assert reused_by(session.get(dead_pool.url, timeout=LONG_TIMEOUT)) == [True]
    assert reused_by(session.post(dead_pool.url, timeout=LONG_TIMEOUT)) == [True]


def close_newest(shared_pool):
    """Close the idle connection that was used last."""
    newest = max(shared_pool.gate.idle(), key=lambda one: one.proven_at)
    assert shared_pool.evict(newest)
    newest.close()


def test_a_slow_post_closes_nobody(dead_pool, server, dial):
    """Other POSTs leave those alone that may be dead, until a GET has been answered by one of them."""
    session = dial(server)
    dead_pool.have(session, 4)
    with pytest.raises(requests.ReadTimeout):
        session.post(dead_pool.url + "slow", timeout=PATIENCE)

    assert reused_by(session.post(dead_pool.url, timeout=LONG_TIMEOUT)) == [False]
    assert [idle for _, idle in registry.connections().values()] == [4]
    (shared_pool,) = (one for one in registry._all() if one.gate.idle())
    close_newest(shared_pool)
    assert reused_by(session.get(dead_pool.url, timeout=LONG_TIMEOUT)) == [True]
    close_newest(shared_pool)
    assert reused_by(session.post(dead_pool.url, timeout=LONG_TIMEOUT)) == [True]


def test_slow_pages_at_once(dead_pool, server, dial):
    """Three that were taken together are one suspicion, and not a second one."""
    session = dial(server, max_retries=0)
    dead_pool.have(session, 6)
    with ThreadPoolExecutor(3) as threads:
        calls = [threads.submit(session.get, dead_pool.url + "slow", timeout=PATIENCE) for _ in range(3)]
    assert all(isinstance(call.exception(), requests.ReadTimeout) for call in calls)

    assert [idle for _, idle in registry.connections().values()] == [3]


def test_one_that_was_used_meanwhile_stays(dead_pool, server, dial):
    """A connection that has worked while another was silent is not as dead, and not closed."""
    session = dial(server)
    dead_pool.have(session, 1)
    dead_pool.die()
    with ThreadPoolExecutor(1) as thread:
        silent = thread.submit(session.get, dead_pool.url, timeout=PATIENCE)
        while not dead_pool.met:
            pass
        meanwhile = session.get(dead_pool.url, timeout=LONG_TIMEOUT)
        assert silent.result().ok

    assert reused_by(meanwhile) == [False]
    # The repetition's own, and that one.
    assert [idle for _, idle in registry.connections().values()] == [2]


def test_one_that_was_idle_for_less_stays(dead_pool, server, dial):
    """Two idle connections; the one that was idle for an hour less is not closed with the other."""
    session = dial(server, idle_timeout=7200)
    dead_pool.have(session, 2)
    (shared_pool,) = (one for one in registry._all() if one.gate.idle())
    younger, older = shared_pool.gate.idle()
    older.proven_at -= 3600
    dead_pool.most = 2
    dead_pool.how = STALL
    session.get(dead_pool.url, timeout=PATIENCE)

    assert younger in shared_pool.gate.idle()
    assert older not in shared_pool.gate.idle()


def test_silence_on_a_new_connection_closes_nothing(dead_pool, server, dial):
    """The control: a new one that falls silent says nothing of those that are idle."""
    session = dial(server, idle_timeout=7200)
    dead_pool.have(session, 2)
    (shared_pool,) = (one for one in registry._all() if one.gate.idle())
    for connection in shared_pool.gate.idle():
        # Too old for a POST.
        connection.proven_at -= 3600
    dead_pool.most = 3
    with pytest.raises(requests.ReadTimeout) as caught:
        session.post(dead_pool.url, timeout=PATIENCE)

    assert reused_by(caught.value) == [False]
    assert len(shared_pool.gate.idle()) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_silence_in_a_body(dead_pool, server, dial, stream):
    """The rest of a body that stops is asked for on a new connection, and not on one that may be as dead."""
    session = dial(server)
    dead_pool.have(session, 3)
    dead_pool.last_words = told("200 OK", b"o", Content_Length="2", ETag='"1"')
    dead_pool.die()
    dead_pool.answers = lambda _: Answer(OK)
    response = session.get(dead_pool.url, timeout=PATIENCE, stream=stream)
    if stream:
        with pytest.raises(requests.RequestException):
            # A whole answer under no validator is no rest; what counts here is who was asked.
            _ = response.content
    else:
        assert response.content == b"ok"

    assert dead_pool.met == 1
    assert reused_by(response)[-1] is False


@pytest.mark.parametrize("count", [3, 8])
def test_resets_of_idle_connections_end_with_the_second(dead_pool, server, dial, count):
    """A device that has forgotten all connections resets each: after two of them a new one is made."""
    session = dial(server)
    dead_pool.have(session, count)
    dead_pool.die(RST)

    assert reused_by(session.get(dead_pool.url, timeout=LONG_TIMEOUT)) == [True, True, False]
