"""May it be sent again?  TABLE is the whole answer; nothing else in the package decides it.

The rules:

1. The wire records how far an attempt got (its `Stage`) while it happens.  The row is chosen by
   that record, never by the type of the exception: a reset while the body is being sent and a close
   after all of it was sent arrive as the same `ConnectionError(ProtocolError(RemoteDisconnected))`.
2. The column is chosen by the request: its method (RFC 9110 section 9.2.2; QUERY by RFC 10008) and
   whether the caller opted in.
3. Before the first byte of the request has left, repeating is safe for every method.
4. What never heals (a bad certificate, a bad URL) is not repeated, whatever the method.
5. A request body that was touched and cannot be rewound is never sent again: it would be sent empty.

The README's table is this one; a test compares them.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from http.client import BadStatusLine, HTTPException, LineTooLong, RemoteDisconnected, UnknownProtocol
from typing import Final

from urllib3 import exceptions as urllib3_errors
from urllib3.util.ssl_match_hostname import CertificateError

#: RFC 9110 section 9.2.2, and QUERY by RFC 10008.
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})


class Stage(str, Enum):
    """How far an attempt got, in the order in which the stages are passed."""

    #: Waiting for a connection of the pool, or for leave to open one.
    QUEUE = "queue"
    RESOLVE = "resolve"
    CONNECT = "connect"
    #: The proxy: TLS with it, and its answer to CONNECT.
    TUNNEL = "tunnel"
    HANDSHAKE = "handshake"
    #: The server's first flight after a TLS 1.3 handshake, in which it refuses a certificate.
    CONFIRM = "confirm"
    #: From the first byte of the request sent to the last byte of the response's head.
    REQUEST = "request"
    BODY = "body"
    #: A whole response came, and its status says that a repetition may help.
    STATUS = "status"
    #: A whole response that is handed to the caller.
    DONE = "done"

    __str__ = str.__str__

    @property
    def rank(self) -> int:
        """The stage's place in the order above, from 0."""
        return _RANKS[self]


_RANKS: Final = {stage: rank for rank, stage in enumerate(Stage)}
#: The first and the last stage of a handshake with the server.
_IN_HANDSHAKE: Final = (_RANKS[Stage.HANDSHAKE], _RANKS[Stage.CONFIRM])


class Cause(str, Enum):
    """Why an attempt failed, as far as it matters for how often to repeat it."""

    NAME = "name not found"
    REFUSED = "connection refused"
    TIMEOUT = "timed out"
    RESET = "reset or closed"
    TLS = "TLS failure"
    CERTIFICATE = "certificate or TLS set-up refused"
    DENIED = "refused by the proxy"
    INVALID = "bad header"
    UNPARSABLE = "an answer that cannot be parsed"
    STATUS = "status"
    MISDIRECTED = "misdirected"

    __str__ = str.__str__


class Situation(str, Enum):
    """A row of the table."""

    EARLY = "queue, resolve, connect, tunnel, handshake, confirm"
    FATAL = "refused certificate, bad server certificate, refused by the proxy, bad URL, header or answer"
    REQUEST = "request (first byte sent to response head received)"
    REUSED = "the same on a reused connection"
    STATUS = "status 408 429 502 503 504"
    MISDIRECTED = "status 421 (misdirected)"
    BODY = "body"
    SPENT = "request body touched and not rewindable"


class Column(Enum):
    """A column of the table."""

    IDEMPOTENT = 0
    UNSAFE = 1
    OPTED_IN = 2


class Verdict(str, Enum):
    """A cell of the table."""

    YES = "yes"
    NO = "no"
    #: The first time without backoff: the server closed an idle connection under us.
    AT_ONCE = "yes, at once"
    #: What is missing is asked for where the response allows that, else all of it again.
    RESUME = "yes, resumed if it can be"
    #: One repetition, on a new connection.
    ONCE = "once, on a new connection"


