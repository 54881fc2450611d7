"""HAProxy that gives no tickets, or lets only so many connections in: every call completes."""

import gc
import sys
from operator import itemgetter
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of
from tests.real.conftest import at_once
from tests.real.servers import BOTH_VERSIONS
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

BURST = 8
#: The kernel's number for the state of a socket that listens.
LISTENS = "0A"
CALLERS = 16
LIMIT = 4
#: Who connects gives up soon; who waits for a response does not.
WITHIN = (SHORT_TIMEOUT, LONG_TIMEOUT)
#: One more is the default; on a busy machine a connection that nobody holds back may be late, too.
PATIENT = RetryPolicy(timeout_retries=20)
CLOSE = {"Connection": "close"}
protocols = pytest.mark.parametrize("protocol", BOTH_VERSIONS)
methods = pytest.mark.parametrize("method", ["GET", "POST"])

TRACK = (
    "stick-table type ip size 10 expire 10s store conn_cur,conn_rate(1s)",
    "tcp-request connection track-sc0 src",
)
#: Beyond these a connection is ended at accept, without a word.
REJECTING = {
    "src_conn_cur": {"frontend": TRACK, "reject": [f"if {{ src_conn_cur gt {LIMIT} }}"]},
    "src_conn_rate": {"frontend": TRACK, "reject": [f"if {{ src_conn_rate gt {LIMIT} }}"]},
}
#: Beyond these a connection waits in the backlog until there is room for it.
DELAYING = {
    "frontend maxconn": {"frontend": [f"maxconn {LIMIT}"]},
    "bind maxconn": {"bind": [f"maxconn {LIMIT}"]},
    "global maxconn": {"maxconn": LIMIT},
}


@pytest.fixture
def collected():
    """Collect garbage before the test ends, so that no other test is blamed for it."""
    yield
    gc.collect()


def rejecting(test):
    """Mark a test in which connections are reset before they come to `wrap_socket`.

    CPython before 3.13 leaves such a socket, of stock or of this package, to the garbage collector to close.
    """
    if sys.version_info < (3, 13):
        test = pytest.mark.filterwarnings("ignore:unclosed .*SSLSocket:ResourceWarning")(test)
    return pytest.mark.usefixtures("collected")(named(REJECTING)(test))


def named(limits):
    """Parametrize with the values of a dictionary, named by its keys."""
    return pytest.mark.parametrize("limit", limits.values(), ids=limits.keys())


def calls(dial, server, count, make_adapter=ResilientAdapter, timeout=LONG_TIMEOUT):
    """Make GETs and POSTs at once, from a session each, as plugins of one program would."""
    sessions = [dial(make_adapter()) for _ in range(count)]

    def call(number):
        return lambda: sessions[number].request("POST" if number % 2 else "GET", server.url, timeout=timeout)

    return at_once([call(number) for number in range(count)])


def patient():
    """Return an adapter that connects again after time-outs."""
    return ResilientAdapter(policy=PATIENT)


