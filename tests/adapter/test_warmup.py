"""Connections that are there before the first call needs them."""

import sys
import threading
import time

import pytest
import requests
import urllib3

from resilient_transport import (
    ClientCertificateRejected,
    ResilientAdapter,
    RetryPolicy,
    attempts_of,
    stats,
)
from resilient_transport.adapter import warmup
from resilient_transport.connection import keepalive, tls_connection
from resilient_transport.events import AttemptStarted, AttemptSucceeded, CallEnded
from resilient_transport.pool import shared_pool
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

if sys.version_info < (3, 13):
    # There the collector has to close what is reset before its handshake.
    pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def warmers():
    """The threads that warm in the background."""
    return [thread for thread in threading.enumerate() if thread.name == "resilient_transport-warm"]


def wait_for_warmers():
    """Wait until nobody warms any more."""
    for thread in warmers():
        thread.join(LONG_TIMEOUT)
        assert not thread.is_alive()


@pytest.mark.parametrize("connections", [1, 3])
def test_connections_are_made_and_nothing_is_asked(server, dial, connections):
    """So many handshakes, no request; the calls that follow find them, and make none."""
    session = dial(server)
    found = session.get_adapter(server.url).warm(server.url, connections, session=session)
    before = server.wait_for(lambda counts: counts.handshakes == connections)
    answers = [session.get(server.url) for _ in range(3)]

    assert (before.handshakes, before.requests) == (connections, 0)
    assert [one.reused for one in found] == [False] * connections
    assert {one.tls_version for one in found} == {"TLSv1.3"}
    assert [one.tls_resumed for one in found] == [False] + [True] * (connections - 1)
    assert all(0 < one.seconds < LONG_TIMEOUT and len(one.attempts) == 1 for one in found)
    assert server.counts().accepts == connections
    assert all(attempts_of(answer)[0].reused for answer in answers)


def test_what_was_warmed_has_no_status(server, dial, caplog):
    """No server has sent one: attempts, events and their texts tell of a connection."""
    caplog.set_level("DEBUG", logger="resilient_transport")
    heard = []
    session = dial(server, on_event=heard.append)
    (found,) = session.get_adapter(server.url).warm(server.url, session=session)
    told = [event for event in heard if isinstance(event, (AttemptSucceeded, CallEnded))]

    assert [attempt.status for attempt in found.attempts] == [None]
    assert [type(event) for event in told] == [AttemptSucceeded, CallEnded]
    assert (told[0].attempt.status, told[1].status, told[1].error) == (None, None, None)
    assert "attempt 1: connected at stage done" in str(told[0])
    assert str(told[1]).endswith("has ended: connected")
    assert found.attempts.summary().endswith("the last at stage done: connected")


def test_without_warming_the_first_call_connects(server, dial):
    """The control: the first call makes the connection itself."""
    answer = dial(server).get(server.url)

    assert not attempts_of(answer)[0].reused
    assert attempts_of(answer)[0].connecting > 0


def test_what_is_there_is_found(server, dial):
    """Warming twice makes no second connection."""
    session = dial(server)
    warm = session.get_adapter(server.url).warm
    warm(server.url, session=session)
    (found,) = warm(server.url, session=session)

    assert found.reused
    assert server.counts().accepts == 1


def test_resets_are_repeated(server, dial):
    """It is a call as any other: a reset handshake is tried again."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=2),)))
    session = dial(server)
    (found,) = session.get_adapter(server.url).warm(server.url, session=session)

    assert len(found.attempts) == 3
    assert server.counts().accepts == 3


def test_it_raises_what_a_call_would(server, dial):
    """A missing certificate, a server that resets for ever: the exceptions of a call."""
    adapter = dial(server, max_retries=1).get_adapter(server.url)
    with pytest.raises(ClientCertificateRejected):
        adapter.warm(server.url, verify=server.authority.ca_file)
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO)),)))
    with pytest.raises(requests.ConnectionError) as failure:
        adapter.warm(server.url, 3, verify=server.authority.ca_file, cert=server.authority.client)

    assert len(attempts_of(failure.value)) == 2


def test_one_of_several_that_fails_is_raised(server, dial):
    """The others are idle all the same, and nothing is leaked."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), skip=1),)))
    session = dial(server, max_retries=0)
    with pytest.raises(requests.ConnectionError):
        session.get_adapter(server.url).warm(server.url, 2, session=session)
    server.play(Script())

    assert attempts_of(session.get(server.url))[0].reused


