"""Handshakes by hand, and what is said in them.

OpenSSL tells each message that it sends or reads. So it is known whether a ClientHello was answered, whether
a client certificate is asked for, which alert came, and when a ticket comes. None of that can be read off an
exception.

Leans on `SSLContext._msg_callback` and `SSLObject.get_unverified_chain`, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from ...retry.causes import Cause
from ...waterfall.chart import Phase
from .line import FAILURES, PROOF, Line, Trouble
from .visit import Visit

#: Types of records and of messages (RFC 8446, sections 5.1 and 4; RFC 5246 section 7.4).
_ALERT, _HANDSHAKE = 21, 22
_SERVER_HELLO, _TICKET, _CERTIFICATE, _CERTIFICATE_REQUEST = 2, 4, 11, 13
_KEY_EXCHANGE, _FINISHED = 16, 20
#: A Certificate message has a context and a list; this long, at the most, it has no certificate.
_EMPTY_CERTIFICATE: Final = 8
#: The alert that ends a connection in peace.
_CLOSE_NOTIFY: Final = "close_notify"
#: Alerts that are about the client's certificate (RFC 8446 section 6.2). In TLS 1.2 a server that misses one
#: says the last (RFC 5246 section 7.4.6).
_ABOUT_THE_CLIENT: Final = frozenset(
    {
        "certificate_required", "bad_certificate", "unsupported_certificate", "certificate_revoked",
        "certificate_expired", "certificate_unknown", "unknown_ca", "access_denied", "handshake_failure",
    }
)  # fmt: skip


class Place(str, Enum):
    """Where a connection ended; its value follows a verb: "is reset …"."""

    #: While the name was looked up, by TCP, or at the proxy.
    BEFORE = "before the handshake"
    HELLO = "with no answer to the ClientHello"
    FLIGHT = "in the middle of the server's flight"
    REPLY = "after the server's flight"
    DONE = "after the handshake, before the server's first word"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Handshake:
    """What came of one handshake."""

    #: What was agreed; None: nothing was.
    version: str | None = None
    cipher: str | None = None
    #: What the server has chosen by ALPN; None: nothing.
    protocol: str | None = None
    #: Seconds of the handshake alone; None: it was not done.
    seconds: float | None = None
    #: Whether the session that was offered was resumed.
    is_resumed: bool = False
    #: Tickets that came by themselves, and that came only with a response.
    tickets: int = 0
    late_tickets: int = 0
    #: What it has met, until the server's first word had been waited for, and where; None: nothing.
    trouble: Trouble | None = None
    place: Place | None = None
    #: The alert that the server has sent, as RFC 8446 spells it; None: none.
    alert: str | None = None
    #: Whether the server asks for a client certificate, and whether one was shown.
    asks: bool = False
    shows: bool = False
    #: The server's certificates as sent, in DER.
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    #: What OpenSSL has against the server's certificate, as X509_V_ERR_... has it, and in its words; 0 if it
    #: has nothing, None if it had no say.
    verify_code: int | None = None
    verify_message: str = ""

    @property
    def is_done(self) -> bool:
        """Whether the server has accepted the connection, as far as that can be known."""
        return self.place is None

    @property
    def is_refusal(self) -> bool:
        """Whether an alert says that the client certificate, or its absence, is refused."""
        return self.asks and self.place in (Place.REPLY, Place.DONE) and self.alert in _ABOUT_THE_CLIENT

    @property
    def ends_without_certificate(self) -> bool:
        """Whether it ended without a word where a certificate was asked for, and none was shown."""
        reset = self.trouble is not None and self.trouble.cause is Cause.RESET
        return reset and self.asks and not self.shows and self.place in (Place.REPLY, Place.DONE)


class Conversation:
    """The messages of a handshake, as OpenSSL tells them.

    Args:
        context: what the handshakes are made with, one at a time.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._said: list[tuple[bool, int, int, bytes]] = []
        self._version = 0
        told: Any = context
        told._msg_callback = self._note

    def forget(self) -> None:
        """Another handshake begins."""
        self._said.clear()

    def _note(self, _: object, direction: str, version: int, kind: int, message: int, data: bytes) -> None:
        if kind in (_ALERT, _HANDSHAKE):
            self._version = version
            self._said.append((direction == "read", kind, message, bytes(data)))

    def _sent(self, came: bool, *messages: int) -> list[bytes]:
        """The messages of these types, which came or were sent."""
        return [
            data for read, kind, message, data in self._said
            if read is came and kind == _HANDSHAKE and message in messages
        ]  # fmt: skip

    @property
    def alert(self) -> str | None:
        """The alert that came; None: none but a farewell."""
        alerts = (getattr(message, "name", str(message)).lower()
                  for read, kind, message, _ in self._said if read and kind == _ALERT)  # fmt: skip
        return next((alert for alert in alerts if alert != _CLOSE_NOTIFY), None)

    @property
    def is_answered(self) -> bool:
        """Whether a ServerHello came."""
        return bool(self._sent(True, _SERVER_HELLO))

    @property
    def went_on(self) -> bool:
        """Whether the client has replied to the server's flight: it has accepted its certificate."""
        return bool(self._sent(False, _CERTIFICATE, _KEY_EXCHANGE, _FINISHED))

    @property
    def asks(self) -> bool:
        """Whether a client certificate was asked for."""
        return bool(self._sent(True, _CERTIFICATE_REQUEST))

    @property
    def shows(self) -> bool:
        """Whether one was shown."""
        return any(len(data) > _EMPTY_CERTIFICATE for data in self._sent(False, _CERTIFICATE))

    @property
    def tickets(self) -> int:
        """Tickets that came."""
        return len(self._sent(True, _TICKET))

    def chain(self) -> tuple[bytes, ...]:
        """The server's certificates as it has sent them.

        When they are refused, nobody else can be asked for them.
        """
        messages = self._sent(True, _CERTIFICATE)
        return _listed(messages[0][4:], is_new=self._version == ssl.TLSVersion.TLSv1_3) if messages else ()


