"""The deadline of a call ends it, whatever the peer does, and however slowly."""

import gc
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import pytest
import requests
from requests.auth import HTTPDigestAuth
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from resilient_transport import DeadlineExceeded, attempts_of, override
from resilient_transport.connection.timed_stream import hurriable
from tests.end_to_end.slow_calls import CASES, OK, STREAMS, context_of, dial, lateness, overrun, stock
from tests.end_to_end.slow_peers import PACE, Answering, Dripping, Stalling
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

#: Seconds by which a call may end late. The claim is 0.05 on an idle machine; others have other work, too.
LATE = 3.0
#: Two clocks may differ by so much, in seconds.
SLACK = 0.005

STREAM = STREAMS["stream, sized, http, by iter_content"]
DONE = OK + b"Content-Length: 0\r\n\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
CHALLENGE = (
    b'HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n'
    b"Content-Length: 0\r\n\r\n"
)
#: Without this method of urllib3's, old http.client leaves the answer to CONNECT open, in stock, too.
CLOSES_TUNNELS = "_tunnel" in vars(HTTPConnection) or sys.version_info >= (3, 12)
pytestmark = pytest.mark.filterwarnings(
    "error" if CLOSES_TUNNELS else r"ignore:unclosed .*\[closed\]:ResourceWarning"
)


@pytest.fixture(autouse=True)
def garbage():
    """Let a socket that was left open fail the test that has left it."""
    yield
    gc.collect()


@pytest.fixture
def tls(authority):
    """Return the TLS context of a server."""
    return context_of(authority)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["policy", "override"])
@pytest.mark.parametrize("name", CASES)
def test_a_call_ends_with_its_deadline(authority, name, way):
    """Whatever takes for ever, DeadlineExceeded ends it: not before the deadline, and not much later."""
    late, error = lateness(CASES[name], way, authority)

    assert isinstance(error, DeadlineExceeded)
    assert isinstance(error, requests.Timeout)
    assert -SLACK <= late < LATE


@pytest.mark.slow
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_with_its_deadline(authority, name):
    """The deadline bounds the reading of a stream to the last byte, however it is framed and read."""
    late, error = lateness(STREAMS[name], "policy", authority)

    assert isinstance(error, DeadlineExceeded)
    assert -SLACK <= late < LATE


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith(", https")])
def test_without_a_deadline_it_goes_on(authority, tls, name):
    """The control: at that moment the same call waits still, with stock and a time-out, or with ours."""
    case = CASES[name]
    ours = {"refused_retries": 0, "connect_retries": 0, **case.policy}
    session = dial(authority, **ours) if case.needs_ours else stock(authority)

    def call():
        with suppress(requests.RequestException, HTTPError), session:
            case.call(session, peer, timeout=case.patience)

    caller = threading.Thread(target=call, daemon=True)
    with case.peer(tls) as peer:
        caller.start()
        caller.join(SHORT_TIMEOUT + LATE / 2)
        waits = caller.is_alive()
    caller.join(LONG_TIMEOUT)

    assert waits
    assert not caller.is_alive()


def test_a_deadline_around_a_block_ends_its_stream(authority):
    """A stream that is read in a block of `override` ends with the block's deadline."""
    late, error = lateness(STREAM, "override", authority)

    assert isinstance(error, DeadlineExceeded)
    assert -SLACK <= late < LATE


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "name", ["stream, sized, http, by iter_content", "stream, chunks, https, by raw.stream"]
)
def test_a_block_around_the_reading_alone_ends_it(authority, tls, name, method):
    """Though the call has no deadline, and came before the block; nothing else bounds what drips on."""

    def call():
        with session.request(method, peer.url, stream=True) as response, override(deadline=SHORT_TIMEOUT):
            STREAMS[name].read(response)

    context = tls if "https" in name else None
    with STREAMS[name].peer(context) as peer, dial(authority) as session:
        late, error = overrun(call)

    assert isinstance(error, DeadlineExceeded)
    assert -SLACK <= late < LATE


def test_after_the_block_a_socket_has_its_own_time_out_again():
    """The block lends a socket its time, and takes it back."""
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as file:
        ours.settimeout(2 * LONG_TIMEOUT)
        hurriable(SimpleNamespace(_original_response=SimpleNamespace(fp=file)))
        with override(deadline=LONG_TIMEOUT):
            file.raw.hurry()
            inside = ours.gettimeout()
        file.raw.hurry()
        after = ours.gettimeout()

    assert inside <= LONG_TIMEOUT
    assert after == 2 * LONG_TIMEOUT


def test_a_stream_takes_its_deadline_out_of_the_block(authority):
    """The deadline is the call's: to read after the block in which the call was made gains no time."""

    def call():
        with override(deadline=SHORT_TIMEOUT):
            response = session.get(peer.url, stream=True)
        with response:
            STREAM.read(response)

    with STREAM.peer(None) as peer, dial(authority) as session:
        late, error = overrun(call)

    assert isinstance(error, DeadlineExceeded)
    assert -SLACK <= late < LATE


def test_a_stream_that_nobody_reads_is_over_as_well(authority):
    """Time that the caller lets pass between two reads is time of the call."""

    def call():
        with session.get(peer.url, stream=True) as response:
            assert response.raw.read(1) == b"x"
            threading.Event().wait(SHORT_TIMEOUT)
            STREAM.read(response)

    with STREAM.peer(None) as peer, dial(authority, deadline=SHORT_TIMEOUT) as session:
        late, error = overrun(call)

    assert isinstance(error, DeadlineExceeded)
    assert -SLACK <= late < LATE


