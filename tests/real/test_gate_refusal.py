"""A refused client certificate: nginx says so in a response, HAProxy in an alert; neither is asked twice."""

import collections
import functools
import itertools
import math
import ssl
import time

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ClientCertificateRejected, attempts_of, registry
from resilient_transport.connection import tls_connection
from resilient_transport.connection.tls_connection import TLSConnection
from resilient_transport.gate import gate
from tests.real.conftest import at_once
from tests.real.servers import BOTH_VERSIONS
from tests.timeouts import LONG_TIMEOUT

ALONE = 50
TOGETHER = 16
TOGETHER_TRIES = 5
#: What is wrong with the certificate: the attribute of `Authority`, the alert, and the subject.
WRONG = {
    "none": (None, "certificate_required", None),
    "wrong CA": ("stranger_client", "unknown_ca", "CN=mallory"),
    "expired": ("expired_client", "certificate_expired", "CN=alice"),
}
protocols = pytest.mark.parametrize("protocol", BOTH_VERSIONS)
wrongs = pytest.mark.parametrize("wrong", WRONG)
methods = pytest.mark.parametrize("method", ["GET", "POST"])
stocks = pytest.mark.parametrize(
    ("retries", "connections"), [(0, 1), (Retry(3), 4)], ids=["stock", "Retry(3)"]
)


@pytest.fixture
def certificate(authority):
    """Return a function that finds the files of a wrong certificate, or of the right one."""

    def find(wrong):
        attribute = WRONG[wrong][0] if wrong else "client"
        return attribute and getattr(authority, attribute)

    return find


def end_of(session, method, url):
    """Make a call; return its response, or what it has raised."""
    try:
        return session.request(method, url, timeout=LONG_TIMEOUT)
    except requests.RequestException as error:
        return error


def end_anew(session, method, url):
    """The same, and not told of a refusal that somebody else has met a moment ago."""
    registry.clear()
    return end_of(session, method, url)


@protocols
@wrongs
@methods
def test_a_refusal_in_a_response_is_the_response(nginx, dial, certificate, protocol, wrong, method):
    """nginx shakes hands with anybody and answers 400: it is returned, after one connection, one request."""
    server = nginx(verify_client="on", protocols=[protocol])

    answer = dial(cert=certificate(wrong)).request(method, server.url, timeout=LONG_TIMEOUT)

    (access,) = server.access_log(at_least=1)
    (attempt,) = attempts_of(answer)
    assert (answer.status_code, attempt.stage, attempt.error) == (400, "done", None)
    assert (access.status, access.method, access.client.partition(":")[0]) == (
        400,
        method,
        "NONE" if wrong == "none" else "FAILED",
    )
    assert server.connections() == 1


@protocols
@methods
def test_the_right_certificate_is_answered(nginx, dial, certificate, protocol, method):
    """The control: with the right certificate the answer is 200."""
    server = nginx(verify_client="on", protocols=[protocol])

    answer = dial(cert=certificate(None)).request(method, server.url, timeout=LONG_TIMEOUT)

    assert answer.status_code == 200
    assert server.access_log(at_least=1)[0].client == "SUCCESS"


@protocols
@wrongs
def test_a_burst_that_nginx_refuses_gets_a_response_each(nginx, dial, certificate, protocol, wrong):
    """Sixteen at once: sixteen times 400, and sixteen requests at the server."""
    server = nginx(verify_client="on", protocols=[protocol])
    session = dial(cert=certificate(wrong))

    ends = at_once(
        [lambda: end_of(session, "GET", server.url), lambda: end_of(session, "POST", server.url)] * 8
    )

    assert [answer.status_code for answer in ends] == [400] * TOGETHER
    assert len(server.access_log(at_least=TOGETHER)) == TOGETHER


@protocols
@wrongs
@methods
def test_a_refusal_by_alert_is_told_as_such(haproxy, dial, authority, certificate, protocol, wrong, method):
    """Fifty of fifty: the alert, whose certificate it was and when it expires, after one connection each."""
    server = haproxy(verify_client="required", protocols=[protocol])
    cert = certificate(wrong)
    alert, subject = WRONG[wrong][1:]
    if wrong == "none" and protocol == "TLSv1.2":
        alert = "handshake_failure"

    told = [end_anew(dial(cert=cert), method, server.url) for _ in range(ALONE)]

    assert collections.Counter(map(type, told)) == {ClientCertificateRejected: ALONE}
    assert {error.alert for error in told} == {alert}
    assert all(error.subject is None if subject is None else subject in error.subject for error in told)
    assert {error.not_after for error in told} == {expiry(cert)}
    assert {len(attempts_of(error)) for error in told} == {1}
    assert server.connections() == ALONE
    assert issubclass(ClientCertificateRejected, requests.exceptions.SSLError)


