"""A connection with TLS, which is resumed where it can be, and proven where it must be."""

from __future__ import annotations

import ssl
from typing import Any

from urllib3.connection import HTTPSConnection

from ..retry.stages import Stage
from ..util.clock import monotonic
from .connection import ResilientConnection
from .eof import WatchedSSLSocket
from .liveness import PROOF_WAIT, PROOF_WAIT_IN_DOUBT, confirm
from .preconnect import Route, is_long
from .tls_sessions import Offer, offering, resumable


class TLSConnection(ResilientConnection, HTTPSConnection):
    """A connection with TLS."""

    stock_name = "HTTPSConnection"
    #: How often a check-in still looks for a session; some servers send tickets with their first response.
    _looks: int = 3
    #: The session that was resumed, by its id: a ticket makes it another one.
    _resumed_id: bytes | None = None
    #: The session whose ticket was the proof, until it is kept.
    _proof: ssl.SSLSession | None = None

    def _connect(self) -> None:
        trace, sessions = self.trace, self.plan.sessions
        if sessions is None or not trace.may_resume():
            super()._connect()
            return
        with offering(Offer(sessions, trace, self.permit)) as offer:
            super()._connect()
        sessions.worked()
        sock: Any = self.sock
        trace.tls_resumed = bool(getattr(sock, "session_reused", False))
        if trace.tls_resumed:
            self._resumed_id = sock.session.id
        elif offer.offered is not None:
            sessions.drop(offer.offered)

    def keep_session(self) -> None:
        """Keep the TLS session, if there is a new one; for who resumes it."""
        if self.plan.sessions is None or not self._looks:
            return
        self._looks -= 1
        sock: Any = self.sock
        session, self._proof = self._proof or resumable(sock), None
        if session is not None and session.id != self._resumed_id:
            self._looks = 0
            self.plan.sessions.put(sock.server_hostname, session)

    def _prove(self) -> None:
        trace = self.trace
        sock: Any = self.sock
        if isinstance(sock, WatchedSSLSocket):
            sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        trace.tls_version = sock.version()
        if self.plan.wants_proof:
            # Twice the handshake just measured, never TCP's round trip: a proxy or a sidecar answers that.
            floor = PROOF_WAIT_IN_DOUBT if self.plan.in_doubt else PROOF_WAIT
            patience = max(floor, 2 * (monotonic() - trace.marked))
            trace.mark(Stage.CONFIRM)
            if self.plan.dial_for_others is not None and is_long(sock, self._dialled_in):
                # The proof takes a round trip, too: it is theirs to connect in.
                self.plan.dial_for_others(Route.of(sock, self.source_address, self.socket_options))
            left = trace.deadline.bound(None) if trace.deadline else None
            proof = confirm(sock, patience if left is None else min(patience, left), self._resumed_id)
            self.is_proven = bool(proof)
            self._proof = proof if isinstance(proof, ssl.SSLSession) else None
            self._waited = monotonic() - trace.marked
