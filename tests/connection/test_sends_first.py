"""A request that may be repeated leaves before the server has proved that it accepts the client."""

import select
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ClientCertificateRejected, RetryPolicy, attempts_of, registry
from resilient_transport.connection import tls_connection
from resilient_transport.connection.connection import ResilientConnection
from resilient_transport.gate.window import AHEAD
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT

AT_ONCE = 12
#: It executes the first request, and does not answer.
SLOW_FIRST = Script((Rule(Fault(Moment.EXECUTED, How.STALL, seconds=60), first=1),))


@pytest.fixture
def confirmed(monkeypatch):
    """The sockets that were waited for before a request left."""
    seen, real = [], tls_connection.confirm
    monkeypatch.setattr(tls_connection, "confirm", lambda *given: seen.append(given[0]) or real(*given))
    return seen


@pytest.fixture
def far(monkeypatch):
    """Every server is far away."""
    monkeypatch.setattr(tls_connection, "is_long", lambda *_: True)


@pytest.fixture
def patient(monkeypatch):
    """However busy the machine is, a server's proof comes in time."""
    for name in ("PROOF_WAIT", "PROOF_WAIT_IN_DOUBT"):
        monkeypatch.setattr(tls_connection, name, LONG_TIMEOUT)


def stages(outcome):
    """The stage of each attempt."""
    return [str(attempt.stage) for attempt in attempts_of(outcome)]


def ending(session, method, url):
    """What a call returns, or raises."""
    try:
        return session.request(method, url)
    except requests.RequestException as error:
        return error


@pytest.mark.parametrize(("method", "waits"), [("GET", 0), ("PUT", 0), ("POST", 1), ("PATCH", 1)])
def test_only_what_may_not_be_repeated_waits(server, dial, confirmed, method, waits):
    """The first request of a process: a round trip less for those that may be sent again."""
    server.play(Script())
    answer = dial(server).request(method, server.url)

    assert answer.ok
    assert len(confirmed) == waits


@pytest.mark.parametrize(
    ("settings", "waits"),
    [
        ({"max_retries": Retry(total=3, connect=3, read=0)}, 1),
        ({"max_retries": Retry(total=3, connect=3, read=False)}, 1),
        ({"max_retries": Retry(total=3)}, 0),
        ({"max_retries": 0}, 0),
        ({"policy": RetryPolicy()}, 0),
    ],
)
def test_who_repeats_connects_only_waits(server, dial, confirmed, settings, waits):
    """A GET that would not be sent again once it has left is sent when the connection is known to be good."""
    server.play(Script())
    answer = dial(server, **settings).get(server.url)

    assert answer.ok
    assert len(confirmed) == waits


def test_a_reset_before_the_first_answer_counts_as_a_connect_for_them(server, dial, monkeypatch):
    """The first connection is reset in its handshake, connects are repeated; the control does not wait."""
    outcomes = []
    for waits in (True, False):
        registry.clear()
        server.play(Script((Rule(Fault(Moment.HANDSHAKE, How.RST), first=1),)))
        session = dial(server, max_retries=Retry(total=3, connect=3, read=0, backoff_factor=0))
        monkeypatch.setattr(RetryPolicy, "spends_less_early", lambda self, waits=waits: waits)
        outcomes.append(ending(session, "GET", server.url))

    assert outcomes[0].ok
    assert stages(outcomes[0]) == ["confirm", "done"]
    assert isinstance(outcomes[1], requests.ConnectionError)
    assert stages(outcomes[1]) == ["request"]


def test_an_opted_in_request_does_not_wait(server, dial, confirmed):
    """An Idempotency-Key makes of a POST one that may be repeated."""
    server.play(Script())
    answer = dial(server).post(server.url, headers={"Idempotency-Key": "k-1"})

    assert (answer.ok, confirmed) == (True, [])