def expiry(cert):
    """When a certificate expires, as `ssl` spells it."""
    return cert and ssl._ssl._test_decode_cert(cert[0])["notAfter"]


@protocols
@methods
def test_haproxy_answers_the_right_certificate(haproxy, dial, certificate, protocol, method):
    """The control: with the right certificate, the same call is answered."""
    server = haproxy(verify_client="required", protocols=[protocol])

    answer = dial(cert=certificate(None)).request(method, server.url, timeout=LONG_TIMEOUT)

    assert answer.text == "ok"


@protocols
@wrongs
@methods
@stocks
def test_stock_calls_it_anything_else(
    haproxy, dial, certificate, protocol, wrong, method, retries, connections
):
    """The control: stock raises a plain SSLError or ConnectionError, and `Retry(3)` connects four times."""
    server = haproxy(verify_client="required", protocols=[protocol])
    session = dial(HTTPAdapter(max_retries=retries), cert=certificate(wrong))

    error = end_of(session, method, server.url)

    assert isinstance(error, requests.exceptions.ConnectionError)
    assert not isinstance(error, ClientCertificateRejected)
    assert server.connections() == connections


@pytest.fixture
def together(monkeypatch):
    """A function after which the first to connect does so once the others of a burst wait for it."""
    ahead, connect = [], TLSConnection.connect

    def waiting():
        return sum(shared_pool.gate.waiting() for shared_pool in registry._all())

    def held(connection):
        if ahead and ahead.pop():
            until = time.monotonic() + LONG_TIMEOUT
            while waiting() < TOGETHER - 1 and time.monotonic() < until:
                time.sleep(0.001)
        connect(connection)

    monkeypatch.setattr(TLSConnection, "connect", held)
    # However long a busy machine takes for it, the refusal is waited for, and nobody is let in meanwhile.
    monkeypatch.setattr(gate, "STALLED", math.inf)
    monkeypatch.setattr(tls_connection, "PROOF_WAIT", LONG_TIMEOUT)
    return lambda: ahead.append(True)


@protocols
@wrongs
@methods
def test_a_burst_shares_the_refusal(haproxy, dial, certificate, protocol, wrong, method, together):
    """Sixteen at once, five times: each call is told, after at most two connections in all."""
    server = haproxy(verify_client="required", protocols=[protocol])
    kinds, connections = [], [0]

    for _ in range(TOGETHER_TRIES):
        registry.clear()
        together()
        call = functools.partial(end_of, dial(cert=certificate(wrong)), method, server.url)
        kinds.append(collections.Counter(map(type, at_once([call] * TOGETHER))))
        connections.append(server.connections())

    assert kinds == [{ClientCertificateRejected: TOGETHER}] * TOGETHER_TRIES
    assert all(after - before <= 2 for before, after in itertools.pairwise(connections)), connections


@protocols
def test_a_stock_burst_connects_for_each(haproxy, dial, certificate, protocol):
    """The control: stock's sixteen calls cost the server sixteen refusals."""
    server = haproxy(verify_client="required", protocols=[protocol])
    session = dial(HTTPAdapter(), cert=certificate("none"))

    told = at_once([lambda: end_of(session, "GET", server.url)] * TOGETHER)

    assert all(isinstance(error, requests.exceptions.ConnectionError) for error in told)
    assert server.connections() == TOGETHER


@protocols
def test_a_refusal_slows_nobodys_next_call(haproxy, dial, certificate, protocol):
    """After a refusal the same adapter and server serve the right certificate at the first attempt."""
    server = haproxy(verify_client="required", protocols=[protocol])
    session = dial(cert=certificate("expired"))

    refused = end_of(session, "POST", server.url)
    session.cert = certificate(None)
    answer = session.post(server.url, timeout=LONG_TIMEOUT)

    assert isinstance(refused, ClientCertificateRejected)
    assert (answer.text, len(attempts_of(answer))) == ("ok", 1)
    assert server.connections() == 2
