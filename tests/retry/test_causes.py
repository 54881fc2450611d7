"""What was met names a cause, and the cause a limit."""

import errno
import socket
import ssl
from http.client import (
    BadStatusLine,
    HTTPException,
    IncompleteRead,
    LineTooLong,
    RemoteDisconnected,
    UnknownProtocol,
)
from types import SimpleNamespace

import pytest
from urllib3 import exceptions as urllib3_errors
from urllib3.util.ssl_match_hostname import CertificateError

from resilient_transport.retry.causes import CAUSES, DEFAULT_LIMITS, LASTING, Cause, cause_at, classify
from tests.missing import require
from tests.retry.values import raised_from, tls, unexplained


def refused():
    """Return the error of a port where nobody listens."""
    return ConnectionRefusedError(111, "Connection refused")


NOT_FOUND = urllib3_errors.NameResolutionError(
    "nowhere", None, socket.gaierror(-2, "Name or service not known")
)
#: As urllib3 says it: a line that came in the place of a chunk's size.
NO_CHUNK = urllib3_errors.InvalidChunkLength(
    SimpleNamespace(tell=lambda: 0, length_remaining=None), b"<html>"
)
PAIRS = [
    (NOT_FOUND, Cause.NAME),
    (raised_from(NOT_FOUND, socket.gaierror(-2, "Name or service not known")), Cause.NAME),
    (refused(), Cause.REFUSED),
    (raised_from(urllib3_errors.NewConnectionError(None, "refused"), refused()), Cause.REFUSED),
    (TimeoutError("timed out"), Cause.TIMEOUT),
    (urllib3_errors.ConnectTimeoutError(None, "timed out"), Cause.TIMEOUT),
    (urllib3_errors.ReadTimeoutError(None, "/", "Read timed out."), Cause.TIMEOUT),
    (raised_from(urllib3_errors.NewConnectionError(None, "slow"), TimeoutError("timed out")), Cause.TIMEOUT),
    (ConnectionResetError(104, "Connection reset by peer"), Cause.RESET),
    (ConnectionAbortedError(103, "Software caused connection abort"), Cause.RESET),
    (BrokenPipeError(32, "Broken pipe"), Cause.RESET),
    (OSError(113, "No route to host"), Cause.UNREACHABLE),
    (
        raised_from(urllib3_errors.NewConnectionError(None, "no route"), OSError(113, "No route to host")),
        Cause.UNREACHABLE,
    ),
    (urllib3_errors.NewConnectionError(None, "it says nothing"), Cause.UNNAMED),
    (RemoteDisconnected("Remote end closed connection without response"), Cause.RESET),
    (BadStatusLine("nonsense"), Cause.UNPARSABLE),
    (LineTooLong("header line"), Cause.UNPARSABLE),
    (UnknownProtocol("HTTP/7.9"), Cause.UNPARSABLE),
    (HTTPException("got more than 100 headers"), Cause.UNPARSABLE),
    (urllib3_errors.ProtocolError("Connection broken", NO_CHUNK), Cause.UNPARSABLE),
    (
        urllib3_errors.ProtocolError("Response chunk size line exceeded maximum allowed length"),
        Cause.UNPARSABLE,
    ),
    (IncompleteRead(b"ha", 4), Cause.RESET),
    (urllib3_errors.IncompleteRead(2, 2), Cause.RESET),
    (urllib3_errors.ProtocolError("Connection broken"), Cause.RESET),
    (tls("UNEXPECTED_EOF_WHILE_READING", ssl.SSLEOFError), Cause.RESET),
    (unexplained(ssl.SSLZeroReturnError, 6, "TLS/SSL connection has been closed (EOF)"), Cause.RESET),
    (tls("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"), Cause.DAMAGED),
    (tls("TLSV1_ALERT_INTERNAL_ERROR"), Cause.TLS),
    (tls("BAD_RECORD_TYPE"), Cause.TLS),
    (unexplained(ssl.SSLError, 1, "unknown error (_ssl.c:1000)"), Cause.TLS),
    (urllib3_errors.SSLError(tls("SSLV3_ALERT_BAD_RECORD_MAC")), Cause.TLS),
    (urllib3_errors.SSLError(tls("UNEXPECTED_EOF_WHILE_READING", ssl.SSLEOFError)), Cause.RESET),
    (tls("CERTIFICATE_VERIFY_FAILED", ssl.SSLCertVerificationError), Cause.CERTIFICATE),
    (
        urllib3_errors.SSLError(tls("CERTIFICATE_VERIFY_FAILED", ssl.SSLCertVerificationError)),
        Cause.CERTIFICATE,
    ),
    (CertificateError("hostname 'a' doesn't match 'b'"), Cause.CERTIFICATE),
    (urllib3_errors.SSLError("Fingerprints did not match"), Cause.CERTIFICATE),
    (urllib3_errors.SSLError(), Cause.CERTIFICATE),
]


