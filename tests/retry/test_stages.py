"""The replay table, cell by cell, and what chooses its row and its column."""

import itertools
import socket
import ssl
from dataclasses import FrozenInstanceError
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

from resilient_transport.retry.stages import (
    IDEMPOTENT,
    TABLE,
    Cause,
    Column,
    Failure,
    Situation,
    Stage,
    Verdict,
    classify,
    column,
)
from tests.retry.values import raised_from, tls, unexplained

BEFORE_THE_REQUEST = (
    Stage.QUEUE,
    Stage.RESOLVE,
    Stage.CONNECT,
    Stage.TUNNEL,
    Stage.HANDSHAKE,
    Stage.CONFIRM,
)
#: Where an attempt can fail. "done" is what a good answer is called.
FAILING = (*BEFORE_THE_REQUEST, Stage.REQUEST, Stage.BODY, Stage.STATUS)

#: The design's table: may it be sent again? By column: idempotent, others, others opted in.
DESIGN = {
    Situation.EARLY: (True, True, True),
    Situation.FATAL: (False, False, False),
    Situation.REQUEST: (True, False, True),
    Situation.REUSED: (True, False, True),
    Situation.STATUS: (True, False, True),
    Situation.MISDIRECTED: (True, True, True),
    Situation.BODY: (True, False, True),
    Situation.SPENT: (False, False, False),
}


def refused():
    """Return the error of a port where nobody listens."""
    return ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize("situation", Situation)
@pytest.mark.parametrize("where", Column)
def test_each_cell_says_what_the_design_says(situation, where):
    """Every cell of the table permits a repetition exactly where the design's table does."""
    permitted = TABLE[situation][where.value] is not Verdict.NO

    assert permitted is DESIGN[situation][where.value]


def test_the_table_has_a_cell_for_every_case():
    """No situation is without a row, and no row without its three columns."""
    assert set(TABLE) == set(Situation)
    assert {len(row) for row in TABLE.values()} == {len(Column)}
    assert [where.value for where in Column] == [0, 1, 2]


def test_only_a_reused_connection_is_repeated_at_once():
    """Backoff is left out where a server closed an idle connection, and in no other row."""
    rows = [situation for situation, row in TABLE.items() if Verdict.AT_ONCE in row]

    assert rows == [Situation.REUSED]
    assert TABLE[Situation.REUSED][Column.IDEMPOTENT.value] is Verdict.AT_ONCE


def test_only_a_misdirected_request_is_repeated_once():
    """421 has one repetition in every column, and nothing else is bounded by the table."""
    rows = [situation for situation, row in TABLE.items() if Verdict.ONCE in row]

    assert rows == [Situation.MISDIRECTED]
    assert set(TABLE[Situation.MISDIRECTED]) == {Verdict.ONCE}


def test_stages_are_ranked_in_the_order_they_are_passed():
    """A later stage has a higher rank, so that the furthest failure can be found."""
    ranks = [stage.rank for stage in (*FAILING, Stage.DONE)]

    assert ranks == list(range(len(Stage)))


def test_stages_have_their_names():
    """They are what attempts, logs and pickles say, as text on every version of Python."""
    names = [
        "queue",
        "resolve",
        "connect",
        "tunnel",
        "handshake",
        "confirm",
        "request",
        "body",
        "status",
        "done",
    ]

    assert [str(stage) for stage in Stage] == [f"{stage}" for stage in Stage] == names
    assert [Stage(name) for name in names] == list(Stage)


def test_causes_are_words_for_a_sentence():
    """They stand in the reasons that a decision gives."""
    assert [str(cause) for cause in Cause] == [f"{cause}" for cause in Cause]
    assert {str(cause) for cause in Cause} == {
        "name not found",
        "connection refused",
        "timed out",
        "reset or closed",
        "TLS failure",
        "certificate or TLS set-up refused",
        "refused by the proxy",
        "bad header",
        "an answer that cannot be parsed",
        "status",
        "misdirected",
    }


