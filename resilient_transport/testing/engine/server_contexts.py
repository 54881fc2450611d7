"""The TLS contexts of one server, made once. Which one a connection gets depends on what it is to suffer."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass

from ..server_options import ServerOptions

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_MODES = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


@dataclass(frozen=True, slots=True)
class Material:
    """The files of a server's TLS identity."""

    #: Its certificate chain.
    certificate: str
    #: The key.
    key: str
    #: The bundle that client certificates are verified with.
    ca: str


class Contexts:
    """Hands out contexts, and remembers per thread which server name was asked for."""

    def __init__(self, options: ServerOptions, material: Material) -> None:
        """Read the files and make the contexts."""
        self._options, self._material = options, material
        self._asked = threading.local()
        self._ordinary = self._make(tickets=True)
        self._ticketless = self._make(tickets=False)
        self._refusing = self._make(tickets=False, trust=False)

    def ordinary(self) -> ssl.SSLContext:
        """Return the context of a connection that shakes hands in peace."""
        if self._options.tickets == "none":
            # TLS 1.2 resumes by session id too; a context of its own knows no session.
            return self._make(tickets=False)
        return self._ordinary

    def ticketless(self) -> ssl.SSLContext:
        """Return the context of a connection that is to end right after the handshake: it sends no ticket."""
        return self._ticketless

    def refusing(self) -> ssl.SSLContext:
        """Return a context that demands a client certificate and trusts none."""
        return self._refusing

    def asked_name(self) -> str | None:
        """Return the name asked for in this thread's handshake."""
        name: str | None = getattr(self._asked, "name", None)
        return name

    def _make(self, tickets: bool, trust: bool = True) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._material.certificate, self._material.key)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = _VERSIONS[self._options.max_tls]
        context.verify_mode = _MODES[self._options.client_auth] if trust else ssl.CERT_REQUIRED
        if trust and context.verify_mode != ssl.CERT_NONE:
            context.load_verify_locations(self._material.ca)
        context.set_alpn_protocols(["http/1.1"])
        if not tickets:
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        context.sni_callback = self._note_name
        return context

    def _note_name(self, _tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        # Runs inside do_handshake, so on the connection's own thread.
        self._asked.name = name