def backlog(port):
    """How many connections to a port the kernel has made that the server has not accepted."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state, queues = itemgetter(1, 3, 4)(line.split())
        if local.endswith(f":{port:04X}") and state == LISTENS:
            return int(queues.rpartition(":")[2], 16)
    return 0


def texts(ends):
    """What was answered; an exception is told as it is."""
    return [end.text if isinstance(end, requests.Response) else repr(end) for end in ends]


@protocols
@methods
def test_without_tickets_later_calls_reuse_the_first_connection(haproxy, dial, protocol, method):
    """A server that sends no ticket says nothing after the handshake: five calls, one connection."""
    server = haproxy(verify_client="required", protocols=[protocol], tickets=False)
    session = dial()

    answers = [session.request(method, server.url, timeout=LONG_TIMEOUT) for _ in range(5)]

    told = [attempts_of(answer) for answer in answers]
    assert texts(answers) == ["ok"] * 5
    assert [[attempt.reused for attempt in attempts] for attempts in told] == [[False]] + [[True]] * 4
    assert server.connections() == 1


@protocols
@pytest.mark.parametrize("tickets", [True, False])
def test_with_tickets_the_next_connection_is_resumed(haproxy, dial, protocol, tickets):
    """The control: the next connection is resumed where there are tickets; in TLS 1.2 also by its number."""
    server = haproxy(verify_client="required", protocols=[protocol], tickets=tickets)
    session = dial()

    # With the first response on a connection all tickets have come; the second call ends it.
    answers = [session.post(server.url, headers=headers, timeout=LONG_TIMEOUT) for headers in ({}, CLOSE) * 3]

    resumed = tickets or protocol == "TLSv1.2"
    told = [attempts_of(answer)[0] for answer in answers]
    assert texts(answers) == ["ok"] * 6
    assert [attempt.reused for attempt in told] == [False, True] * 3
    assert [attempt.tls_resumed for attempt in told[::2]] == [False, resumed, resumed]
    assert server.connections() == 3


@protocols
@pytest.mark.parametrize("tickets", [True, False])
def test_nobody_waits_for_the_response_of_the_first(haproxy, backend, dial, protocol, tickets):
    """Eight cold calls, answered only when all are there: a server that is silent meanwhile holds nobody."""
    behind = backend(lambda came: came >= BURST)
    server = haproxy(verify_client="required", protocols=[protocol], tickets=tickets, backend=behind.port)

    ends = calls(dial, server, BURST)

    assert texts(ends) == ["ok"] * BURST
    assert [len(attempts_of(end)) for end in ends] == [1] * BURST
    assert server.connections() == BURST


@rejecting
def test_connections_that_are_rejected_cost_no_call(haproxy, backend, dial, limit):
    """Nobody is answered before HAProxy has turned a connection away; then all sixteen calls complete."""
    behind = backend(lambda _: server.rejected())
    server = haproxy(verify_client="required", backend=behind.port, **limit)

    ends = calls(dial, server, CALLERS)

    assert texts(ends) == ["ok"] * CALLERS
    assert behind.came == CALLERS
    assert max(len(attempts_of(end)) for end in ends) > 1


@rejecting
def test_stock_loses_calls_to_rejected_connections(haproxy, backend, dial, limit):
    """The control: the same calls through stock fail, but for those within the limit."""
    behind = backend(lambda _: server.rejected())
    server = haproxy(verify_client="required", backend=behind.port, **limit)

    ends = calls(dial, server, CALLERS, HTTPAdapter)

    assert texts(ends).count("ok") == LIMIT


@named(DELAYING)
def test_connections_that_are_held_back_cost_no_call(haproxy, backend, dial, limit):
    """Nobody is answered before a connection waits in vain; then all sixteen calls complete on the others."""
    behind = backend(lambda _: backlog(server.port))
    server = haproxy(verify_client="required", backend=behind.port, **limit)

    ends = calls(dial, server, CALLERS, patient, timeout=WITHIN)

    assert texts(ends) == ["ok"] * CALLERS
    assert behind.came == CALLERS
    assert max(len(attempts_of(end)) for end in ends) > 1


@named(DELAYING)
def test_stock_loses_calls_to_connections_that_are_held_back(haproxy, backend, dial, limit):
    """The control: the same calls through stock time out, but for those within the limit."""
    behind = backend(lambda _: backlog(server.port))
    server = haproxy(verify_client="required", backend=behind.port, **limit)

    ends = calls(dial, server, CALLERS, HTTPAdapter, timeout=WITHIN)

    assert texts(ends).count("ok") <= LIMIT


@pytest.mark.parametrize(
    ("make_adapter", "loses"), [(patient, False), (HTTPAdapter, True)], ids=["ours", "stock"]
)
def test_a_limited_rate_of_sessions_costs_calls_only_with_stock(haproxy, dial, make_adapter, loses):
    """A second round of calls needs no new connections; through stock, the control, it does and times out."""
    server = haproxy(verify_client="required", frontend=[f"rate-limit sessions {LIMIT}"])

    first = calls(dial, server, CALLERS, make_adapter, timeout=WITHIN)
    second = calls(dial, server, CALLERS, make_adapter, timeout=WITHIN)

    assert (texts(first + second).count("ok") < 2 * CALLERS) == loses
