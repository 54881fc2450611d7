"""The client certificate: whether its files can be used, whether the server asks for it, and what it says.

In TLS 1.3 a server refuses it only after the handshake, and some refuse it by a page. So what is called
accepted here was answered.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Final

from ....call.redaction import describe
from ....call.refusal_page import STATUSES, said_by
from ....pool.certificate import Certificate, chain_in
from ....pool.identity import fault
from ....retry.causes import Cause
from ....util.clock import date_of
from ....waterfall.chart import Phase
from ..finding import Finding, fail, ok, skipped, warn
from ..handshake import Handshake, Prober, idle_because, is_silent, usable_context
from ..line import Line, Trouble
from ..root import Root
from ..section import Check, Section
from ..validity import ends_soon, left_of, lifetime
from ..visit import Visit
from .tls import Measured as Tls

#: How often a connection is tried that is reset.
TRIALS: Final = 4
#: Seconds for which a refusal is waited for, where a certificate was asked for.
_PATIENCE: Final = 0.3
#: A certificate is told when it has so many days left.
_SOON: Final = 30
_FILES: Final = '--cert FILE --key FILE   # in your program: session.cert = ("FILE", "FILE")'
_RENEWED: Final = "--cert FILE --key FILE   # of a renewed certificate"
_ENCRYPTED: Final = b"ENCRYPTED"


@dataclass(frozen=True, slots=True)
class Files:
    """The files that are set."""

    #: Their paths; None: there are none. The key may be in the certificate's file.
    certificate: str | None = None
    key: str | None = None
    #: Why they cannot be used together, and what can be done; empty: they can.
    problem: str = ""
    cure: str = ""
    #: What is in the first, the client's own certificate before the others.
    chain: tuple[Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server that asks for a certificate has made of it."""

    #: The handshake.
    handshake: Handshake
    #: The status of the response; None: there was none.
    status: int | None = None
    #: What its page says of the certificate; None: nothing.
    page: str | None = None
    #: What the request has met.
    trouble: Trouble | None = None

    @property
    def is_final(self) -> bool:
        """Whether it says what the server makes of the certificate."""
        return self.status is not None or self.is_refusal

    @property
    def is_refusal(self) -> bool:
        """Whether the certificate, or its absence, is refused."""
        alert = (
            self.handshake.asks
            and self.trouble is not None
            and self.trouble.cause is Cause.CLIENT_CERTIFICATE
        )
        return self.page is not None or self.handshake.is_refusal or alert


@dataclass(frozen=True, slots=True)
class Measured:
    """The files, and what the server says of what is in them."""

    origin: str
    files: Files
    #: What came of the connections, the last one last; empty: none was made.
    replies: tuple[Reply, ...] = field(default=())
    #: Why none was made; empty: some were.
    idle: str = ""
    #: When this was measured, as POSIX has it.
    now: float = 0.0


def measure(visit: Visit) -> Measured:
    """Look at the files, and then show what is in them until the server has said something."""
    files = files_of(visit.target.cert)
    if files.problem:
        return Measured(visit.target.origin, files, idle="needs client-certificate.files", now=time())
    tls = visit.of("tls", Tls)
    if visit.options.wants("tls") and (tls is None or not tls.works):
        return Measured(visit.target.origin, files, idle="needs tls", now=time())
    replies: list[Reply] = []
    context, is_verified = _context(visit)
    prober, resource = Prober(visit, context), None if is_verified else "/"
    while len(replies) < TRIALS and not is_silent([one.handshake for one in replies]):
        replies.append(_reply(prober, "HEAD", resource))
        if replies[-1].status in STATUSES:
            # What the page says stands in its body; nginx has closed the connection.
            replies.append(_reply(prober, "GET", resource))
        if replies[-1].is_final or visit.is_mute:
            break
    return Measured(visit.target.origin, files, tuple(replies), now=time())