def expected_situation(stage, cause, reused, spent):
    """Return the row by the rules at the top of the module, in words of the test's own."""
    if cause in (Cause.CERTIFICATE, Cause.DENIED, Cause.INVALID, Cause.UNPARSABLE):
        return Situation.FATAL
    if spent:
        return Situation.SPENT
    if stage is Stage.STATUS:
        return {Cause.MISDIRECTED: Situation.MISDIRECTED}.get(cause, Situation.STATUS)
    late = {Stage.REQUEST: (Situation.REQUEST, Situation.REUSED)[reused], Stage.BODY: Situation.BODY}
    return late.get(stage, Situation.EARLY)


@pytest.mark.parametrize("stage", FAILING)
def test_the_row_follows_from_the_record(stage):
    """Stage, cause, reuse and a spent body choose the row, in every combination."""
    cases = list(itertools.product(Cause, (False, True), (False, True)))
    rows = [Failure(stage, cause, reused, spent).situation for cause, reused, spent in cases]

    assert rows == [expected_situation(stage, *case) for case in cases]


@pytest.mark.parametrize(
    ("failure", "row"),
    [
        (Failure(Stage.CONNECT, Cause.REFUSED), Situation.EARLY),
        (Failure(Stage.HANDSHAKE, Cause.RESET), Situation.EARLY),
        (Failure(Stage.HANDSHAKE, Cause.CERTIFICATE), Situation.FATAL),
        (Failure(Stage.TUNNEL, Cause.DENIED), Situation.FATAL),
        (Failure(Stage.REQUEST, Cause.CERTIFICATE, spent=True), Situation.FATAL),
        (Failure(Stage.REQUEST, Cause.RESET), Situation.REQUEST),
        (Failure(Stage.REQUEST, Cause.TLS), Situation.REQUEST),
        (Failure(Stage.REQUEST, Cause.TIMEOUT, reused=True), Situation.REUSED),
        (Failure(Stage.REQUEST, Cause.RESET, reused=True, spent=True), Situation.SPENT),
        (Failure(Stage.BODY, Cause.RESET, reused=True), Situation.BODY),
        (Failure(Stage.STATUS, Cause.STATUS, status=503), Situation.STATUS),
        (Failure(Stage.STATUS, Cause.MISDIRECTED, status=421), Situation.MISDIRECTED),
        (Failure(Stage.STATUS, Cause.MISDIRECTED, spent=True, status=421), Situation.SPENT),
    ],
)
def test_rows_by_example(failure, row):
    """The control of the rules above: the same, spelled out case by case."""
    assert failure.situation is row


def test_the_same_error_at_another_stage_is_another_row():
    """The row comes from what the wire recorded and not from the exception."""
    cause = classify(RemoteDisconnected("Remote end closed connection without response"))
    rows = [Failure(stage, cause).situation for stage in (Stage.CONFIRM, Stage.REQUEST, Stage.BODY)]

    assert rows == [Situation.EARLY, Situation.REQUEST, Situation.BODY]


@pytest.mark.parametrize("method", sorted(IDEMPOTENT))
@pytest.mark.parametrize("opted_in", [False, True])
def test_idempotent_methods_have_a_column_of_their_own(method, opted_in):
    """Whether the caller opted in makes no difference to them, nor does the case of their letters."""
    assert column(method, IDEMPOTENT, opted_in) is Column.IDEMPOTENT
    assert column(method.lower(), None, opted_in) is Column.IDEMPOTENT


def test_the_idempotent_methods_are_those_of_the_standards():
    """RFC 9110 section 9.2.2, and QUERY by RFC 10008; POST and PATCH are none of them."""
    assert sorted(IDEMPOTENT) == ["DELETE", "GET", "HEAD", "OPTIONS", "PUT", "QUERY", "TRACE"]


@pytest.mark.parametrize("method", ["POST", "patch", "LOCK", ""])
@pytest.mark.parametrize(
    ("allowed", "opted_in", "expected"),
    [
        (IDEMPOTENT, False, Column.UNSAFE),
        (IDEMPOTENT, True, Column.OPTED_IN),
        (None, False, Column.OPTED_IN),
        ({"POST", "PATCH", "LOCK", ""}, False, Column.OPTED_IN),
        (set(), False, Column.UNSAFE),
        (set(), True, Column.OPTED_IN),
    ],
)
def test_other_methods_are_unsafe_until_opted_in(method, allowed, opted_in, expected):
    """By the policy, by a list that names them, or by a list of everything."""
    assert column(method, allowed, opted_in) is expected


