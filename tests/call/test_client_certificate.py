"""A refused client certificate: what the exception says of it, and what it does not."""

import pickle
import ssl

import pytest
import requests
from urllib3.exceptions import MaxRetryError
from urllib3.exceptions import SSLError as UpstreamSSLError

from resilient_transport import ClientCertificateRejected
from resilient_transport.call.client_certificate import rejection
from resilient_transport.retry.causes import certificate_alert

SECRET = "Bearer 8f14e45fceea167a"


def tls_error(reason, answered=False):
    """An error as OpenSSL reports an alert."""
    error = ssl.SSLError(1, f"[SSL: {reason}] told so (_ssl.c:1020)")
    error.reason = reason
    if answered:
        error.answered = True
    return error


def stock_error(inner):
    """The same as requests raises it."""
    request = requests.Request("GET", "https://localhost/?q=1", headers={"Authorization": SECRET}).prepare()
    return requests.exceptions.SSLError(MaxRetryError(None, "/", UpstreamSSLError(inner)), request=request)


@pytest.mark.parametrize(
    ("reason", "answered", "alert"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", False, "certificate_required"),
        ("TLSV1_ALERT_UNKNOWN_CA", False, "unknown_ca"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", False, "certificate_expired"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", False, "certificate_revoked"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", False, "bad_certificate"),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", False, "certificate_unknown"),
        ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", False, "unsupported_certificate"),
        ("TLSV1_ALERT_ACCESS_DENIED", False, "access_denied"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", True, "handshake_failure"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", False, None),
        ("TLSV1_ALERT_PROTOCOL_VERSION", False, None),
        ("CERTIFICATE_VERIFY_FAILED", False, None),
        (None, False, None),
    ],
)
def test_an_alert_is_about_the_client(reason, answered, alert):
    """As RFC 8446 spells it; handshake_failure only after the server had answered (TLS 1.2)."""
    assert certificate_alert(tls_error(reason, answered)) == alert


def test_the_certificate_is_named(authority):
    """Subject, expiry and file of what was shown, the alert, and what to do."""
    path, key = authority.expired_client
    error = rejection(
        stock_error(tls_error("SSLV3_ALERT_CERTIFICATE_EXPIRED")), "https://api.test", (path, key), False
    )

    assert type(error) is ClientCertificateRejected
    assert isinstance(error, requests.exceptions.SSLError)
    assert error.alert == "certificate_expired"
    assert "CN=" in error.subject
    assert error.not_after.endswith("GMT")
    assert str(error) == (
        f"https://api.test refused the client certificate (TLS alert certificate_expired): {error.subject}, "
        f"expired {error.not_after}, from {path}. Renew it; a replaced file is noticed within a second."
    )


def test_a_certificate_that_is_missing_is_asked_for():
    """Without `cert=` the cure is to give one."""
    error = rejection(
        stock_error(tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED")), "https://api.test", None, False
    )

    assert (error.subject, error.not_after) == (None, None)
    assert str(error).endswith("none was shown. Give one in cert=(certificate, key).")


def test_a_context_of_the_callers_own_is_not_looked_into():
    """Its certificate cannot be read back; the message says where it is."""
    error = rejection(stock_error(tls_error("TLSV1_ALERT_UNKNOWN_CA")), "https://api.test", None, True)

    assert "that of ssl_context=. The server does not trust its issuer" in str(error)


@pytest.mark.parametrize("content", ["no certificate", None])
def test_a_file_that_cannot_be_read_is_named_alone(tmp_path, content):
    """It was replaced or removed since: the message has its path, and no subject."""
    path = tmp_path / "client.pem"
    if content is not None:
        path.write_text(content)
    error = rejection(stock_error(tls_error("TLSV1_ALERT_UNKNOWN_CA")), "https://api.test", str(path), False)

    assert error.subject is None
    assert f"(TLS alert unknown_ca): {path}. The server" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        stock_error(tls_error("CERTIFICATE_VERIFY_FAILED")),
        stock_error(tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE")),
        requests.exceptions.ProxyError(UpstreamSSLError(tls_error("TLSV1_ALERT_UNKNOWN_CA"))),
        requests.ConnectionError("reset"),
    ],
    ids=["server's certificate", "no common cipher", "proxy's refusal", "reset"],
)
def test_other_errors_stay_as_they_are(error):
    """The control: nothing else is taken for a refused client certificate."""
    assert rejection(error, "https://api.test", None, False) is error


def test_it_pickles_without_the_request():
    """Alert and subject arrive; headers stay behind."""
    error = rejection(stock_error(tls_error("TLSV1_ALERT_UNKNOWN_CA")), "https://api.test", None, False)
    data = pickle.dumps(error)
    copy = pickle.loads(data)

    assert (type(copy), str(copy), copy.alert) == (ClientCertificateRejected, str(error), "unknown_ca")
    assert SECRET.encode() not in data
    assert error.request.headers["Authorization"] == SECRET
