"""A server that refuses the client certificate says so, every time, and is asked once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ClientCertificateRejected, ResilientAdapter, registry
from resilient_transport.gate import cold_start
from resilient_transport.testing import FaultServer, Script
from tests.timeouts import LONG_TIMEOUT

TRIES = 50
AT_ONCE = 16
ALERTS = {
    ("1.3", "none"): "certificate_required",
    ("1.2", "none"): "handshake_failure",
    ("1.3", "stranger"): "unknown_ca",
    ("1.2", "stranger"): "unknown_ca",
    ("1.3", "expired"): "certificate_expired",
    ("1.2", "expired"): "certificate_expired",
}


@pytest.fixture(scope="module", params=["1.2", "1.3"])
def strict(request, authority):
    """A server that demands a client certificate, with this version of TLS."""
    with FaultServer(authority=authority, max_tls=request.param) as server:
        yield server


@pytest.fixture(params=["none", "stranger", "expired"])
def refused(request, strict):
    """What the server refuses, and the alert with which it does."""
    authority = strict.authority
    shown = {"none": None, "stranger": authority.stranger_client, "expired": authority.expired_client}
    strict.play(Script())
    return shown[request.param], ALERTS[strict.options.max_tls, request.param]


def error_of(server, method, cert, adapter):
    """How a call ends that shows this certificate."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = server.authority.ca_file, cert
        session.mount("https://", adapter)
        try:
            return session.request(method, server.url + "/words/1")
        except requests.RequestException as error:
            return error


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_each_refusal_is_told_as_one(strict, refused, method):
    """50 of 50 cold calls: the alert, after at most two connections each; nothing was executed."""
    cert, alert = refused
    errors = []
    for _ in range(TRIES):
        registry.clear()
        errors.append(error_of(strict, method, cert, ResilientAdapter()))

    assert {(type(error), error.alert) for error in errors} == {(ClientCertificateRejected, alert)}
    assert strict.counts().accepts <= 2 * TRIES
    assert not strict.executions()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_calls_at_once_share_a_refusal(strict, refused, method, monkeypatch):
    """16 in parallel: each has an exception of its own, after at most two handshakes in all."""
    # However late a busy machine lets one of them begin.
    monkeypatch.setattr(cold_start, "HOLDS", LONG_TIMEOUT)
    cert, alert = refused
    adapter = ResilientAdapter()
    together = threading.Barrier(AT_ONCE)

    def call(_):
        together.wait(LONG_TIMEOUT)
        return error_of(strict, method, cert, adapter)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        errors = list(threads.map(call, range(AT_ONCE)))

    assert {(type(error), error.alert) for error in errors} == {(ClientCertificateRejected, alert)}
    assert len({id(error) for error in errors}) == AT_ONCE
    assert strict.counts().accepts <= 2


def test_stock_tells_less_and_asks_again(strict, refused):
    """The control: requests' SSLError or ConnectionError, and with `Retry(3)` four connections."""
    cert, _ = refused
    plain = error_of(strict, "GET", cert, HTTPAdapter())
    once = strict.counts().accepts
    error_of(strict, "GET", cert, HTTPAdapter(max_retries=Retry(3)))

    assert type(plain) in (requests.exceptions.SSLError, requests.ConnectionError)
    assert (once, strict.counts().accepts) == (1, 5)