def _context(visit: Visit) -> tuple[ssl.SSLContext, bool]:
    """One that verifies, if that is possible; and whether it does. The page is told to nobody else."""
    try:
        context = visit.context()
    except OSError:
        return usable_context(visit), False
    refused = Prober(visit, context).shake("certificate, verified").verify_message
    return (usable_context(visit), False) if refused else (context, context.verify_mode != ssl.CERT_NONE)


def _reply(prober: Prober, method: str, resource: str | None) -> Reply:
    said: list[tuple[int, str | None]] = []
    lines: list[Line] = []

    def ask(line: Line) -> None:
        lines.append(line)
        answer = line.ask(method, resource)
        kind = answer.headers.get("content-type", "html")
        beginning = b"" if "content-encoding" in answer.headers else answer.beginning
        said.append((answer.status, said_by(answer.status, kind, beginning)))

    made = prober.shake(f"{method} with the client certificate, by hand", then=ask, patience=_PATIENCE)
    status, page = said[0] if said else (None, None)
    return Reply(made, status, page, lines[0].trouble if lines and not said else None)


def files_of(cert: str | tuple[str, str] | None) -> Files:
    """What is set, and whether OpenSSL can load it.

    Args:
        cert: as requests takes it.
    """
    if not cert:
        return Files()
    certificate, key = (cert, None) if isinstance(cert, str) else cert
    try:
        text = Path(key or certificate).read_bytes()
        chain = tuple(chain_in(Path(certificate).read_bytes()))
        if _ENCRYPTED in text:
            of_key = key or certificate
            problem = f"the key in {of_key} has a passphrase, and requests asks for none"
            return Files(certificate, key, problem, f"openssl pkey -in {of_key} -out plain.key", chain)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        told = fault(error, {"cert_file": certificate, "key_file": key}).rstrip(".")
        problem = told[:1].lower() + told[1:] if told.startswith("The") else told or describe(error)
        return Files(certificate, key, problem, _FILES)
    return Files(certificate, key, chain=chain)


def judge(measured: Measured) -> Iterator[Finding]:
    """Say whether there is a certificate, and what the server makes of it."""
    yield _of_files(measured.files)
    if measured.idle:
        yield skipped("client-certificate.asked", measured.idle)
        yield skipped("client-certificate.accepted", measured.idle)
    else:
        yield _of_asking(measured)
        yield _of_answer(measured)
    if measured.files.chain:
        yield _of_expiry(measured)
        yield _of_chain(measured.files)


def _of_files(files: Files) -> Finding:
    check = "client-certificate.files"
    if files.problem:
        return fail(check, files.problem, files.cure, files.problem, Root.CLIENT_FILES)
    if files.certificate is None:
        return ok(check, "no client certificate is set")
    own = files.chain[0] if files.chain else None
    value = f"SHA-256 {own.fingerprint.hex()}" if own else files.certificate
    text = f"{own.subject}, signed by {own.issuer}" if own else "they can be used"
    return ok(check, f"certificate and key match: {text}", value)


def _of_asking(measured: Measured) -> Finding:
    check, set_ = "client-certificate.asked", measured.files.certificate is not None
    if not any(one.handshake.asks for one in measured.replies):
        besides = ", so yours is not shown" if set_ else ""
        return ok(check, f"the server asks for no client certificate{besides}")
    return ok(check, "the server asks for a client certificate", "one is shown" if set_ else "none is shown")


def _of_answer(measured: Measured) -> Finding:
    """There are four cases: not asked for, refused, no answer, answered."""
    check, last = "client-certificate.accepted", measured.replies[-1]
    refusals = [one for one in measured.replies if one.is_refusal]
    if refusals:
        return _refused(measured, refusals[-1])
    if last.status is not None:
        what = "with your certificate" if last.handshake.shows else "without a client certificate"
        return ok(check, f"the server answers a request {what}", f"status {last.status}")
    if measured.files.certificate is None and all(_ends(one) for one in measured.replies):
        return fail(
            check, "the server asks for a certificate, and ends each connection that shows none", _FILES,
            f"{len(measured.replies)} of {len(measured.replies)}", Root.CLIENT_CERTIFICATE_MISSING,
        )  # fmt: skip
    if last.handshake.is_done and last.handshake.tickets:
        return ok(check, "the server accepts the connection, but answers no request", "a ticket came")
    return skipped(check, "no connection was answered")


