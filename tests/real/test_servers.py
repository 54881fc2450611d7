"""The real servers do what they are configured to do, seen with plain `requests` and plain `ssl`."""

import dataclasses
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from resilient_transport.testing import Authority
from tests.real import conftest
from tests.real.servers import BOTH_VERSIONS, HAProxy, Nginx, Server, ServerFailed
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT


@pytest.fixture
def session(authority: Authority) -> Iterator[requests.Session]:
    """A plain session that trusts the tests' authority and shows no certificate."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = authority.ca_file
        yield session


def get(session: requests.Session, url: str, **options: Any) -> requests.Response:
    """GET within the time-out."""
    return session.get(url, timeout=LONG_TIMEOUT, **options)


def context_for(authority: Authority) -> ssl.SSLContext:
    """Return a client context with alice's certificate."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(*authority.client)
    # Debian's CPython 3.11.2 sets this, and a connection that was cut looks like one that was closed.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


@dataclasses.dataclass(frozen=True)
class Exchange:
    """What a client saw of one connection with one request."""

    version: str | None
    resumed: bool | None
    session: ssl.SSLSession | None


def exchange(
    server: Nginx | HAProxy, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Exchange:
    """Make one request on a connection of its own, offering a TLS session."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=LONG_TIMEOUT) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1", session=session) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        with tls.makefile("rb") as answer:
            assert b" 200 " in answer.readline()
            answer.read()
        return Exchange(tls.version(), tls.session_reused, tls.session)


@pytest.fixture(params=["nginx", "haproxy"])
def either(request: pytest.FixtureRequest) -> Any:
    """Start nginx or HAProxy: the options they share mean the same."""
    return request.getfixturevalue(request.param)


def test_nginx_that_demands_a_certificate_answers_200_with_one(nginx, session, authority):
    """The client certificate is asked for, verified and told to the log."""
    server = nginx(verify_client="on")

    response = get(session, server.url, cert=authority.client)

    assert (response.status_code, response.text) == (200, "ok")
    (access,) = server.access_log(at_least=1)
    assert (access.status, access.method, access.uri, access.client) == (200, "GET", "/", "SUCCESS")


@pytest.mark.parametrize("wrong", [None, "expired_client", "stranger_client"])
def test_nginx_that_demands_a_certificate_answers_400_otherwise(nginx, session, authority, wrong):
    """nginx finishes the handshake whatever the certificate, and refuses in a response."""
    server = nginx(verify_client="on")

    response = get(session, server.url, cert=wrong and getattr(authority, wrong))

    assert response.status_code == 400


def test_nginx_with_an_optional_certificate_answers_200_without_one(nginx, session):
    """`optional` asks and does not insist."""
    server = nginx(verify_client="optional")

    response = get(session, server.url)

    assert response.status_code == 200
    assert server.access_log(at_least=1)[0].client == "NONE"


def test_haproxy_that_requires_a_certificate_answers_200_with_one(haproxy, session, authority):
    """The control for the refusals below."""
    server = haproxy(verify_client="required")

    response = get(session, server.url, cert=authority.client)

    assert (response.status_code, response.text) == (200, "ok")


@pytest.mark.parametrize("protocol", BOTH_VERSIONS)
def test_haproxy_that_requires_a_certificate_sends_an_alert_without_one(haproxy, session, protocol):
    """A missing certificate ends the handshake with an alert, in both versions."""
    server = haproxy(verify_client="required", protocols=[protocol])

    with pytest.raises(requests.exceptions.SSLError) as caught:
        get(session, server.url)

    assert "alert" in str(caught.value).lower()


def test_a_server_without_its_ca_is_not_trusted(either, session):
    """The control for all of the above: the certificates really are checked."""
    server = either()
    session.verify = True

    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(session, server.url)


@pytest.mark.parametrize("protocol", BOTH_VERSIONS)
def test_only_the_configured_version_is_spoken(either, authority, protocol):
    """A client that speaks both gets the one the server has; one that speaks only the other gets nothing."""
    server = either(protocols=[protocol])
    other = context_for(authority)
    if protocol == "TLSv1.3":
        other.maximum_version = ssl.TLSVersion.TLSv1_2
    else:
        other.minimum_version = ssl.TLSVersion.TLSv1_3

    seen = exchange(server, context_for(authority))

    assert seen.version == protocol
    with pytest.raises(ssl.SSLError):
        exchange(server, other)


@pytest.mark.parametrize("protocol", BOTH_VERSIONS)
def test_a_session_is_resumed_with_a_ticket(either, authority, protocol):
    """With tickets on, the second connection needs no full handshake."""
    server = either(protocols=[protocol], tickets=True)
    context = context_for(authority)

    first = exchange(server, context)
    second = exchange(server, context, first.session)

    assert first.session.has_ticket
    assert [first.resumed, second.resumed] == [False, True]


@pytest.mark.parametrize("protocol", BOTH_VERSIONS)
def test_without_tickets_there_is_none(either, authority, protocol):
    """With tickets off, neither version sends one."""
    server = either(protocols=[protocol], tickets=False)

    seen = exchange(server, context_for(authority))

    assert not (seen.session and seen.session.has_ticket)


def test_nginx_logs_resumption(nginx, authority):
    """What the client sees is what the log says."""
    server = nginx()
    context = context_for(authority)

    exchange(server, context, exchange(server, context).session)

    assert [(access.resumed, access.protocol) for access in server.access_log(at_least=2)] == [
        (False, "TLSv1.3"),
        (True, "TLSv1.3"),
    ]


def test_nginx_serves_files_in_ranges(nginx, session):
    """Files have validators and ranges, also over plain http."""
    server = nginx(files={"data/ten": b"0123456789"})

    whole = get(session, server.plain_url + "/data/ten")
    part = get(
        session, server.url + "/data/ten", headers={"Range": "bytes=7-", "If-Range": whole.headers["ETag"]}
    )

    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert (part.status_code, part.content) == (206, b"789")


def test_nginx_takes_further_locations(nginx, session):
    """Anything nginx can be configured to do can be tested against."""
    server = nginx(locations="location = /busy { return 503; }")

    response = get(session, server.url + "/busy")

    assert response.status_code == 503


def test_nginx_closes_idle_connections_when_told_to(nginx):
    """After keepalive_timeout an idle connection is closed, not sooner."""
    brief, patient = nginx(keepalive_timeout=SHORT_TIMEOUT), nginx()

    with keep_alive(brief) as closed, keep_alive(patient) as kept:
        closed.settimeout(LONG_TIMEOUT)
        kept.settimeout(SHORT_TIMEOUT)

        assert closed.recv(1) == b""
        with pytest.raises(TimeoutError):
            kept.recv(1)


def keep_alive(server: Nginx) -> socket.socket:
    """Return a plain connection that has carried one request and is idle."""
    sock = socket.create_connection(("127.0.0.1", server.plain_port), timeout=LONG_TIMEOUT)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\nok"):
        answer += sock.recv(4096)
    return sock


def test_reloading_nginx_reads_its_certificate_again(nginx, session, authority):
    """After reload, new connections see the new configuration and the worker is another."""
    server = nginx()
    before = server.workers()
    assert get(session, server.url).status_code == 200

    server.certificate = authority.server("untrusted")
    server.reload()

    assert not before & server.workers()
    session.close()  # its connection stays with the worker that made it
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        get(session, server.url)


def test_killing_the_worker_cuts_its_connections(nginx, authority):
    """A connection of the killed worker ends without a goodbye; the next one is served."""
    server = nginx()
    context = context_for(authority)

    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=LONG_TIMEOUT) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False) as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert tls.recv(12) == b"HTTP/1.1 200"
        server.kill_worker()
        with tls.makefile("rb") as rest, pytest.raises((ssl.SSLError, ConnectionResetError)):
            rest.read()

    assert exchange(server, context).version == "TLSv1.3"


def test_haproxy_rejects_connections_as_told(haproxy):
    """A rejected connection is ended before TLS, and counted all the same; others are waited for."""
    strict, lenient = haproxy(reject=["if { src 127.0.0.0/8 }"]), haproxy(reject=["if { src 192.0.2.1 }"])

    assert ends(strict, within=LONG_TIMEOUT)
    assert not ends(lenient, within=SHORT_TIMEOUT)
    assert (strict.connections(), lenient.connections()) == (1, 1)


def ends(server: HAProxy, within: float) -> bool:
    """Tell whether the server ends a connection on which nothing is said; a reset can be faster than connect.

    No TLS here: on a socket that was reset already, `wrap_socket` of CPython before 3.13 leaks it.
    """
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=within) as sock:
            return sock.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_haproxy_passes_requests_on_to_nginx(haproxy, nginx, session):
    """With a backend, HAProxy is the proxy and nginx answers."""
    origin = nginx(files={"who": b"nginx"})
    server = haproxy(backend=origin.plain_port)

    response = get(session, server.url + "/who")

    assert response.content == b"nginx"


def test_haproxy_lets_only_so_many_connections_in(haproxy, session):
    """Beyond maxconn a connection waits in the backlog."""
    server = haproxy(maxconn=1, frontend=["maxconn 1"])

    with requests.Session() as other:
        other.trust_env = False
        other.verify = session.verify
        assert get(session, server.url).status_code == 200
        with pytest.raises(requests.exceptions.Timeout):
            other.get(server.url, timeout=SHORT_TIMEOUT)
        session.close()
        response = get(other, server.url)

    assert response.status_code == 200


def test_a_stopped_server_refuses_and_a_started_one_is_back(either, session):
    """stop and start are a restart: the same port, nothing listening in between."""
    server = either()
    url = server.url
    assert get(session, url).status_code == 200

    server.stop()
    with pytest.raises(requests.exceptions.ConnectionError):
        get(session, url)
    server.start()

    assert server.url == url
    assert get(session, url).status_code == 200


def test_a_server_that_does_not_start_says_why(either):
    """A mistake in the configuration ends in the server's own words, not in a time-out."""
    with pytest.raises(ServerFailed, match="no-such-protocol"):
        either(protocols=["no-such-protocol"])


def test_a_server_that_misses_its_ca_is_refused(tmp_path, authority):
    """Demanding certificates without saying whose is a mistake of the test."""
    pair = authority.server("good")

    with pytest.raises(ValueError, match="client_ca"):
        Nginx(tmp_path, certificate=pair, verify_client="on")
    with pytest.raises(ValueError, match="client_ca"):
        HAProxy(tmp_path, certificate=pair, verify_client="required")


def test_a_missing_program_skips_for_people_and_fails_in_ci(monkeypatch):
    """A green run in CI has tried every server."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed"):
        conftest.require("no-such-server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed"):
        conftest.require("no-such-server")


def test_a_server_leaves_nothing_behind(either):
    """After stop the process is gone and has been waited for."""
    server: Server = either()
    pid = server.pid

    server.stop()

    assert not Path(f"/proc/{pid}").exists()