@pytest.mark.parametrize(("error", "cause"), PAIRS, ids=lambda value: repr(value)[:60])
def test_an_error_has_its_cause(error, cause):
    """The error as the wire met it names the cause, within a wrapper of urllib3's or without."""
    assert classify(error) is cause


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        *((status, Cause.UNREADY) for status in (408, 429, 502, 503, 504)),
        *((status, Cause.DENIED) for status in (302, 400, 403, 404, 407, 421, 499, 500, 501, 505, 511)),
    ],
)
def test_the_status_of_connect_is_named(status, cause):
    """A proxy that is not ready may be ready soon; what else it says, it says again."""
    assert classify(OSError(f"Tunnel connection failed: {status} Because")) is cause


def test_only_http_clients_own_words_deny_a_tunnel():
    """The control: the same number elsewhere, and the same words in another error, are the wire's."""
    assert classify(OSError("It failed: Tunnel connection failed: 403")) is Cause.UNNAMED
    assert classify(ConnectionResetError("Tunnel connection failed: 403 Forbidden")) is Cause.RESET


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        ("ECONNRESET ECONNABORTED EPIPE ENOTCONN", Cause.RESET),
        ("ECONNREFUSED", Cause.REFUSED),
        ("ETIMEDOUT", Cause.TIMEOUT),
        ("EHOSTUNREACH ENETUNREACH ENETDOWN", Cause.UNREACHABLE),
        ("EADDRNOTAVAIL EADDRINUSE EACCES EPERM EAFNOSUPPORT EMFILE ENFILE EINVAL", Cause.LOCAL),
        ("ENOBUFS ENOMEM EIO EPROTO", Cause.UNNAMED),
    ],
)
def test_what_the_system_says_is_named(names, cause):
    """Alone, in urllib3's wrapper, and in the one in which it speaks of a proxy."""
    for name in names.split():
        met = OSError(getattr(errno, name), "it failed")
        wrapped = raised_from(urllib3_errors.NewConnectionError(None, "it failed"), met)
        shown = urllib3_errors.ProxyError("Cannot connect to proxy.", wrapped)

        assert {classify(met), classify(wrapped), classify(shown)} == {cause}, name


def test_what_was_said_of_an_error_hides_nothing():
    """A sentence behind the error that a wrapper holds leaves the cause as it is."""
    wrapper = urllib3_errors.ProtocolError("Connection aborted.", refused(), "Nobody listens there.")

    assert classify(wrapper) is Cause.REFUSED


def test_a_wrapper_that_was_raised_while_the_error_was_handled():
    """urllib3 leaves out the `from` where a SOCKS proxy could not be reached."""
    wrapper = urllib3_errors.NewConnectionError(None, "it failed")
    wrapper.__context__ = refused()

    assert classify(wrapper) is Cause.REFUSED