def test_an_idempotent_method_can_be_taken_off_the_list():
    """A list without GET makes GET unsafe, as urllib3's `allowed_methods` does."""
    assert column("GET", {"HEAD"}, False) is Column.UNSAFE
    assert column("GET", {"HEAD"}, True) is Column.OPTED_IN


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
    (OSError(113, "No route to host"), Cause.RESET),
    (
        raised_from(urllib3_errors.NewConnectionError(None, "no route"), OSError(113, "No route to host")),
        Cause.RESET,
    ),
    (urllib3_errors.NewConnectionError(None, "it says nothing"), Cause.RESET),
    (RemoteDisconnected("Remote end closed connection without response"), Cause.RESET),
    (BadStatusLine("nonsense"), Cause.UNPARSABLE),
    (LineTooLong("header line"), Cause.UNPARSABLE),
    (UnknownProtocol("HTTP/7.9"), Cause.UNPARSABLE),
    (HTTPException("got more than 100 headers"), Cause.UNPARSABLE),
    (urllib3_errors.ProtocolError("Connection broken", NO_CHUNK), Cause.UNPARSABLE),
    (IncompleteRead(b"ha", 4), Cause.RESET),
    (urllib3_errors.IncompleteRead(2, 2), Cause.RESET),
    (urllib3_errors.ProtocolError("Connection broken"), Cause.RESET),
    (tls("UNEXPECTED_EOF_WHILE_READING", ssl.SSLEOFError), Cause.RESET),
    (unexplained(ssl.SSLZeroReturnError, 6, "TLS/SSL connection has been closed (EOF)"), Cause.RESET),
    (tls("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"), Cause.TLS),
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
        (400, Cause.DENIED),
        (403, Cause.DENIED),
        (407, Cause.DENIED),
        (408, Cause.RESET),
        (429, Cause.RESET),
        (499, Cause.DENIED),
        (500, Cause.RESET),
        (502, Cause.RESET),
        (503, Cause.RESET),
    ],
)
def test_a_proxy_that_denies_the_tunnel_does_not_heal(status, cause):
    """A client error in answer to CONNECT lasts, but for "request timeout" and "too many requests"."""
    assert classify(OSError(f"Tunnel connection failed: {status} Because")) is cause


def test_only_http_clients_own_words_deny_a_tunnel():
    """The control: the same number elsewhere, and the same words in another error, are the wire's."""
    assert classify(OSError("It failed: Tunnel connection failed: 403")) is Cause.RESET
    assert classify(ConnectionResetError("Tunnel connection failed: 403 Forbidden")) is Cause.RESET


#: What OpenSSL calls the alerts and errors that only a change of set-up can heal.
LASTING = [
    "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_ALERT_ACCESS_DENIED",
    "TLSV1_ALERT_DECRYPT_ERROR",
    "SSLV3_ALERT_HANDSHAKE_FAILURE",
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY",
    "TLSV1_UNRECOGNIZED_NAME",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "NO_CIPHERS_AVAILABLE",
    "DH_KEY_TOO_SMALL",
    "HTTP_REQUEST",
]


@pytest.mark.parametrize("reason", LASTING)
def test_a_lasting_alert_does_not_heal(reason):
    """Each is a certificate's cause, alone and within urllib3's wrapper, and so it is never repeated."""
    causes = [classify(tls(reason)), classify(urllib3_errors.SSLError(tls(reason)))]
    rows = {Failure(stage, cause).situation for stage in FAILING for cause in causes}

    assert causes == [Cause.CERTIFICATE, Cause.CERTIFICATE]
    assert rows == {Situation.FATAL}


@pytest.mark.parametrize("reason", LASTING)
def test_an_alert_is_matched_by_the_end_of_its_reason(reason):
    """The control: the same words with anything behind them are another alert, which may heal."""
    assert classify(tls(reason + "_NOT")) is Cause.TLS


def test_what_happened_is_frozen():
    """A failure that was recorded stays as it was."""
    failure = Failure(Stage.BODY, Cause.RESET)

    with pytest.raises(FrozenInstanceError):
        failure.stage = Stage.CONNECT
    assert failure == Failure(
        Stage.BODY, Cause.RESET, reused=False, spent=False, status=None, retry_after=None
    )
