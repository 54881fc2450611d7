"""TLS sessions are resumed where nginx lets them be, and offered to nobody but the server that gave them."""

import socket
import ssl

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, attempts_of
from tests.real.conftest import at_once
from tests.real.servers import BOTH_VERSIONS
from tests.timeouts import LONG_TIMEOUT

BURST = 8
#: A ticket that is late on a busy machine is not waited for: of so many bursts, one has to show the claim.
BURSTS = 3
#: Ends the connection with its response: the next call needs another.
CLOSE = {"Connection": "close"}
HOLDING = "location /held {{ proxy_pass http://127.0.0.1:{port}; }}"
#: How nginx may be configured to resume sessions, and not to.
RESUMING = {"tickets": {"tickets": True}, "cache": {"tickets": False, "cache": "shared:all:1m"}}
NOT_RESUMING = {
    "no tickets": {"tickets": False},
    "tickets nobody accepts": {"tickets": False, "cache": "none"},
    "cache off": {"tickets": False, "cache": "off"},
}
protocols = pytest.mark.parametrize("protocol", BOTH_VERSIONS)


def ways(named):
    """Parametrize with both versions and the values of a dictionary, named by its keys."""

    def mark(test):
        return protocols(pytest.mark.parametrize("way", named.values(), ids=named.keys())(test))

    return mark


resuming = ways(RESUMING)


@pytest.fixture
def holding(nginx, backend):
    """Start nginx so that /held is answered when a whole burst is there: on as many connections as calls."""

    def start(**options):
        port = backend(lambda came: came >= BURST).port
        return nginx(verify_client="on", locations=HOLDING.format(port=port), **options)

    return start


def burst(session, server):
    """GET and POST in turn, all at once; return how each has ended."""

    def call(method):
        return lambda: session.request(method, server.url + "/held", timeout=LONG_TIMEOUT)

    return at_once([call("POST" if number % 2 else "GET") for number in range(BURST)])


def visit(session, url, method="GET", name=""):
    """Make two calls over one connection and close it; with the first response all tickets have come."""
    for headers in ({}, CLOSE):
        headers = {"X-Request-Id": name} | headers
        assert session.request(method, url, headers=headers, timeout=LONG_TIMEOUT).ok


def handshakes(accesses):
    """Whether each connection was resumed, in their order."""
    return list({access.connection: access.resumed for access in accesses}.values())


@resuming
def test_a_cold_burst_makes_one_full_handshake(holding, dial, protocol, way):
    """Eight connections at once, GETs and POSTs: the first is a full handshake, the others resume it."""
    servers = [holding(protocols=[protocol], **way) for _ in range(BURSTS)]

    answers = [burst(dial(), server) for server in servers]

    accesses = [server.access_log(at_least=BURST) for server in servers]
    told = [[attempts_of(answer) for answer in each] for each in answers]
    assert [[answer.text for answer in each] for each in answers] == [["ok"] * BURST] * BURSTS
    assert {access.client for each in accesses for access in each} == {"SUCCESS"}
    assert all(len(attempts) == 1 for each in told for attempts in each)
    assert [server.connections() for server in servers] == [BURST] * BURSTS
    assert min(handshakes(each).count(False) for each in accesses) == 1
    assert max(sum(attempts[0].tls_resumed for attempts in each) for each in told) == BURST - 1


@ways(NOT_RESUMING)
def test_without_tickets_every_handshake_of_a_cold_burst_is_full(holding, dial, protocol, way):
    """A server that resumes nothing costs no call: eight full handshakes, eight answers."""
    server = holding(protocols=[protocol], **way)

    answers = burst(dial(), server)

    assert [answer.text for answer in answers] == ["ok"] * BURST
    assert handshakes(server.access_log(at_least=BURST)) == [False] * BURST
    assert not any(attempts_of(answer)[-1].tls_resumed for answer in answers)
    assert server.connections() == BURST


@protocols
def test_stock_resumes_nothing(holding, dial, protocol):
    """The control: the same burst through stock is eight full handshakes, whatever the server offers."""
    server = holding(protocols=[protocol])

    answers = burst(dial(HTTPAdapter()), server)

    assert [answer.text for answer in answers] == ["ok"] * BURST
    assert handshakes(server.access_log(at_least=BURST)) == [False] * BURST


@resuming
def test_calls_after_the_connection_is_gone_resume(nginx, dial, protocol, way):
    """One connection after the other, for GETs and POSTs: only the first handshake is full."""
    server = nginx(verify_client="on", protocols=[protocol], **way)
    session = dial()

    for method in ("GET", "POST", "POST", "GET"):
        visit(session, server.url, method)

    accesses = server.access_log(at_least=8)
    assert handshakes(accesses) == [False, True, True, True]
    assert {access.client for access in accesses} == {"SUCCESS"}


