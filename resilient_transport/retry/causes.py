"""Why did it fail?  From what was met to a cause; from the cause to how often that is repeated.

The rules:

1. What was met is looked up in tables: the type of an error, its errno, OpenSSL's reason, the reply of a
   SOCKS proxy, the status with which a proxy answers CONNECT.
2. A cause says how often a call is repeated for it, until somebody sets a count: `CAUSES`.  What never heals
   is not repeated at all.
3. What is in no table has no name.  It gets one repetition, and is told by the name that it has elsewhere.

The table in docs/behaviour.md is `CAUSES`; a test compares them.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from enum import Enum
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, UnknownProtocol
from typing import Any, Final, NamedTuple

from urllib3 import exceptions as urllib3_errors
from urllib3.util.ssl_match_hostname import CertificateError


class Cause(str, Enum):
    """Why an attempt failed, as far as it matters for how often to repeat it."""

    RESET = "reset or closed"
    NAME = "name not found"
    REFUSED = "connection refused"
    TIMEOUT = "timed out"
    UNREACHABLE = "host unreachable"
    UNREADY = "proxy not ready"
    DAMAGED = "damaged TLS record"
    TLS = "TLS failure"
    UNNAMED = "a failure without a name"
    STATUS = "status"
    MISDIRECTED = "misdirected"
    CERTIFICATE = "server certificate not trusted"
    CLIENT_CERTIFICATE = "client certificate refused"
    ROTATED = "certificate files replaced"
    NO_COMMON_TLS = "no TLS in common"
    DENIED = "refused by the proxy"
    LOCAL = "refused by this machine"
    INVALID = "bad name or header"
    UNPARSABLE = "an answer that cannot be parsed"

    __str__ = str.__str__


class Treatment(NamedTuple):
    """How often a call is repeated for a cause, and what is said of it."""

    #: The setting that counts it; None: it never heals, and is not repeated.
    limit: str | None
    #: What belongs to it, as docs/behaviour.md says it.
    about: str
    #: What an error says of it, where `SENTENCES` has nothing more special; nothing for a response, and where
    #: stock's own words say all. `{who}` is who has failed.
    sentence: str


#: The most repetitions of a call by each setting, where nobody has set a count. What is met once the request
#: has left counts as `retries`, whatever its cause, but for a time-out and what has no name.
DEFAULT_LIMITS: Final = {
    # Before the first byte of the request, a repetition risks nothing.
    "connect_retries": 12,
    "name_retries": 2,
    # A server that restarts is back within seconds.
    "refused_retries": 5,
    "timeout_retries": 1,
    "proxy_retries": 2,
    "other_retries": 1,
    "retries": 5,
}

CAUSES: Final[dict[Cause, Treatment]] = {
    Cause.RESET: Treatment(
        "connect_retries",
        "the other side resets or closes the connection",
        "{who} reset or closed the connection {when}.",
    ),
    Cause.NAME: Treatment(
        "name_retries",
        "the name of the server, or of the proxy, is not found",
        "The name {host} was not found. Check its spelling, and the name server of this machine.",
    ),
    Cause.REFUSED: Treatment(
        "refused_retries",
        "nobody listens at the port, also as a SOCKS proxy says it",
        "{who} refused the connection. Is it running, and is the port right?",
    ),
    Cause.TIMEOUT: Treatment(
        "timeout_retries",
        "nothing comes within the time-out",
        "{who} was silent {when} for longer than the time-out. If it is only slow, raise timeout=.",
    ),
    Cause.UNREACHABLE: Treatment(
        "timeout_retries",
        "no route leads to the host, or its network is down",
        "No route leads to {who}. Check the address, and the network of this machine.",
    ),
    Cause.UNREADY: Treatment(
        "proxy_retries",
        "a proxy answers CONNECT with 408, 429, 502, 503 or 504",
        "{who} answered CONNECT with status {status}: it does not reach {origin} now.",
    ),
    Cause.DAMAGED: Treatment(
        "connect_retries",
        "a TLS record fails its checksum",
        "A TLS record was damaged on its way from {who}.",
    ),
    Cause.TLS: Treatment(
        "other_retries",
        "TLS alert internal_error, and TLS errors without a name here",
        "TLS with {who} failed {when} ({reason}).",
    ),
    Cause.UNNAMED: Treatment(
        "other_retries",
        "any other error; the attempts tell its own name",
        "The connection to {who} failed {when} ({reason}), for which there is no advice here.",
    ),
    Cause.STATUS: Treatment(
        "retries",
        "status 408, 429, 502, 503 or 504",
        "",
    ),
    Cause.MISDIRECTED: Treatment("retries", "status 421", ""),
    Cause.CERTIFICATE: Treatment(
        None,
        "a server certificate that is not trusted, expired, or of another name",
        "The certificate of {who} is not accepted ({reason}).",
    ),
    Cause.CLIENT_CERTIFICATE: Treatment(
        None,
        "a TLS alert that refuses the client's certificate",
        "{who} refused the client certificate (TLS alert {reason}).",
    ),
    Cause.ROTATED: Treatment(
        "connect_retries",
        "one of the two before, and the certificate files say something else by now: once, at once",
        "",
    ),
    Cause.NO_COMMON_TLS: Treatment(
        None,
        "no common version or cipher, or no TLS at all at that port",
        "{who} and this client cannot agree on TLS ({reason}).",
    ),
    Cause.DENIED: Treatment(
        None,
        "a proxy answers CONNECT with another status, or a SOCKS proxy refuses",
        "{who} refuses to connect to {origin} ({reason}).",
    ),
    Cause.LOCAL: Treatment(
        None,
        "a local address that is in use or not there, no permission, no descriptor",
        "This machine does not allow the connection ({reason}).",
    ),
    Cause.INVALID: Treatment(
        None,
        "a name that cannot be one, or a header that may not be sent",
        "",
    ),
    Cause.UNPARSABLE: Treatment(
        None,
        "an answer that is no HTTP, or whose head is too long",
        "{who} sent what cannot be parsed as HTTP. Is it an HTTP server, and the scheme right?",
    ),
}

#: More special sentences, by what was met: the end of OpenSSL's reason, the code with which it refuses a
#: server certificate (X509_V_ERR_...), the status of an answer to CONNECT, the name of an errno.
SENTENCES: Final[dict[tuple[str | int, ...], str]] = {
    # Names: the name server did not answer, or this machine could not ask.
    (
        "EAI",
    ): "The name {host} could not be looked up ({reason}). Does the name server of this machine answer?",
    # Server certificates.
    (
        10,
    ): "The certificate of {who} has expired. Its operator has to renew it. Is this machine's clock right?",
    (9,): "The certificate of {who} is not valid yet. Is this machine's clock right?",
    (62, 63, 64): "The certificate of {who} is for another name. Is the host name in its URL right?",
    (2, 18, 19, 20, 21): "The certificate of {who} comes from no CA in {ca}. {give_ca}",
    (23,): "The certificate of {who} was revoked. Its operator has to replace it.",
    # TLS that cannot agree.
    (
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "BAD_PROTOCOL_VERSION_NUMBER",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
    ): "{who} does not speak TLS at that port. Is it an address with http://?",
    (
        "ALERT_PROTOCOL_VERSION",
        "UNSUPPORTED_PROTOCOL",
        "NO_PROTOCOLS_AVAILABLE",
        "VERSION_TOO_LOW",
        "WRONG_SSL_VERSION",
    ): "{who} and this client have no TLS version in common. An ssl_context= may allow more versions.",
    ("UNSAFE_LEGACY_RENEGOTIATION_DISABLED",): "{who} knows only the unsafe renegotiation that OpenSSL 3 "
    "refuses. It needs an update, or an ssl_context= with OP_LEGACY_SERVER_CONNECT.",
    (
        "ALERT_HANDSHAKE_FAILURE",
        "ALERT_INSUFFICIENT_SECURITY",
    ): "{who} has no cipher in common with this client, or misses a client certificate ({cert}).",
    ("UNRECOGNIZED_NAME",): "{who} serves no site of that name. Is the host name in its URL right?",
    ("KEY_TOO_SMALL", "MD_TOO_WEAK"): "A key or signature of {who} is too weak for this OpenSSL. "
    "It needs a new one, or an ssl_context= with a lower security level.",
    (
        "ALERT_BAD_RECORD_MAC",
        "ALERT_DECRYPTION_FAILED",
    ): "{who} says that a TLS record came damaged ({reason}).",
    ("ALERT_INTERNAL_ERROR",): "{who} ended the TLS handshake with alert internal_error. "
    "It may have no certificate for that name.",
    # Proxies.
    (407,): "{who} wants a user name and a password. Give them in its URL: http://user:password@host:port.",
    (403,): "{who} does not allow connections to {origin}.",
    # This machine.
    ("EADDRINUSE", "EADDRNOTAVAIL"): "The local address cannot be used ({reason}). "
    "Check source_address=, and whether all ports are in use.",
    ("EMFILE", "ENFILE"): "No file descriptor is left ({reason}). "
    "Close responses and sessions, or raise the limit (ulimit -n).",
    ("EACCES", "EPERM"): "This machine does not permit the connection ({reason}). "
    "Is there a firewall or a sandbox?",
    ("EAFNOSUPPORT",): "This machine does not support that kind of address ({reason}), such as IPv6.",
}

#: What a resolver says of a name that does not exist, or has no address.
_NO_SUCH_NAME: Final = tuple(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)
)

#: What repeats for as long as nobody changes something.
LASTING: Final = frozenset(cause for cause, treatment in CAUSES.items() if treatment.limit is None)

#: The first type that fits names the cause.
_BY_TYPE: Final[tuple[tuple[tuple[type[BaseException], ...], Cause], ...]] = (
    ((urllib3_errors.NameResolutionError, socket.gaierror), Cause.NAME),
    ((urllib3_errors.InvalidHeader, urllib3_errors.LocationValueError, UnicodeError), Cause.INVALID),
    # It is one of urllib3's time-outs, too.
    ((urllib3_errors.NewConnectionError,), Cause.UNNAMED),
    ((ConnectionRefusedError,), Cause.REFUSED),
    ((TimeoutError, urllib3_errors.TimeoutError), Cause.TIMEOUT),
    ((ssl.SSLCertVerificationError, CertificateError), Cause.CERTIFICATE),
    ((ssl.SSLEOFError, ssl.SSLZeroReturnError), Cause.RESET),
    # `http.client.RemoteDisconnected` is one of these, and a `BadStatusLine` as well.
    ((ConnectionResetError, ConnectionAbortedError, BrokenPipeError), Cause.RESET),
    ((BadStatusLine, LineTooLong, UnknownProtocol, urllib3_errors.InvalidChunkLength), Cause.UNPARSABLE),
    ((IncompleteRead, urllib3_errors.IncompleteRead), Cause.RESET),
    # A pin that does not match, and what urllib3 says of certificates by itself.
    ((urllib3_errors.SSLError,), Cause.CERTIFICATE),
)

#: What the system says. Names that a platform does not have are left out.
_BY_ERRNO: Final = {
    getattr(errno, name): cause
    for cause, names in {
        Cause.RESET: "ECONNRESET ECONNABORTED EPIPE ESHUTDOWN ENOTCONN ENETRESET EPROTOTYPE",
        Cause.REFUSED: "ECONNREFUSED",
        Cause.TIMEOUT: "ETIMEDOUT",
        Cause.UNREACHABLE: "EHOSTUNREACH ENETUNREACH EHOSTDOWN ENETDOWN ENONET",
        Cause.LOCAL: "EADDRNOTAVAIL EADDRINUSE EACCES EPERM EAFNOSUPPORT EPFNOSUPPORT EMFILE ENFILE EINVAL "
        "ENOPROTOOPT EOPNOTSUPP EPROTONOSUPPORT ESOCKTNOSUPPORT EDESTADDRREQ ENODEV",
    }.items()
    for name in names.split()
    if hasattr(errno, name)
}

#: What OpenSSL says, by the end of its reason, whose prefix (TLSV1_, SSLV3_) differs by version. Alerts are
#: those of RFC 8446 section 6.2 and RFC 5246 section 7.2.2.
_BY_TLS_REASON: Final = {
    Cause.CERTIFICATE: ("CERTIFICATE_VERIFY_FAILED",),
    Cause.CLIENT_CERTIFICATE: (
        "ALERT_CERTIFICATE_REQUIRED",
        "ALERT_BAD_CERTIFICATE",
        "ALERT_UNSUPPORTED_CERTIFICATE",
        "ALERT_CERTIFICATE_REVOKED",
        "ALERT_CERTIFICATE_EXPIRED",
        "ALERT_CERTIFICATE_UNKNOWN",
        "ALERT_UNKNOWN_CA",
        "ALERT_ACCESS_DENIED",
    ),
    Cause.NO_COMMON_TLS: (
        # Alerts.
        "ALERT_HANDSHAKE_FAILURE",
        "ALERT_PROTOCOL_VERSION",
        "ALERT_INSUFFICIENT_SECURITY",
        "ALERT_INAPPROPRIATE_FALLBACK",
        "ALERT_NO_APPLICATION_PROTOCOL",
        "ALERT_ILLEGAL_PARAMETER",
        "ALERT_DECODE_ERROR",
        "ALERT_DECRYPT_ERROR",
        "ALERT_UNEXPECTED_MESSAGE",
        "ALERT_MISSING_EXTENSION",
        "ALERT_UNSUPPORTED_EXTENSION",
        "ALERT_NO_RENEGOTIATION",
        "ALERT_EXPORT_RESTRICTION",
        "MISSING_EXTENSION",
        "UNSUPPORTED_EXTENSION",
        "UNRECOGNIZED_NAME",
        "BAD_CERTIFICATE_STATUS_RESPONSE",
        "BAD_CERTIFICATE_HASH_VALUE",
        "CERTIFICATE_UNOBTAINABLE",
        "DECOMPRESSION_FAILURE",
        "UNKNOWN_PSK_IDENTITY",
        # What the client finds.
        "WRONG_VERSION_NUMBER",
        "WRONG_SSL_VERSION",
        "BAD_PROTOCOL_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "UNSUPPORTED_PROTOCOL",
        "NO_PROTOCOLS_AVAILABLE",
        "VERSION_TOO_LOW",
        "NO_CIPHERS_AVAILABLE",
        "NO_CIPHER_MATCH",
        "WRONG_CIPHER_RETURNED",
        "UNKNOWN_CIPHER_RETURNED",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
        "DH_KEY_TOO_SMALL",
        "EE_KEY_TOO_SMALL",
        "CA_KEY_TOO_SMALL",
        "CA_MD_TOO_WEAK",
        "EE_MD_TOO_WEAK",
        "WRONG_CURVE",
        "WRONG_SIGNATURE_TYPE",
        "NO_SUITABLE_KEY_SHARE",
        "NO_SUITABLE_SIGNATURE_ALGORITHM",
        "UNSUPPORTED_SIGNATURE_TYPE",
        "BAD_EXTENSION",
        "BAD_SIGNATURE",
    ),
    # It is our record that came damaged. By their ends, the next ones fit them, too.
    Cause.TLS: ("ALERT_BAD_RECORD_MAC", "ALERT_DECRYPTION_FAILED"),
    Cause.DAMAGED: (
        "BAD_RECORD_MAC",
        "DECRYPTION_FAILED",
        "RECORD_LAYER_FAILURE",
    ),
    Cause.RESET: ("UNEXPECTED_EOF_WHILE_READING", "ALERT_CLOSE_NOTIFY"),
}
_TLS_REASONS: Final = {reason: cause for cause, reasons in _BY_TLS_REASON.items() for reason in reasons}

#: The statuses of a proxy's answer to CONNECT that may heal (RFC 9110 section 15).
UNREADY_STATUSES: Final = frozenset({408, 429, 502, 503, 504})

#: The replies of a SOCKS5 proxy (RFC 1928 section 6); 1, a general failure, has no name.
_BY_SOCKS5_REPLY: Final = {
    2: Cause.DENIED,
    3: Cause.UNREACHABLE,
    4: Cause.UNREACHABLE,
    5: Cause.REFUSED,
    6: Cause.UNREACHABLE,
    7: Cause.DENIED,
    8: Cause.DENIED,
}
#: The replies of a SOCKS4 proxy; 0x5B, rejected or failed, has no name.
_BY_SOCKS4_REPLY: Final = {0x5C: Cause.DENIED, 0x5D: Cause.DENIED}
#: What PySocks says by the names of its exceptions. It is no dependency: its types are not at hand.
_BY_SOCKS_ERROR: Final = {"SOCKS5AuthError": Cause.DENIED}
#: And by their words.
_BY_SOCKS_WORDS: Final = {
    # So a proxy may say that it knows nobody of that name. Asked again and again, it locks the account.
    "Connection closed unexpectedly": Cause.UNNAMED,
    "proxy server sent invalid data": Cause.UNPARSABLE,
}

#: What `http.client` says of a proxy that answers CONNECT with a status other than 200.
_CONNECT_STATUS: Final = re.compile(r"Tunnel connection failed: (\d{3})\b")
_SOCKS_REPLY: Final = re.compile(r"(?:^|: )0x([0-9A-Fa-f]{2}): ")
#: How Python tells a reason without a name, and how pyOpenSSL's errors list reasons, which urllib3 puts into
#: the text of an `ssl.SSLError`.
_REASON_IN_WORDS: Final = re.compile(r"^\[SSL\] (.+?) \(_ssl|\('[^']*', '[^']*', '([^']+)'\)")


def classify(error: BaseException) -> Cause:
    """Name the cause of an error as the wire met it, before anybody wrapped it.

    urllib3 wraps some errors at the very place where they happen (`NewConnectionError`); then what
    they were raised from decides, where the wrapper itself says nothing.
    """
    root = root_of(error)
    if isinstance(root, ssl.SSLError):
        return _tls_cause(root)
    if (reply := socks_reply(root)) is not None:
        return reply
    if type(root) is OSError and (status := connect_status(root)) is not None:
        return Cause.UNREADY if status in UNREADY_STATUSES else Cause.DENIED
    if type(root) is HTTPException:
        # What `http.client` says of too many fields.
        return Cause.UNPARSABLE
    for types, cause in _BY_TYPE:
        if isinstance(root, types):
            return cause
    if isinstance(root, OSError):
        return _BY_ERRNO.get(root.errno or 0, Cause.UNNAMED)
    if isinstance(root, urllib3_errors.ProtocolError):
        # Of one that holds no other error, and so of the end of a body, its words are all that is known.
        return Cause.UNPARSABLE if str(root).endswith(_TOO_LONG) else Cause.RESET
    return Cause.UNNAMED


#: What urllib3 says of a line among the chunks of a body.
_TOO_LONG: Final = "exceeded maximum allowed length"


def cause_at(error: BaseException, is_proven: bool) -> Cause:
    """Name the cause of an error, by whether the connection had been proven before.

    Two that have understood each other have TLS in common, whatever a record says that is not one.
    """
    cause = classify(error)
    if is_proven and cause in (Cause.NO_COMMON_TLS, Cause.CERTIFICATE, Cause.CLIENT_CERTIFICATE):
        return Cause.DAMAGED
    return cause


def root_of(error: BaseException) -> BaseException:
    """What was met first, where wrappers of urllib3's and PySocks' say less than what they hold."""
    return _unwrapped(error)[-1]


def is_by_socks(error: BaseException) -> bool:
    """Whether it was PySocks that has met an error."""
    return any(type(one).__module__ == "socks" for one in _unwrapped(error))


def _unwrapped(error: BaseException) -> list[BaseException]:
    """An error, and what is found under each wrapper."""
    found = [error]
    while len(found) < _DEEPEST and (inner := _held_by(found[-1])) is not None:
        found.append(inner)
    return found


#: So many wrappers are taken off.
_DEEPEST: Final = 8


def _held_by(error: BaseException) -> BaseException | None:
    """The error that a wrapper holds; None: it is no wrapper, or says itself what was met."""
    first = error.args[0] if error.args else None
    if isinstance(error, urllib3_errors.SSLError):
        return first if isinstance(first, ssl.SSLError) else None
    if isinstance(error, urllib3_errors.ProxyError):
        return error.original_error
    if isinstance(error, urllib3_errors.ProtocolError) and not isinstance(error, _SAY_IT):
        return next((one for one in reversed(error.args) if isinstance(one, _HELD)), None)
    if isinstance(error, urllib3_errors.NewConnectionError) and not isinstance(error, _SAY_IT):
        return error.__cause__ or error.__context__
    # PySocks': the error that it has met, if it was not the proxy's reply.
    inner = getattr(error, "socket_err", None)
    return inner if isinstance(inner, BaseException) else None


_SAY_IT: Final = (
    urllib3_errors.NameResolutionError,
    urllib3_errors.IncompleteRead,
    urllib3_errors.InvalidChunkLength,
)
_HELD: Final = (OSError, HTTPException, urllib3_errors.HTTPError)


def _tls_cause(error: ssl.SSLError) -> Cause:
    for types, cause in _BY_TYPE:
        if isinstance(error, types):
            return cause
    if certificate_alert(error) is not None:
        return Cause.CLIENT_CERTIFICATE
    reason = tls_reason(error)
    found = next((cause for end, cause in _TLS_REASONS.items() if reason.endswith(end)), None)
    if found is None and "SysCallError" in str(error):
        # pyOpenSSL's word for an end of file, or for what the socket has met.
        return Cause.RESET
    return found or Cause.TLS


def tls_reason(error: BaseException) -> str:
    """OpenSSL's reason for a TLS error, such as "WRONG_VERSION_NUMBER"; "" if nobody gives one.

    Python has no name for some, and an error that Python code has raised has no `reason` at all: then it
    stands in the text, as OpenSSL or pyOpenSSL puts it.
    """
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return reason
    listed: list[str] = _REASON_IN_WORDS.findall(str(error))
    return "".join(listed[-1]).upper().replace(" ", "_") if listed else ""


#: Alerts with which a server refuses a client certificate (RFC 8446 section 6.2), as OpenSSL spells them.
_ABOUT_THE_CLIENT: Final = re.compile(
    r"ALERT_(CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_REVOKED"
    r"|CERTIFICATE_EXPIRED|CERTIFICATE_UNKNOWN|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)$"
)


def certificate_alert(error: BaseException) -> str | None:
    """The alert, as RFC 8446 spells it, with which the server refused the client certificate, if it did.

    In TLS 1.2 a server that misses one says handshake_failure (RFC 5246 section 7.4.6). That is about the
    certificate when the server had chosen a cipher before, which the wire notes as `answered`.
    """
    found = _ABOUT_THE_CLIENT.search(tls_reason(error))
    if found is None or (found[1] == "HANDSHAKE_FAILURE" and not getattr(error, "answered", False)):
        return None
    return found[1].lower()


def connect_status(error: BaseException) -> int | None:
    """The status with which a proxy has answered CONNECT, if that is what failed."""
    found = _CONNECT_STATUS.match(str(error))
    return int(found[1]) if found else None


def socks_words(error: BaseException) -> str:
    """What a SOCKS proxy has replied, in PySocks' words; "" if it is something else that has failed."""
    return str(error) if type(error).__module__ == "socks" else ""