def _listed(data: bytes, is_new: bool) -> tuple[bytes, ...]:
    """What is in a Certificate message (RFC 5246 section 7.4.2, RFC 8446 section 4.4.2).

    Args:
        data: the message, without its type and length.
        is_new: whether it is of TLS 1.3: a context stands before the list, and extensions behind each entry.
    """
    found, at = [], 3 + (1 + data[0] if is_new and data else 0)
    while at + 3 <= len(data):
        end = at + 3 + int.from_bytes(data[at : at + 3], "big")
        found.append(data[at + 3 : end])
        at = end + (2 + int.from_bytes(data[end : end + 2], "big") if is_new else 0)
    return tuple(found)


class Prober:
    """Makes handshakes by hand with one context, one after the other.

    Args:
        visit: what they are part of.
        context: the client's side.
    """

    def __init__(self, visit: Visit, context: ssl.SSLContext) -> None:
        self.visit, self.context = visit, context
        # As urllib3 has it: some servers ask for a certificate only when they have read the request.
        context.post_handshake_auth = True
        self._conversation = Conversation(context)
        #: What can be offered to the next handshake; None: the server has given nothing.
        self.session: ssl.SSLSession | None = None

    def shake(
        self,
        title: str,
        session: ssl.SSLSession | None = None,
        then: Callable[[Line], None] = lambda _: None,
        patience: float = PROOF,
    ) -> Handshake:
        """Connect, shake hands, and wait for the server's first word.

        Args:
            title: what the chart calls it.
            session: is offered.
            then: what else is done with the connection; what it meets is no part of the handshake.
            patience: seconds for which the server's first word is waited for, at the least.
        """
        said = self._conversation
        said.forget()
        made, refused, confirmed, tickets = Handshake(), None, False, 0
        with suppress(*FAILURES), self.visit.kept(self.visit.line(), title) as line:
            try:
                line.dial()
                line.tunnel()
                line.shake_hands(self.context, session)
                made = _agreed(line.sock)
                line.confirm(patience)
                confirmed, tickets = True, said.tickets
                then(line)
            except ssl.SSLCertVerificationError as error:
                refused = error
                raise
            finally:
                made = replace(
                    made,
                    seconds=_seconds(line),
                    tickets=tickets,
                    late_tickets=said.tickets - tickets if confirmed else 0,
                    trouble=None if confirmed else line.trouble,
                    place=None if confirmed else self._place(line.trouble),
                    alert=said.alert,
                    asks=said.asks,
                    shows=said.shows,
                    chain=made.chain or said.chain(),
                    verify_code=0 if said.went_on else getattr(refused, "verify_code", None),
                    verify_message=getattr(refused, "verify_message", ""),
                )
                if confirmed:
                    self._keep(line.sock)
        return made

    def _keep(self, sock: Any) -> None:
        """Keep a session, if the server has given a ticket for it, or in TLS 1.2 an identifier."""
        given = self._conversation.tickets or (sock.version() != "TLSv1.3" and sock.session.id)
        if given and not sock.session_reused:
            self.session = sock.session

    def _place(self, trouble: Trouble | None) -> Place:
        if trouble is None or trouble.phase not in (Phase.HANDSHAKE, Phase.CONFIRM):
            return Place.BEFORE
        if trouble.phase is Phase.CONFIRM:
            return Place.DONE
        if self._conversation.went_on:
            return Place.REPLY
        return Place.FLIGHT if self._conversation.is_answered else Place.HELLO


def _seconds(line: Line) -> float | None:
    return next((bar.seconds for bar in line.bars if bar.phase is Phase.HANDSHAKE and not bar.failed), None)


def _agreed(sock: Any) -> Handshake:
    """What client and server have agreed on."""
    return Handshake(
        version=sock.version(),
        cipher=(sock.cipher() or (None,))[0],
        protocol=sock.selected_alpn_protocol(),
        is_resumed=bool(sock.session_reused),
        chain=_chain_of(sock),
    )


def _chain_of(sock: Any) -> tuple[bytes, ...]:
    """The server's certificates as it has sent them, its own first.

    Python has them since 3.10, and a public name for that since 3.13.
    """
    if get := getattr(sock, "get_unverified_chain", None):
        return tuple(get())
    inner: Any = getattr(sock, "_sslobj", None)
    if found := inner.get_unverified_chain() if hasattr(inner, "get_unverified_chain") else None:
        return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in found)
    own = sock.getpeercert(binary_form=True)
    return (own,) if own else ()


def usable_context(visit: Visit, protocols: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """A context that verifies nothing, and shows the client certificate if that can be used.

    Args:
        visit: whose certificate it is.
        protocols: are offered by ALPN.
    """
    try:
        context = visit.context(verifies=False)
    except OSError:
        context = visit.context(verifies=False, shows_certificate=False)
    context.set_alpn_protocols(list(protocols))
    return context


def idle_because(visit: Visit) -> str | None:
    """Why no handshake can be made by hand; None: it can."""
    return None if visit.target.is_tls else "not https"


def is_silent(made: list[Handshake], enough: int = 2) -> bool:
    """Whether all were silent, and enough of them were made to say so."""
    silent = [one for one in made if one.trouble is not None and one.trouble.cause is Cause.TIMEOUT]
    return len(silent) == len(made) >= enough