def test_with_tls_1_2_the_handshake_is_the_proof(fault_server_factory, dial, confirmed):
    """Nobody waits, and there is nothing to listen for."""
    server = fault_server_factory(max_tls="1.2")
    answer = dial(server).get(server.url)

    assert answer.ok
    assert not hasattr(confirmed[0], "reads_first") or confirmed[0].reads_first is None


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("method", "told"), [("GET", ["request", "confirm", "done"]), ("POST", ["confirm", "confirm", "done"])]
)
def test_after_a_reset_the_next_one_waits(server, dial, method, told):
    """A GET that was reset in the place of its answer has left: its trace says so. The next is confirmed."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), first=2),)))
    answer = dial(server).request(method, server.url + "/words/1", headers={"X-Request-Id": "one"})

    assert answer.ok
    assert stages(answer) == told
    assert server.counts().executions == {"one": 1}


@pytest.mark.parametrize("tickets", ["default", "none"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_slow_first_answer_holds_nobody_up(fault_server_factory, dial, method, tickets):
    """Others are let in when the ticket comes, or when it might have; they do not wait for the answer."""
    server = fault_server_factory(**({} if tickets == "default" else {"tickets": tickets}))
    server.play(SLOW_FIRST)
    session = dial(server, policy=RetryPolicy(retries=0))
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(ending, session, method, server.url)
        server.wait_for(lambda counts: counts.executed == 1)
        answers = [session.get(server.url) for _ in range(2)]
        is_slow = not slow.done()
        server.reset_peers()
        slow.result(LONG_TIMEOUT)

    assert [answer.ok for answer in answers] == [True, True]
    assert is_slow


@pytest.mark.usefixtures("patient")
def test_a_ticket_that_comes_before_the_answer_is_resumed(server, dial):
    """The leader takes it in while it waits for a slow answer: so others need no full handshake."""
    server.play(SLOW_FIRST)
    session = dial(server, policy=RetryPolicy(retries=0))
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(ending, session, "GET", server.url)
        server.wait_for(lambda counts: counts.executed == 1)
        answer = session.get(server.url)
        counts = server.counts()
        server.reset_peers()
        slow.result(LONG_TIMEOUT)

    assert answer.ok
    assert (counts.handshakes, counts.resumptions) == (2, 1)


@pytest.mark.parametrize("size", [0, 1, 70_000])
def test_the_first_read_gives_what_came(server, dial, size):
    """What is read while proof is looked for is the beginning of the answer, and not lost."""
    server.play(Script())
    session = dial(server)
    answer = session.get(f"{server.url}/bytes/{size}")
    control = session.get(f"{server.url}/bytes/{size}")

    assert answer.content == control.content
    assert len(answer.content) == size


@pytest.fixture
def strict(authority):
    """A server that demands a client certificate."""
    with FaultServer(authority=authority) as server:
        yield server


@pytest.fixture
def late(monkeypatch):
    """A request leaves when the server has said all that it says, and has closed."""
    request = ResilientConnection.request

    def wait_and_send(connection, *args, **kwargs):
        poll = select.poll()
        poll.register(connection.sock, select.POLLRDHUP | select.POLLHUP)
        assert poll.poll(LONG_TIMEOUT * 1000)
        # What is written first is told that nobody reads; what follows, that it cannot be written.
        raw = socket.socket(fileno=socket.dup(connection.sock.fileno()))
        with raw:
            raw.send(b"?")
            assert poll.poll(LONG_TIMEOUT * 1000)
            while not raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) and _takes(raw):
                pass
        request(connection, *args, **kwargs)

    monkeypatch.setattr(ResilientConnection, "request", wait_and_send)


def _takes(raw):
    try:
        raw.send(b"?")
    except OSError:
        return False
    return True


@pytest.mark.usefixtures("patient")
def test_a_refusal_is_told_where_the_request_has_left(strict, dial):
    """One attempt, in the stage in which it was: the request had left. That of a POST had not."""
    session = dial(strict)
    session.cert = None
    told = {}
    for method in ("GET", "POST"):
        registry.clear()
        strict.play(Script())
        error = ending(session, method, strict.url)
        told[method] = (type(error), error.alert, stages(error), strict.counts().accepts)

    assert told["GET"] == (ClientCertificateRejected, "certificate_required", ["request"], 1)
    assert told["POST"] == (ClientCertificateRejected, "certificate_required", ["confirm"], 1)


@pytest.mark.usefixtures("patient", "late")
def test_a_refusal_is_told_where_the_request_could_not_leave(strict, dial):
    """The connection was closed under the request: the alert lies there still, and is read."""
    session = dial(strict)
    session.cert = None
    errors = []
    for _ in range(5):
        registry.clear()
        errors.append(ending(session, "GET", strict.url))

    assert [(type(error), error.alert) for error in errors] == [
        (ClientCertificateRejected, "certificate_required")
    ] * len(errors)
    assert [len(attempts_of(error)) for error in errors] == [1] * len(errors)


@pytest.mark.usefixtures("patient")
def test_far_away_a_refusal_costs_five_handshakes_at_the_most(strict, dial, far, monkeypatch):
    """That of the leader, and of those that shake hands while its proof is under way."""
    shaken, connect = [], tls_connection.TLSConnection._connect
    monkeypatch.setattr(
        tls_connection.TLSConnection, "_connect", lambda self: shaken.append(1) or connect(self)
    )
    session = dial(strict)
    session.cert = None
    barrier = threading.Barrier(AT_ONCE)

    def call(_):
        barrier.wait(LONG_TIMEOUT)
        return ending(session, "GET", strict.url)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        errors = list(threads.map(call, range(AT_ONCE)))

    assert {type(error) for error in errors} == {ClientCertificateRejected}
    assert len(shaken) <= 1 + AHEAD


@pytest.mark.parametrize(("is_far", "dialled"), [(True, 1 + AHEAD), (False, 1)], ids=["far", "near"])
def test_far_away_some_dial_while_the_first_shakes_hands(server, dial, monkeypatch, is_far, dialled):
    """Four of those that wait, and none near by. They have nothing to say before it is done."""
    monkeypatch.setattr(tls_connection, "is_long", lambda *_: is_far)
    server.play(Script(handshake_delay=LONG_TIMEOUT))
    session = dial(server, policy=RetryPolicy(retries=0))
    real, waiting = tls_connection.TLSConnection._new_conn, threading.Event()

    def held(connection):
        assert waiting.wait(LONG_TIMEOUT)
        return real(connection)

    monkeypatch.setattr(tls_connection.TLSConnection, "_new_conn", held)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        calls = [threads.submit(ending, session, "GET", server.url) for _ in range(AT_ONCE)]
        while sum(pool.gate.waiting() for pool in registry._all()) < AT_ONCE - 1:
            waiting.wait(0.002)
        waiting.set()
        counts = server.wait_for(lambda counts: counts.accepts >= dialled and counts.in_flight == 1)
        server.play(Script((Rule(Fault(Moment.CLIENT_HELLO)),)))
        server.reset_peers()
        for call in calls:
            call.result(LONG_TIMEOUT)

    assert (counts.accepts, counts.in_flight_max) == (dialled, 1)


def test_stock_sends_first_and_is_not_told(strict, dial):
    """The control: stock has no proof to wait for, and no exception of its own for a refusal."""
    session = dial(strict, HTTPAdapter())
    session.cert = None
    error = ending(session, "GET", strict.url)

    assert isinstance(error, requests.ConnectionError)
    assert not isinstance(error, ClientCertificateRejected)
    assert isinstance(error, (requests.exceptions.SSLError, requests.ConnectionError))
    assert ssl.HAS_TLSv1_3
