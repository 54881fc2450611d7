"""Connections that are made before the first call, seen from nginx and HAProxy."""

import threading

import pytest

from resilient_transport import ClientCertificateRejected, attempts_of, registry
from tests.real.conftest import at_once
from tests.real.servers import BOTH_VERSIONS
from tests.timeouts import LONG_TIMEOUT

CONNECTIONS = 3
HOLDING = "location /held {{ proxy_pass http://127.0.0.1:{port}; }}"
protocols = pytest.mark.parametrize("protocol", BOTH_VERSIONS)


@pytest.fixture
def holding(nginx, backend):
    """Start nginx so that /held is answered when three requests are there: on a connection each."""

    def start(**options):
        behind = backend(lambda came: came >= CONNECTIONS)
        return nginx(verify_client="on", locations=HOLDING.format(port=behind.port), **options)

    return start


def warm(session, server, *args, **options):
    """Warm the session's adapter for the server."""
    return session.get_adapter(server.url).warm(server.url, *args, session=session, **options)


def three_calls(session, server):
    """GET, POST and GET at once; return the responses."""

    def call(method):
        return lambda: session.request(method, server.url + "/held", timeout=LONG_TIMEOUT)

    return at_once([call(method) for method in ("GET", "POST", "GET")])


def wait_for_warmers():
    """Wait until nobody warms in the background any more; return whether somebody still does."""
    warmers = [thread for thread in threading.enumerate() if thread.name == "resilient_transport-warm"]
    for thread in warmers:
        thread.join(LONG_TIMEOUT)
    return any(thread.is_alive() for thread in warmers)


@protocols
@pytest.mark.parametrize("tickets", [True, False])
def test_the_calls_after_warming_make_no_connection(holding, dial, protocol, tickets):
    """Three connections, no request; then three calls at once, POST included, use just these."""
    server = holding(protocols=[protocol], tickets=tickets)
    session = dial()

    found = warm(session, server, CONNECTIONS)
    before = server.connections(), server.access_log()
    answers = three_calls(session, server)

    accesses = server.access_log(at_least=CONNECTIONS)
    assert before == (CONNECTIONS, [])
    assert [(one.tls_version, one.reused) for one in found] == [(protocol, False)] * CONNECTIONS
    assert [answer.text for answer in answers] == ["ok"] * CONNECTIONS
    assert all(attempts_of(answer)[0].reused for answer in answers)
    assert len({access.connection for access in accesses}) == server.connections() == CONNECTIONS


@protocols
def test_without_warming_the_calls_connect(holding, dial, protocol):
    """The control: the same three calls make their connections themselves."""
    server = holding(protocols=[protocol])
    session = dial()

    before = server.connections()
    answers = three_calls(session, server)

    assert before == 0
    assert [answer.text for answer in answers] == ["ok"] * CONNECTIONS
    assert not any(attempts_of(answer)[0].reused for answer in answers)
    assert server.connections() == CONNECTIONS


@protocols
def test_what_nginx_has_sent_unasked_spoils_no_connection(nginx, dial, protocol):
    """Tickets lie unread on a warmed TLS 1.3 connection; it is taken all the same, call after call."""
    server = nginx(verify_client="on", protocols=[protocol])
    session = dial()

    warm(session, server)
    answers = [
        session.request(method, server.url, timeout=LONG_TIMEOUT) for method in ("POST", "GET", "POST")
    ]

    assert all(attempts_of(answer)[0].reused for answer in answers)
    assert len({access.connection for access in server.access_log(at_least=3)}) == server.connections() == 1


@protocols
def test_a_warmed_connection_that_was_cut_is_not_used(nginx, dial, protocol):
    """The control: when its worker is dead the connection is, and a POST finds that out before it is sent."""
    server = nginx(verify_client="on", protocols=[protocol])
    session = dial()

    warm(session, server)
    server.kill_worker()
    answer = session.post(server.url, timeout=LONG_TIMEOUT)

    assert answer.text == "ok"
    assert [attempt.reused for attempt in attempts_of(answer)] == [False]
    assert server.connections() == 2


@protocols
def test_in_the_background_it_returns_at_once(holding, dial, protocol):
    """Nothing is returned; when the thread has ended, the calls make no connection."""
    server = holding(protocols=[protocol])
    session = dial()

    found = warm(session, server, CONNECTIONS, background=True)
    still_warming = wait_for_warmers()
    before = server.connections(), server.access_log()
    answers = three_calls(session, server)

    assert (found, still_warming) == ((), False)
    assert before == (CONNECTIONS, [])
    assert all(attempts_of(answer)[0].reused for answer in answers)
    assert server.connections() == CONNECTIONS


@protocols
@pytest.mark.usefixtures("thrifty")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_call_takes_the_connection_that_is_under_way(nginx, dial, protocol, method):
    """The first call after warming in the background makes no connection of its own."""
    server = nginx(verify_client="on", protocols=[protocol])
    session = dial()

    warm(session, server, background=True)
    server.wait_for(server.connections, "to be connected to")
    answer = session.request(method, server.url, timeout=LONG_TIMEOUT)
    still_warming = wait_for_warmers()

    assert (answer.text, still_warming) == ("ok", False)
    assert server.connections() == 1


@protocols
def test_warming_finds_what_is_there_and_resumes_for_the_rest(nginx, dial, protocol):
    """After a call, of three warm connections one is that call's, and the others resume its TLS session."""
    server = nginx(verify_client="on", protocols=[protocol], tickets=False, cache="shared:all:1m")
    session = dial()

    assert session.get(server.url, timeout=LONG_TIMEOUT).ok
    found = warm(session, server, CONNECTIONS)

    assert [(one.reused, one.tls_resumed) for one in found] == [(True, False), (False, True), (False, True)]
    assert server.connections() == CONNECTIONS


@protocols
def test_a_refused_certificate_is_found_out_by_warming(haproxy, dial, authority, protocol):
    """What HAProxy says of the certificate, `warm` raises; in the background the next call does."""
    server = haproxy(verify_client="required", protocols=[protocol])
    session = dial(cert=authority.expired_client)

    with pytest.raises(ClientCertificateRejected) as told:
        warm(session, server, CONNECTIONS)
    registry.clear()  # a refusal is remembered for a moment
    in_background = warm(session, server, background=True)
    still_warming = wait_for_warmers()
    registry.clear()
    with pytest.raises(ClientCertificateRejected) as told_again:
        session.post(server.url, timeout=LONG_TIMEOUT)

    assert (in_background, still_warming) == ((), False)
    assert told.value.alert == told_again.value.alert == "certificate_expired"
    # On a busy machine the first may pass for accepted, before the refusal comes, and the others are made.
    assert 3 <= server.connections() <= 2 + CONNECTIONS


@protocols
def test_warming_with_the_right_certificate_raises_nothing(haproxy, dial, protocol):
    """The control: there it makes the connections, with tickets or without."""
    server = haproxy(verify_client="required", protocols=[protocol], tickets=False)
    session = dial()

    found = warm(session, server, CONNECTIONS)

    assert [one.reused for one in found] == [False] * CONNECTIONS
    assert server.connections() == CONNECTIONS