def offer(context, port, name, session=None):
    """Make a connection with plain `ssl`, offering a session; return whether it was resumed, and its own."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=LONG_TIMEOUT) as sock,
        context.wrap_socket(sock, server_hostname=name, session=session) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with tls.makefile("rb") as answer:
            assert b" 200 " in answer.readline()
            answer.read()
        return tls.session_reused, tls.session


@ways(RESUMING)
def test_the_server_itself_lets_sessions_cross(nginx, authority, protocol, way):
    """The control for what follows: nginx resumes a session under another name and at another port."""
    server = nginx(verify_client="on", protocols=[protocol], **way)
    other_port = int(server.other_url.rpartition(":")[2])
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(*authority.client)
    first, session = offer(context, server.port, "127.0.0.1")

    elsewhere, _ = offer(context, other_port, "127.0.0.1", session)
    otherwise, _ = offer(context, server.port, "localhost", session)

    assert (first, elsewhere, otherwise) == (False, True, True)


@resuming
def test_a_session_stays_with_its_origin(nginx, dial, protocol, way):
    """The same server under another name or at another port is another origin: a full handshake there."""
    server = nginx(verify_client="on", protocols=[protocol], **way)
    urls = [server.url, server.other_url, server.url.replace("127.0.0.1", "localhost")]
    session = dial()

    for url in urls * 2:
        visit(session, url)

    assert handshakes(server.access_log(at_least=12)) == [False] * 3 + [True] * 3


class Named(ResilientAdapter):
    """Asks every server for `localhost`, whatever the URL says."""

    def init_poolmanager(self, *args, **kwargs):
        """Set the name for all pools."""
        super().init_poolmanager(*args, server_hostname="localhost", **kwargs)


@resuming
def test_a_session_stays_with_its_server_name(nginx, dial, protocol, way):
    """At one origin, a session made under one server name is not offered under another."""
    server = nginx(verify_client="on", protocols=[protocol], **way)
    sessions = [dial(), dial(Named())]

    for session in sessions * 2:
        visit(session, server.url)

    accesses = server.access_log(at_least=8)
    assert [access.server_name for access in accesses[::2]] == ["", "localhost"] * 2
    assert handshakes(accesses) == [False] * 2 + [True] * 2


@resuming
def test_a_session_stays_with_its_certificate(nginx, dial, authority, protocol, way):
    """Two certificates at one origin: each resumes its own sessions, and is taken for nobody else."""
    server = nginx(verify_client="on", protocols=[protocol], **way)
    sessions = {"alice": dial(), "bob": dial(cert=authority.other_client)}

    for name in ("alice", "bob", "alice", "bob"):
        visit(sessions[name], server.url, name=name)

    accesses = server.access_log(at_least=8)
    assert [access.request_id for access in accesses[::2]] == ["alice", "bob"] * 2
    assert all(f"CN={access.request_id}" in access.subject for access in accesses)
    assert handshakes(accesses) == [False] * 2 + [True] * 2


@resuming
def test_one_certificate_in_two_sessions_is_one_identity(nginx, dial, protocol, way):
    """The control: with the same certificate the second session resumes what the first has made."""
    server = nginx(verify_client="on", protocols=[protocol], **way)

    visit(dial(), server.url)
    visit(dial(), server.url)

    assert handshakes(server.access_log(at_least=4)) == [False, True]


@resuming
def test_two_identities_at_once_are_never_mixed_up(nginx, dial, authority, protocol, way):
    """Eight threads, two certificates, every other call closes: each call is on its own certificate."""
    server = nginx(verify_client="on", protocols=[protocol], **way)
    sessions = {"alice": dial(), "bob": dial(cert=authority.other_client)}

    def calls(name):
        for number in range(25):
            headers = {"X-Request-Id": name, "Connection": "close" if number % 2 else "keep-alive"}
            assert sessions[name].get(server.url, headers=headers, timeout=LONG_TIMEOUT).ok

    ends = at_once([lambda name=name: calls(name) for name in ("alice", "bob") * 4])

    accesses = server.access_log(at_least=200)
    assert ends == [None] * 8
    assert len(accesses) == 200
    assert all(f"CN={access.request_id}" in access.subject for access in accesses)
    assert handshakes(accesses).count(True) > handshakes(accesses).count(False)


@resuming
def test_a_server_that_forgets_its_sessions_costs_nothing(nginx, dial, protocol, way):
    """After a restart nginx accepts no old session: a full handshake, no failure, then it resumes again."""
    server = nginx(verify_client="on", protocols=[protocol], **way)
    session = dial()

    visit(session, server.url)
    server.stop()
    server.start()
    answer = session.post(server.url, timeout=LONG_TIMEOUT)
    visit(session, server.url)
    visit(session, server.url)

    # Connections of a new nginx are counted anew.
    accesses = server.access_log(at_least=7)[2:]
    assert len(attempts_of(answer)) == 1
    assert handshakes(accesses) == [False, True]


@protocols
def test_a_session_of_a_server_that_is_not_checked_serves_no_call_that_checks(
    nginx, dial, authority, protocol
):
    """A resumed handshake checks nothing, so what `verify=False` has made is not offered with `verify`."""
    server = nginx(verify_client="on", protocols=[protocol], certificate=authority.server("misnamed"))
    trusting, careful = dial(), dial()
    trusting.verify = False

    with pytest.warns(match="Unverified HTTPS request"):
        assert trusting.get(server.url, timeout=LONG_TIMEOUT).ok
    for _ in range(3):
        with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
            careful.get(server.url, timeout=LONG_TIMEOUT)

    assert len(server.access_log(at_least=1)) == 1