SOCKS = [
    *((f"SOCKS5Error('0x0{code}: Words')", cause) for code, cause in (
        (1, Cause.UNNAMED), (2, Cause.DENIED), (3, Cause.UNREACHABLE), (4, Cause.UNREACHABLE),
        (5, Cause.REFUSED), (6, Cause.UNREACHABLE), (7, Cause.DENIED), (8, Cause.DENIED), (9, Cause.UNNAMED),
    )),
    ("SOCKS4Error('0x5b: Request rejected or failed')", Cause.UNNAMED),
    ("SOCKS4Error('0x5d: Request rejected because of user-ids')", Cause.DENIED),
    ("SOCKS5AuthError('SOCKS5 authentication failed')", Cause.DENIED),
    ("SOCKS5AuthError('All offered SOCKS5 authentication methods were rejected')", Cause.DENIED),
    ("GeneralProxyError('Connection closed unexpectedly')", Cause.UNNAMED),
    ("GeneralProxyError('SOCKS5 proxy server sent invalid data')", Cause.UNPARSABLE),
    ("GeneralProxyError('Socket error', ConnectionResetError(104, 'reset'))", Cause.RESET),
    ("ProxyConnectionError('Error connecting', ConnectionRefusedError(111, 'refused'))", Cause.REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(("made", "cause"), SOCKS)
def test_what_a_socks_proxy_says_is_named(made, cause):
    """PySocks puts its own errors into one of general words, too."""
    socks = require("socks")
    met = eval(made, vars(socks))
    again = socks.GeneralProxyError("Socket error", eval(made, vars(socks)))

    assert [classify(met), classify(again)] == [cause, cause]


CERTIFICATE_ALERTS = [
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_ALERT_ACCESS_DENIED",
]
#: What OpenSSL calls the alerts and errors that only a change of set-up can heal.
NO_COMMON_TLS = [
    "TLSV1_ALERT_DECRYPT_ERROR",
    "TLSV1_ALERT_DECODE_ERROR",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "SSLV3_ALERT_ILLEGAL_PARAMETER",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    "TLSV13_ALERT_MISSING_EXTENSION",
    "TLSV1_UNRECOGNIZED_NAME",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "NO_CIPHERS_AVAILABLE",
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
    "DH_KEY_TOO_SMALL",
    "HTTP_REQUEST",
]
NAMED = {
    **dict.fromkeys(CERTIFICATE_ALERTS, Cause.CLIENT_CERTIFICATE),
    **dict.fromkeys(NO_COMMON_TLS, Cause.NO_COMMON_TLS),
}


@pytest.mark.parametrize("reason", NAMED)
def test_a_lasting_alert_does_not_heal(reason):
    """Alone, within urllib3's wrapper, and in pyOpenSSL's words, in which nothing has a `reason`."""
    words = f"bad handshake: Error([('SSL routines', '', '{reason.lower().replace('_', ' ')}')])"
    met = [tls(reason), urllib3_errors.SSLError(tls(reason)), ssl.SSLError(words)]

    assert {classify(error) for error in met} == {NAMED[reason]}
    assert NAMED[reason] in LASTING


@pytest.mark.parametrize("reason", NAMED)
def test_an_alert_is_matched_by_the_end_of_its_reason(reason):
    """The control: the same words with anything behind them are another alert, which may heal."""
    assert classify(tls(reason + "_NOT")) is Cause.TLS


def test_an_error_that_python_code_has_raised_has_no_reason():
    """truststore and pyOpenSSL raise errors of `ssl` that have no `reason` at all."""
    untrusted = ssl.SSLCertVerificationError("certificate is not trusted")
    ended = ssl.SSLError("bad handshake: SysCallError(-1, 'Unexpected EOF')")
    met = {classify(untrusted), classify(urllib3_errors.SSLError(untrusted))}

    unnamed = ssl.SSLError(1, "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)")
    unnamed.reason = None

    assert met == {Cause.CERTIFICATE}
    assert classify(unnamed) is Cause.NO_COMMON_TLS
    assert classify(ended) is Cause.RESET
    assert classify(ssl.SSLError("bad handshake")) is Cause.TLS


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "SSLV3_ALERT_HANDSHAKE_FAILURE"])
def test_two_that_have_understood_each_other_have_tls_in_common(reason):
    """What is no record then, came damaged; before, it never heals."""
    assert cause_at(tls(reason), is_proven=True) is Cause.DAMAGED
    assert cause_at(tls(reason), is_proven=False) is Cause.NO_COMMON_TLS
    assert cause_at(ConnectionResetError(), is_proven=True) is Cause.RESET


def test_every_cause_has_a_limit_or_never_heals():
    """Of what heals, every limit counts something; what has no name gets one repetition."""
    limits = {treatment.limit for treatment in CAUSES.values()}

    assert set(CAUSES) == set(Cause)
    assert limits - {None} == set(DEFAULT_LIMITS)
    assert DEFAULT_LIMITS[CAUSES[Cause.UNNAMED].limit] == 1


def test_causes_are_words_for_a_sentence():
    """They stand in the reasons that a decision gives."""
    assert [str(cause) for cause in Cause] == [f"{cause}" for cause in Cause]
    assert len({str(cause) for cause in Cause}) == len(Cause)