def test_in_the_background_it_returns_at_once_and_never_raises(server, dial):
    """The thread ends with its work; a failure is the next call's to meet."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    session = dial(server, max_retries=0)

    assert session.get_adapter(server.url).warm(server.url, background=True, session=session) == ()
    wait_for_warmers()
    assert session.get(server.url).ok
    assert server.counts().accepts == 2


@pytest.mark.usefixtures("thrifty")
def test_the_first_call_finds_it_under_way(server, dial):
    """A call that comes while the handshake runs waits for it and makes none of its own."""
    server.play(Script(handshake_delay=SHORT_TIMEOUT))
    session = dial(server)
    session.get_adapter(server.url).warm(server.url, background=True, session=session)
    server.wait_for(lambda counts: counts.in_flight == 1)
    answers = [session.get(server.url) for _ in range(2)]
    wait_for_warmers()

    assert all(answer.ok for answer in answers)
    assert server.counts().accepts == 1


@pytest.mark.parametrize("kind", ["mapping", "url"])
def test_an_adapter_warms_what_it_is_given(server, dial, kind):
    """URLs, or the arguments of `warm`; the adapter is made at once."""
    certificates = {"verify": server.authority.ca_file, "cert": server.authority.client}
    wanted = {"url": server.url, **certificates} if kind == "mapping" else server.url
    session = dial(server, ResilientAdapter(warm=[wanted]))
    wait_for_warmers()

    assert attempts_of(session.get(server.url))[0].reused == (kind == "mapping")


@pytest.mark.parametrize("wrong", ["https://localhost", {"url": "https://localhost"}])
def test_a_single_url_is_refused(wrong):
    """Its letters would be taken for URLs."""
    with pytest.raises(TypeError, match="a list of URLs"):
        ResilientAdapter(warm=wrong)


@pytest.mark.parametrize(
    ("number", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("2", TypeError)]
)
def test_a_wrong_number_is_refused(number, error):
    """Before anything is opened."""
    with pytest.raises(error, match="a number of connections"):
        ResilientAdapter().warm("https://localhost", number)


def test_a_status_that_is_repeated_elsewhere_is_none_here(server, dial):
    """No response has come that could be one: 204 is not asked for again."""
    session = dial(server, policy=RetryPolicy(statuses={204}, raise_on_status=True))
    (found,) = session.get_adapter(server.url).warm(server.url, session=session)

    assert [one.decision for one in found.attempts] == ["connected, and nothing was sent"]


def test_plain_connections_are_warmed(fault_server_factory, dial):
    """Without TLS it is the TCP connection."""
    plain = fault_server_factory(tls=False)
    session = dial(plain)
    (found,) = session.get_adapter(plain.url).warm(plain.url)
    before = plain.wait_for(lambda counts: counts.accepts == 1)
    reused = attempts_of(session.get(plain.url))[0].reused

    assert (found.tls_version, found.tls_resumed, found.reused) == (None, False, False)
    assert (before.accepts, before.requests) == (1, 0)
    assert reused


class Impatient:
    """A clock that is set forward by hand."""

    def __init__(self):
        """Begin at the real time."""
        self.ahead = 0.0

    def __call__(self):
        """Tell the time."""
        return time.monotonic() + self.ahead


def test_warming_does_not_make_a_stale_connection_fresh(server, dial, monkeypatch):
    """Nothing was asked over it, so a POST takes it only if it would have without the warming."""
    clock = Impatient()
    monkeypatch.setattr(shared_pool, "monotonic", clock)
    session = dial(server)
    session.get(server.url)
    clock.ahead = 1.5 * keepalive.FRESH_FOR
    (found,) = session.get_adapter(server.url).warm(server.url, session=session)
    reused = attempts_of(session.post(server.url + "/echo", data=b"x"))[0].reused

    assert found.reused
    assert not reused


def test_a_warmed_connection_is_confirmed(server, dial, monkeypatch):
    """A POST may take it at once: whoever made it has waited until the server had accepted it."""
    confirmed = []
    monkeypatch.setattr(tls_connection, "confirm", lambda *args: confirmed.append(args) or True)
    session = dial(server)
    session.get_adapter(server.url).warm(server.url, 3, session=session)

    assert len(confirmed) == 3


class Ends:
    """A hook that raises once, when the attempt of this number begins, in whatever thread that is."""

    def __init__(self, number, error):
        self._left, self._error = number, error
        self.threads = []

    def __call__(self, event):
        """Take an event; only beginnings of attempts count."""
        if isinstance(event, AttemptStarted):
            self._left -= 1
            self.threads.append(threading.current_thread())
            if self._left == 0:
                raise self._error


def idle(server):
    """Return how many connections are idle, and that none is in use."""
    figures = stats()[server.url]
    assert figures.live == figures.idle
    return figures.idle


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, BaseException])
def test_a_hook_that_ends_the_program_ends_it(server, dial, number, kind):
    """What it raises in a helper reaches the caller, who does not hang; what was connected is idle."""
    error = kind("a hook")
    hook = Ends(number, error)
    session = dial(server, on_event=hook)
    with pytest.raises(kind) as raised:
        session.get_adapter(server.url).warm(server.url, 4, session=session)
    wait_for_warmers()

    assert raised.value is error
    assert threading.main_thread() not in hook.threads[1:]
    assert idle(server) == {1: 0}.get(number, 3)
    assert session.get(server.url).ok


def test_what_ends_the_program_is_told_rather_than_what_does_not(server, dial):
    """One helper's connection is refused, and another's hook raises SystemExit: that is raised."""
    server.play(Script((Rule(Fault(Moment.ACCEPT), first=50, skip=1),)))
    session = dial(server, max_retries=0, on_event=Ends(4, SystemExit("a hook")))
    with pytest.raises(SystemExit):
        session.get_adapter(server.url).warm(server.url, 4, session=session)


@pytest.mark.parametrize("kind", [SystemExit, BaseException])
def test_in_the_background_a_hook_ends_nothing(server, dial, kind, caplog):
    """It is told to the log, and to nothing else; the first call connects."""
    session = dial(server, on_event=Ends(1, kind("a hook")))
    with caplog.at_level("DEBUG", "resilient_transport"):
        session.get_adapter(server.url).warm(server.url, background=True, session=session)
        wait_for_warmers()

    assert f"warming {server.url} failed: {kind.__name__}" in caplog.messages
    assert session.get(server.url).ok


@pytest.fixture
def few_threads(monkeypatch):
    """Let only so many warmers start."""
    start, left = threading.Thread.start, [0]

    def limited(thread):
        if thread.name == "resilient_transport-warm":
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)

    def allow(number):
        left[0] = number

    return allow


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_where_no_thread_can_be_started_the_caller_works(server, dial, few_threads, threads):
    """All connections are made all the same, and are idle afterwards."""
    few_threads(threads)
    session = dial(server)
    warmed = session.get_adapter(server.url).warm(server.url, 4, session=session)

    assert len(warmed) == 4
    assert server.counts().accepts == 4
    assert idle(server) == 4


def test_where_no_thread_can_be_started_the_caller_meets_what_there_is(server, dial, few_threads):
    """The control: the caller's own work may fail, too, and ends at once when the program ends."""
    few_threads(0)
    session = dial(server, on_event=Ends(3, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        session.get_adapter(server.url).warm(server.url, 4, session=session)

    assert idle(server) == 2
    assert server.counts().accepts == 2


def test_without_a_thread_nothing_happens_in_the_background(server, dial, few_threads, caplog):
    """It returns, as the constructor does; the first call connects."""
    few_threads(0)
    with caplog.at_level("DEBUG", "resilient_transport"):
        adapter = ResilientAdapter(warm=[server.url])
        assert adapter.warm(server.url, background=True) == ()

    assert caplog.messages.count(f"warming {server.url} failed: RuntimeError") == 2
    assert dial(server, adapter).get(server.url).ok


def test_an_interrupted_caller_leaves_connections_that_become_idle(server, dial, monkeypatch):
    """Who waits for the helpers is interrupted: what they make is released by them, the rest is not begun."""
    monkeypatch.setattr(warmup, "_AT_ONCE", 1)
    begun, go_on = threading.Event(), threading.Event()

    def hold(event):
        if isinstance(event, AttemptSucceeded) and threading.current_thread() is not threading.main_thread():
            begun.set()
            go_on.wait(LONG_TIMEOUT)

    def interrupted(thread):
        assert begun.wait(LONG_TIMEOUT)
        raise KeyboardInterrupt

    session = dial(server, on_event=hold)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.get_adapter(server.url).warm(server.url, 4, session=session)
    go_on.set()
    wait_for_warmers()

    assert idle(server) == 2
    assert server.counts().accepts == 2


def test_a_pool_that_blocks_is_not_warmed_beyond_its_size(server, dial):
    """The connections are held until all are there: one more would wait for ever."""
    session = dial(server, ResilientAdapter(pool_maxsize=2, pool_block=True))
    warm = session.get_adapter(server.url).warm
    with pytest.raises(ValueError, match="at most pool_maxsize=2"):
        warm(server.url, 3, session=session)

    assert len(warm(server.url, 2, session=session)) == 2


def test_a_bad_url_is_quiet_in_the_background():
    """It never raises there; in the foreground it is requests' own exception."""
    adapter = ResilientAdapter()

    assert adapter.warm("nonsense", background=True) == ()
    wait_for_warmers()
    with pytest.raises(requests.exceptions.MissingSchema):
        adapter.warm("nonsense")


def test_a_manager_of_somebody_elses_is_not_warmed(server, dial):
    """Its pools would send the request: it is refused before."""

    class Own(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            class Manager(urllib3.PoolManager):
                def _new_pool(self, *args, **kwargs):
                    return super()._new_pool(*args, **kwargs)

            self.poolmanager = Manager()

    session = dial(server, Own())
    with pytest.raises(TypeError, match="cannot be warmed"):
        session.get_adapter(server.url).warm(server.url, session=session)

    assert server.counts().requests == 0
