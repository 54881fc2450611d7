"""What lives for how long: a lease that is given back in the middle, its say, and what connections hold."""

import gc
import ssl
import time
import weakref
from contextlib import nullcontext

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, events, registry
from tests.call.test_deadline import LATE
from tests.end_to_end.slow_calls import context_of
from tests.end_to_end.verbatim_server import RST, Answer, VerbatimServer, told
from tests.timeouts import SHORT_TIMEOUT

OK = Answer(told("200 OK", b"ok", Content_Length="2"))


def session_with(adapter, ca=True):
    """Return a session that goes straight to its servers."""
    session = requests.Session()
    session.trust_env, session.verify = False, ca
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def closing(kind):
    """Return an adapter's class that is closed while it makes a call."""

    class Closing(kind):
        def request_url(self, request, proxies):
            """Tell the target, after the pool was chosen and before it is used."""
            self.close()
            return super().request_url(request, proxies)

    return Closing


@pytest.mark.parametrize("settings", [None, {}, {"idle_timeout": SHORT_TIMEOUT, "handshakes": 1}])
def test_a_call_goes_on_when_its_adapter_is_closed_by_a_hook(settings):
    """Between the choice of a pool and its use, as with stock (None): each call succeeds."""
    kind = HTTPAdapter if settings is None else ResilientAdapter
    with VerbatimServer(lambda _: OK) as verbatim, session_with(closing(kind)(**settings or {})) as session:
        bodies = [session.get(verbatim.url).content for _ in range(3)]

    assert bodies == [b"ok"] * 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", [HTTPAdapter, ResilientAdapter])
def test_a_call_goes_on_when_its_session_is_closed_elsewhere(kind, stream):
    """Another thread closes the session while the call waits for its answer: it gets it, as with stock."""

    def answer(_):
        session.close()
        return OK

    with session_with(kind()) as session, VerbatimServer(answer) as verbatim:
        bodies = [session.get(verbatim.url, stream=stream).content for _ in range(3)]

    assert bodies == [b"ok"] * 3


def test_what_comes_back_to_nobody_is_closed():
    """A connection whose pool was given back and forgotten meanwhile is not kept where none finds it."""

    def answer(_):
        session.close()
        registry.clear()
        return OK

    with session_with(ResilientAdapter()) as session, VerbatimServer(answer) as verbatim:
        response = session.get(verbatim.url)
        began = time.monotonic()
        verbatim.wait_until_left()
        took = time.monotonic() - began

    assert response.content == b"ok"
    assert took < LATE


def lease_of(session, verbatim):
    """The shared pool that a session's calls to a server use."""
    request = requests.Request("GET", verbatim.url).prepare()
    return session.get_adapter(verbatim.url).get_connection_with_tls_context(request, True).shared_pool


@pytest.mark.parametrize("end", ["closed", "forgotten"])
def test_who_has_gone_has_no_say(clock, end):
    """How many handshakes may run, and how long connections idle, is for those who are there."""
    with VerbatimServer(lambda _: OK) as verbatim, session_with(ResilientAdapter()) as staying:
        going = session_with(ResilientAdapter(handshakes=1, idle_timeout=1000))
        for session in (going, staying):
            session.get(verbatim.url)
        shared_pool = lease_of(staying, verbatim)
        before = (
            shared_pool.connection_options.handshakes,
            shared_pool.connection_options.idle_timeout,
            shared_pool.gate.window.maximum,
        )
        if end == "closed":
            going.close()
        del going, session
        gc.collect()
        after = (
            shared_pool.connection_options.handshakes,
            shared_pool.connection_options.idle_timeout,
            shared_pool.gate.window.maximum,
        )

    assert before == (1, 1000, 1)
    assert after == (16, 55, 16)


@pytest.mark.parametrize("end", ["closed", "forgotten"])
def test_who_has_gone_keeps_nothing_open(clock, end):
    """A connection that only a patient adapter would have kept ends when that has gone."""
    with VerbatimServer(lambda _: OK) as verbatim, session_with(ResilientAdapter()) as staying:
        going = session_with(ResilientAdapter(idle_timeout=1000))
        for session in (going, staying):
            session.get(verbatim.url)
        if end == "closed":
            going.close()
        del going, session
        gc.collect()
        clock.ahead += 60
        registry.look()
        staying.get(verbatim.url)
        live = registry.connections()[verbatim.url.rstrip("/")]
        accepts = verbatim.accepts

    assert accepts == 2
    assert live == (1, 1)