@pytest.mark.parametrize("stream", [False, True])
def test_tls_within_tls_ends_with_the_deadline(authority, fault_server_factory, stream):
    """Behind a proxy that is itself reached by TLS, a body is bounded as anywhere."""
    proxy = fault_server_factory(client_auth="none")
    case = STREAMS["stream, sized, https, by iter_content"] if stream else CASES["body, sized, https"]

    late, error = lateness(case, "policy", authority, proxies={"https": proxy.url})

    assert isinstance(error, DeadlineExceeded)
    assert -SLACK <= late < LATE


def test_those_who_wait_for_the_handshake_of_another(authority):
    """Waiting at the gate of a cold pool is bounded like all else, for each caller by its own deadline."""
    case = CASES["stalled handshake"]

    def call(_):
        with dial(authority, deadline=SHORT_TIMEOUT) as session:
            return overrun(lambda: case.call(session, peer))

    with case.peer(None) as peer, ThreadPoolExecutor(4) as threads:
        ends = list(threads.map(call, range(4)))

    assert all(isinstance(error, DeadlineExceeded) for _, error in ends)
    assert all(-SLACK <= late < LATE for late, _ in ends)


@pytest.mark.parametrize("name", ["body, sized, http", "stream, chunks, https, by iter_content"])
def test_a_connection_does_not_outlive_the_deadline(authority, tls, name):
    """What may drip on is closed, and serves nobody."""
    case = (CASES | STREAMS)[name]
    with case.peer(tls) as peer, dial(authority, deadline=SHORT_TIMEOUT) as session:
        overrun(lambda: case.call(session, peer))
        left = peer.wait_until_left()

    assert left


def test_a_block_spans_a_loop_of_redirects(authority):
    """The hops of a call share the deadline of their block."""
    with Answering(REDIRECT, pause=PACE) as peer, dial(authority, retries=0) as session:
        session.max_redirects = round(10 * SHORT_TIMEOUT / PACE)
        with override(deadline=SHORT_TIMEOUT):
            late, error = overrun(lambda: session.get(peer.url))

    assert isinstance(error, DeadlineExceeded)
    assert -SLACK <= late < LATE


@pytest.mark.parametrize("stream", [False, True])
def test_a_block_spans_the_rounds_of_digest_authentication(authority, stream):
    """The answer to a challenge has what is left, and not the deadline anew."""

    def answer(head):
        return DONE if b"\r\nAuthorization: Digest" in head else CHALLENGE

    def get():
        return session.get(peer.url, auth=HTTPDigestAuth("ann", "secret"), stream=stream)

    with Answering(answer, pause=SHORT_TIMEOUT * 0.9) as peer, dial(authority, retries=0) as session:
        with get() as unhurried:
            pass
        with override(deadline=SHORT_TIMEOUT):
            late, error = overrun(get)

    assert unhurried.ok
    assert isinstance(error, DeadlineExceeded)
    assert -SLACK <= late < LATE


@pytest.mark.parametrize("seconds", [LONG_TIMEOUT + 1, 3600])
@pytest.mark.parametrize("way", ["policy", "override"])
def test_a_pause_that_the_deadline_does_not_allow_is_not_made(authority, way, seconds):
    """A 503 that asks for more patience than there is comes back at once, as the response."""
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: %d\r\n\r\n" % seconds
    deadline = LONG_TIMEOUT if way == "policy" else None
    here = override(deadline=LONG_TIMEOUT) if way == "override" else nullcontext()
    with Answering(busy) as peer, dial(authority, deadline=deadline) as session, here:
        response = session.get(peer.url)

    assert response.status_code == 503
    assert peer.requests == 1
    assert response.elapsed.total_seconds() < LONG_TIMEOUT / 2


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("deadline", [None, LONG_TIMEOUT])
def test_a_time_out_of_the_callers_counts_from_byte_to_byte(authority, tls, stream, deadline):
    """What drips in time is read to its end, however long that takes, and however late the deadline is."""
    drops = round(2 * SHORT_TIMEOUT / PACE)
    head = OK + b"Content-Length: %d\r\n\r\n" % drops
    with Dripping(head, drops=drops, context=tls) as peer, dial(authority, deadline=deadline) as session:
        began = time.monotonic()
        response = session.get(peer.url, timeout=SHORT_TIMEOUT, stream=stream)
        body = response.content
        took = time.monotonic() - began

    assert body == b"x" * drops
    assert len(attempts_of(response)) == 1
    assert took > SHORT_TIMEOUT


def test_a_time_out_within_the_deadline_is_no_deadline(authority):
    """The smaller of the two counts, and the error says which it was."""
    with Stalling() as peer, dial(authority, retries=0, deadline=LONG_TIMEOUT) as session:
        late, error = overrun(lambda: session.get(peer.url, timeout=SHORT_TIMEOUT))

    assert type(error) is requests.ReadTimeout
    assert -SLACK <= late < LATE


@pytest.mark.parametrize("name", ["silence, http", "body, sized, http"])
def test_what_a_deadline_leaves_behind_serves_the_next_call(authority, name):
    """After DeadlineExceeded a session is as good as new: no permit, slot or time-out is left over."""
    case = CASES[name]
    with case.peer(None) as peer, Answering(DONE) as good, dial(authority) as session:
        with override(deadline=SHORT_TIMEOUT):
            overrun(lambda: case.call(session, peer))
        after = session.get(good.url)

    assert after.ok