def _ends(reply: Reply) -> bool:
    """Whether a connection has ended without a word, right after a certificate was asked for in vain."""
    made, trouble = reply.handshake, reply.trouble
    at_request = trouble is not None and trouble.phase is Phase.FIRST_BYTE and trouble.cause is Cause.RESET
    return made.ends_without_certificate or (made.asks and not made.shows and at_request and not made.tickets)


def _refused(measured: Measured, reply: Reply) -> Finding:
    """There are four cases: none was shown, it has expired, its issuer is not known, and all others."""
    check, made = "client-certificate.accepted", reply.handshake
    value = reply.page or (f"TLS alert {made.alert}" if made.alert else "")
    if not made.shows:
        return _none_was_shown(measured, value)
    own = measured.files.chain[0].subject if measured.files.chain else "it"
    over = [one for one in measured.files.chain if one.not_after < measured.now and not one.is_self_issued]
    if over or made.alert == "certificate_expired":
        when = f"was valid until {date_of(over[0].not_after)}" if over else "has expired"
        text, root = f"the server refuses {own}, which {when}", Root.CLIENT_CERTIFICATE_EXPIRED
        return fail(check, text, _RENEWED, value, root)
    hint = f"ask the operator of {measured.origin} which client certificates it accepts"
    if made.alert == "unknown_ca" and len(measured.files.chain) == 1:
        hint += (
            f"; if {measured.files.chain[0].issuer} is right, add the intermediate certificates to the file"
        )
    text = f"the server refuses {own} ({value})"
    return fail(check, text, hint, value, Root.CLIENT_CERTIFICATE_REFUSED)


def _none_was_shown(measured: Measured, value: str) -> Finding:
    check, root = "client-certificate.accepted", Root.CLIENT_CERTIFICATE_MISSING
    if measured.files.certificate is None:
        return fail(
            check, f"no client certificate is set, and the server wants one ({value})", _FILES, value, root
        )
    text = "a client certificate is set, but not shown: its issuer is none of those that the server names"
    return fail(check, text, f"ask the operator of {measured.origin} which issuers it accepts", value, root)


def _of_expiry(measured: Measured) -> Finding:
    own, now, check = measured.files.chain[0], measured.now, "client-certificate.expiry"
    value, hint, expired = (
        lifetime(own),
        _RENEWED,
        Root.CLIENT_CERTIFICATE_EXPIRED,
    )
    if now < own.not_before:
        return warn(
            check,
            "the client certificate is not valid yet, or this machine's clock is behind",
            "date -u",
            value,
        )
    if own.not_after < now:
        return warn(check, "the client certificate has expired", hint, value, expired)
    left = left_of(own, now)
    if ends_soon(own, now, _SOON):
        return warn(check, f"the client certificate expires in {left}", hint, value, Root.OTHER)
    return ok(check, f"the client certificate is valid until {date_of(own.not_after)}", f"{left} left")


def _of_chain(files: Files) -> Finding:
    behind = [one for one in files.chain[1:] if not one.is_self_issued]
    text = (
        "the file has the intermediate certificates"
        if behind
        else "the file has no intermediate certificates"
    )
    return ok(
        "client-certificate.chain",
        text,
        f"{len(files.chain)} certificate{'' if len(files.chain) == 1 else 's'} in {files.certificate}",
    )


CLIENT_CERTIFICATE: Final = Section(
    "client-certificate",
    "Client certificate",
    (
        Check("client-certificate.files", "whether certificate and key can be used together"),
        Check("client-certificate.asked", "whether the server asks for one"),
        Check("client-certificate.accepted", "whether the server accepts it, or does without"),
        Check("client-certificate.expiry", "whether it is valid now, and for how long"),
        Check("client-certificate.chain", "whether its file has the intermediate certificates"),
    ),
    measure,
    judge,
    requests=lambda _: 2 * TRIALS,
    idle_because=idle_because,
)