def test_who_is_there_keeps_it_open(clock):
    """The control: as long as the patient one is there, its connection of a minute is used again."""
    patient = session_with(ResilientAdapter(idle_timeout=1000))
    with VerbatimServer(lambda _: OK) as verbatim, session_with(ResilientAdapter()) as staying, patient:
        for session in (patient, staying):
            session.get(verbatim.url)
        clock.ahead += 60
        staying.get(verbatim.url)
        reused = attempts_of(patient.get(verbatim.url))[-1].reused
        shared_pool = lease_of(patient, verbatim)
        oldest = min(connection.made_at for connection in shared_pool.gate._idle)

    assert reused
    assert clock() - oldest > 59.9


@pytest.mark.parametrize("is_private", [True, False])
def test_a_context_of_ones_own_takes_its_connections_along(authority, is_private):
    """Nobody can find them after its session; those of a shared context, the control, stay for the next."""
    own = ssl.create_default_context(cafile=authority.ca_file) if is_private else None
    with VerbatimServer(lambda _: OK, context=context_of(authority)) as verbatim:
        with session_with(ResilientAdapter(ssl_context=own), is_private or authority.ca_file) as session:
            ok = session.get(verbatim.url).ok
            during = registry.connections()[verbatim.url.rstrip("/")]
        afterwards = registry.connections().get(verbatim.url.rstrip("/"), (0, 0))
        registry.clear()

    assert ok
    assert during == (1, 1)
    assert afterwards == ((0, 0) if is_private else (1, 1))


class Program:
    """Somebody whose method is told of events."""

    def heard(self, event):
        """Hear."""


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", ["on_event", "subscribed"])
def test_an_idle_connection_holds_no_program(authority, way, stream, calls, secure):
    """After its session has gone, neither who heard of its calls nor their requests are kept by it."""
    context = context_of(authority) if secure else None
    program = Program()
    hook = program.heard if way == "on_event" else None
    block = events.subscribed(program.heard) if way == "subscribed" else nullcontext()
    with VerbatimServer(lambda _: OK, context=context) as verbatim:
        with block, session_with(ResilientAdapter(on_event=hook), authority.ca_file) as session:
            held = [weakref.ref(program), weakref.ref(session.get_adapter(verbatim.url))]
            for _ in range(calls):
                response = session.get(verbatim.url, stream=stream, headers={"Authorization": "Bearer x"})
                response.content  # noqa: B018 - reading it gives the connection back
                held.append(weakref.ref(response.request))
        del program, hook, block, session, response
        gc.collect()
        idle = registry.connections()[verbatim.url.rstrip("/")]

    assert idle == (1, 1)
    assert [ref() for ref in held] == [None] * len(held)


def test_a_warmed_connection_holds_no_program():
    """The same where nothing was sent yet."""
    program = Program()
    with VerbatimServer([]) as verbatim:
        with session_with(ResilientAdapter(on_event=program.heard)) as session:
            session.get_adapter(verbatim.url).warm(verbatim.url)
        held = weakref.ref(program)
        del program, session
        gc.collect()
        idle = registry.connections()[verbatim.url.rstrip("/")]

    assert idle == (1, 1)
    assert held() is None


def one_bad_endpoint(heals):
    """Return a function that answers all but one path, which resets; each time, or until it is repeated."""
    bad = []

    def answer(head):
        if not head.startswith(b"GET /bad"):
            return OK
        bad.append(head)
        return OK if heals and len(bad) % 2 == 0 else Answer(b"", RST)

    return answer


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_a_bad_endpoint_teaches_nothing_of_idleness(clock, retries):
    """It resets each request, on a new connection, too: its neighbours go on with theirs of 5 s."""
    policy = RetryPolicy(retries=retries, backoff=0.0)
    with (
        VerbatimServer(one_bad_endpoint(False)) as verbatim,
        session_with(ResilientAdapter(policy=policy)) as session,
    ):
        reused = []
        for _ in range(4):
            session.get(verbatim.url)
            clock.ahead += 3
            with pytest.raises(requests.ConnectionError):
                session.get(verbatim.url + "bad")
            session.get(verbatim.url)
            clock.ahead += 5
            reused.append(attempts_of(session.get(verbatim.url))[-1].reused)
        accepts = verbatim.accepts

    assert reused == [True] * 4
    # One each time for what the bad one has reset, and one for each time it was repeated.
    assert accepts == 1 + 4 * (1 + retries)


def test_a_real_idle_close_teaches(clock):
    """The control: where the repetition is answered, it was the idleness of 3 s, and 5 s are too many."""
    policy = RetryPolicy(retries=1, backoff=0.0)
    with (
        VerbatimServer(one_bad_endpoint(True)) as verbatim,
        session_with(ResilientAdapter(policy=policy)) as session,
    ):
        session.get(verbatim.url)
        clock.ahead += 3
        session.get(verbatim.url + "bad")
        clock.ahead += 5
        reused = attempts_of(session.get(verbatim.url))[-1].reused

    assert not reused