_Y, _N, _A, _R, _1 = Verdict.YES, Verdict.NO, Verdict.AT_ONCE, Verdict.RESUME, Verdict.ONCE

#: Columns: idempotent methods; the others; the others when the caller opted in.
TABLE: Final[dict[Situation, tuple[Verdict, Verdict, Verdict]]] = {
    Situation.EARLY: (_Y, _Y, _Y),
    Situation.FATAL: (_N, _N, _N),
    Situation.REQUEST: (_Y, _N, _Y),
    Situation.REUSED: (_A, _N, _A),
    Situation.STATUS: (_Y, _N, _Y),
    Situation.MISDIRECTED: (_1, _1, _1),
    Situation.BODY: (_R, _N, _Y),
    Situation.SPENT: (_N, _N, _N),
}


#: What repeats for as long as nobody changes something.
_LASTING_CAUSES: Final = (Cause.CERTIFICATE, Cause.DENIED, Cause.INVALID, Cause.UNPARSABLE)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, as the wire recorded it."""

    #: Where it failed.
    stage: Stage
    #: Why it failed.
    cause: Cause
    #: Whether its connection had carried a request before.
    reused: bool = False
    #: Whether a request body that cannot be rewound was touched.
    spent: bool = False
    #: The response's status, for the stage `STATUS`.
    status: int | None = None
    #: What the response's Retry-After asks for, in seconds.
    retry_after: float | None = None
    #: Whether it was another caller's, whom this one had waited for.
    borrowed: bool = False
    #: Whether the pool pauses before it connects again, so that the caller need not.
    paced: bool = False
    #: Whether the server had accepted no connection yet.
    cold: bool = False

    @property
    def was_reset_in_handshake(self) -> bool:
        """Whether the server was reached, and has reset or closed the connection before the request."""
        return self.cause is Cause.RESET and _IN_HANDSHAKE[0] <= self.stage.rank <= _IN_HANDSHAKE[1]

    @property
    def situation(self) -> Situation:
        """The row of the table that this failure belongs to."""
        if self.cause in _LASTING_CAUSES:
            return Situation.FATAL
        if self.spent:
            return Situation.SPENT
        if self.stage is Stage.STATUS:
            return Situation.MISDIRECTED if self.cause is Cause.MISDIRECTED else Situation.STATUS
        if self.stage is Stage.REQUEST:
            return Situation.REUSED if self.reused else Situation.REQUEST
        return Situation.BODY if self.stage is Stage.BODY else Situation.EARLY


def column(method: str, allowed: Collection[str] | None, opted_in: bool) -> Column:
    """Choose the column: `allowed` are the methods that may be repeated (None: every one)."""
    method = method.upper()
    listed = allowed is None or method in allowed
    if listed and method in IDEMPOTENT:
        return Column.IDEMPOTENT
    return Column.OPTED_IN if listed or opted_in else Column.UNSAFE


#: TLS alerts and errors that repeat for as long as nobody changes the set-up of either side.
#: Matched against the end of OpenSSL's reason, whose prefix (TLSV1_, SSLV3_) differs by version.
_LASTING: Final = (
    "ALERT_CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_UNSUPPORTED_CERTIFICATE",
    "ALERT_CERTIFICATE_REVOKED",
    "ALERT_CERTIFICATE_EXPIRED",
    "ALERT_CERTIFICATE_UNKNOWN",
    "ALERT_UNKNOWN_CA",
    "ALERT_ACCESS_DENIED",
    "ALERT_DECRYPT_ERROR",
    "ALERT_HANDSHAKE_FAILURE",
    "ALERT_PROTOCOL_VERSION",
    "ALERT_INSUFFICIENT_SECURITY",
    "UNRECOGNIZED_NAME",
    "ALERT_NO_APPLICATION_PROTOCOL",
    "WRONG_VERSION_NUMBER",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
    "NO_CIPHERS_AVAILABLE",
    "DH_KEY_TOO_SMALL",
    "HTTP_REQUEST",
)

#: Alerts with which a server refuses a client certificate (RFC 8446 section 6.2), as OpenSSL spells them.
_ABOUT_THE_CLIENT: Final = re.compile(
    r"ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED"
    r"|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)$"
)


def certificate_alert(error: ssl.SSLError) -> str | None:
    """The alert, as RFC 8446 spells it, with which the server refused the client certificate, if it did.

    In TLS 1.2 a server that misses one says handshake_failure (RFC 5246 section 7.4.6). That is about the
    certificate when the server had chosen a cipher before, which the wire notes as `answered`.
    """
    found = _ABOUT_THE_CLIENT.search(error.reason or "")
    if found is None or (found[1] == "HANDSHAKE_FAILURE" and not getattr(error, "answered", False)):
        return None
    return found[1].lower()


#: What `http.client` says of a proxy that answers CONNECT with a status other than 200. A client error does
#: not heal, but for "request timeout" and "too many requests".
_DENIED: Final = re.compile(r"Tunnel connection failed: 4(?!08|29)\d\d")

#: The first type that fits, names the cause; what no row names is a reset or a close.
_CAUSES: Final[tuple[tuple[tuple[type[BaseException], ...], Cause], ...]] = (
    ((urllib3_errors.NameResolutionError,), Cause.NAME),
    ((urllib3_errors.InvalidHeader,), Cause.INVALID),
    ((ConnectionRefusedError,), Cause.REFUSED),
    ((TimeoutError, urllib3_errors.ReadTimeoutError), Cause.TIMEOUT),
    ((ssl.SSLCertVerificationError, CertificateError), Cause.CERTIFICATE),
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), Cause.RESET),
    ((ssl.SSLError,), Cause.TLS),
    ((urllib3_errors.SSLError,), Cause.CERTIFICATE),
    ((RemoteDisconnected,), Cause.RESET),
    ((BadStatusLine, LineTooLong, UnknownProtocol, urllib3_errors.InvalidChunkLength), Cause.UNPARSABLE),
    ((OSError, HTTPException, urllib3_errors.ProtocolError), Cause.RESET),
    ((urllib3_errors.NewConnectionError,), Cause.RESET),
    ((urllib3_errors.ConnectTimeoutError,), Cause.TIMEOUT),
)


def _root(error: BaseException) -> BaseException:
    """What urllib3 has wrapped, where the wrapper itself does not name the cause."""
    if isinstance(error, urllib3_errors.SSLError):
        inner = error.args[0] if error.args else None
        return inner if isinstance(inner, ssl.SSLError) else error
    if isinstance(error, urllib3_errors.ProtocolError):
        inner = error.args[-1] if error.args else None
        return inner if isinstance(inner, urllib3_errors.InvalidChunkLength) else error
    is_wrapper = isinstance(error, urllib3_errors.NewConnectionError)
    if (
        is_wrapper
        and error.__cause__ is not None
        and not isinstance(error, urllib3_errors.NameResolutionError)
    ):
        return error.__cause__
    return error


def classify(error: BaseException) -> Cause:
    """Name the cause of an error as the wire met it, before anybody wrapped it.

    urllib3 wraps some errors at the very place where they happen (`NewConnectionError`); then what
    they were raised from decides, where the wrapper itself says nothing.
    """
    root = _root(error)
    if _DENIED.match(str(root)) and type(root) is OSError:
        return Cause.DENIED
    if type(root) is HTTPException:
        # What `http.client` says of too many fields.
        return Cause.UNPARSABLE
    cause = next((cause for types, cause in _CAUSES if isinstance(root, types)), Cause.RESET)
    lasting = isinstance(root, ssl.SSLError) and (root.reason or "").endswith(_LASTING)
    return Cause.CERTIFICATE if lasting else cause