def socks_reply(error: BaseException) -> Cause | None:
    """The cause of what a SOCKS proxy has replied; None: no such reply."""
    kind: Any = type(error)
    if kind.__module__ != "socks":
        return None
    words = str(error)
    by_words = next((cause for part, cause in _BY_SOCKS_WORDS.items() if part in words), None)
    replies = _BY_SOCKS4_REPLY if kind.__name__ == "SOCKS4Error" else _BY_SOCKS5_REPLY
    found = _SOCKS_REPLY.search(words)
    by_reply = replies.get(int(found[1], 16)) if found else None
    return _BY_SOCKS_ERROR.get(kind.__name__) or by_reply or by_words or Cause.UNNAMED


def sentence_for(error: BaseException, is_proven: bool = False) -> str:
    """What is said of an error as the wire met it, with names in braces that are still to be filled in.

    Args:
        error: the error.
        is_proven: whether the connection had been proven before.
    """
    root, cause = root_of(error), cause_at(error, is_proven)
    if is_proven and isinstance(root, ssl.SSLError) and cause is Cause.DAMAGED:
        return CAUSES[Cause.TLS].sentence
    met: str | int | None
    if isinstance(root, ssl.SSLError):
        met = getattr(root, "verify_code", None) or tls_reason(root)
    elif isinstance(root, socket.gaierror):
        met = "" if root.errno in _NO_SUCH_NAME else "EAI"
    elif (met := connect_status(root)) is None and isinstance(root, OSError):
        met = errno.errorcode.get(root.errno or 0)
    if met:
        for keys, sentence in SENTENCES.items():
            if any(_fits(met, key) for key in keys):
                return sentence
    return CAUSES[cause].sentence


def _fits(met: str | int, key: str | int) -> bool:
    """Whether a key stands for what was met; of OpenSSL's reasons it is the end."""
    if isinstance(met, str) and isinstance(key, str):
        return met.endswith(key)
    return met == key
