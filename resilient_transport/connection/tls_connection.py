"""A connection with TLS, which is resumed where it can be, and proven where it must be.

Leans on these names of urllib3's connection, pinned in `tests/test_upstream.py`: `_connect_tls_proxy`,
`proxy_config`, and what `connect` reads of TLS settings.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from urllib3.connection import HTTPSConnection

from ..retry.stages import Stage
from ..util.clock import monotonic
from ..util.fork import Undivided
from .connection import ResilientConnection
from .eof import WatchedSSLSocket
from .liveness import PROOF_WAIT, PROOF_WAIT_IN_DOUBT, confirm, listen, read_for_the_rest
from .preconnect import Route, is_long
from .tls_sessions import Offer, offering, resumable

#: Seconds for which a fork waits while a connection shakes hands. What takes longer waits for the server.
_SHAKING: Final = 0.1


class TLSConnection(ResilientConnection, HTTPSConnection):
    """A connection with TLS."""

    stock_name = "HTTPSConnection"
    #: How often a check-in still looks for a session; some servers send tickets with their first response.
    _looks: int = 3
    #: The session that was resumed, by its id: a ticket makes it another one.
    _resumed_id: bytes | None = None
    #: What forks of other threads wait for while it shakes hands; None: it does not.
    _shaking: Undivided | None = None
    #: The session whose ticket was the proof, until it is kept.
    _proof: ssl.SSLSession | None = None

    def _connect(self) -> None:
        try:
            self._shake_hands()
        finally:
            shaking, self._shaking = self._shaking, None
            if shaking is not None:
                shaking.__exit__()

    def _shake_hands(self) -> None:
        trace, sessions = self.trace, self.plan.sessions
        if self.proxy is not None and self._tunnel_host is None:
            self._shake_hands_with_proxy_only()
        if sessions is None or not trace.may_resume():
            super()._connect()
            return
        with offering(Offer(sessions, trace, self.permit)) as offer:
            super()._connect()
        sessions.worked()
        sock: Any = self.sock
        trace.tls_resumed = bool(getattr(sock, "session_reused", False))
        if trace.tls_resumed:
            self._resumed_id = None if offer.offered is None else offer.offered.id
        elif offer.offered is not None:
            sessions.drop(offer.offered)

    def _shake_hands_with_proxy_only(self) -> None:
        """Where a proxy reads what is asked, TLS is with the proxy: what is set for the server has no say.

        urllib3 before 2.8 goes by the server's settings there (CVE-2026-97687).
        """
        config = self.proxy_config
        if config is None or config.ssl_context is None:
            return
        self.ssl_context, self.cert_reqs = config.ssl_context, config.ssl_context.verify_mode
        self.assert_hostname, self.assert_fingerprint = config.assert_hostname, config.assert_fingerprint
        self.server_hostname = None

    def _connect_tls_proxy(self, *args: Any, **kwargs: Any) -> Any:
        """Shake hands with a proxy, whose context says whether its certificate is checked.

        urllib3 before 2.8 sets on that context what holds for the server (CVE-2026-97687).
        """
        config, of_server = self.proxy_config, self.cert_reqs
        if config is not None and config.ssl_context is not None:
            self.cert_reqs = config.ssl_context.verify_mode
        try:
            return super()._connect_tls_proxy(*args, **kwargs)
        finally:
            self.cert_reqs = of_server

    def keep_session(self) -> None:
        """Keep the TLS session, if there is a new one; for who resumes it."""
        if self.plan.sessions is None or not self._looks:
            return
        if self._proof is None and self.plan.sessions.has_enough():
            # A later check-in looks, if it has not by then.
            return
        self._looks -= 1
        sock: Any = self.sock
        session, self._proof = self._proof or resumable(sock), None
        if session is not None and session.id != self._resumed_id:
            self._looks = 0
            self.plan.sessions.put(sock.server_hostname, session)

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        # They may shake hands as soon as this one has.
        self._dial_for_others(sock, for_all=False)
        self._shaking = Undivided(_SHAKING).__enter__()
        return sock

    def _dial_for_others(self, sock: Any, for_all: bool) -> None:
        if self._is_far(sock) and self.plan.dial_for_others is not None:
            self.plan.dial_for_others(Route.of(sock, self.source_address, self.socket_options), for_all)

    def _is_far(self, sock: Any) -> bool:
        """Whether the server is far away; connects are begun ahead only where it is."""
        return self.plan.begun is not None or is_long(sock, self._dialled_in)

    def _prove(self) -> None:
        trace, plan = self.trace, self.plan
        sock: Any = self.sock
        if isinstance(sock, WatchedSSLSocket):
            sock.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        trace.tls_version = sock.version()
        if not plan.wants_proof:
            return
        # Twice the handshake just measured, never TCP's own round trip: a proxy or a sidecar answers that.
        floor = PROOF_WAIT_IN_DOUBT if plan.in_doubt else PROOF_WAIT
        patience = max(floor, 2 * (monotonic() - trace.marked))
        # The proof takes a round trip, too: it is theirs to connect in.
        self._dial_for_others(sock, for_all=True)
        if self.permit is not None:
            self.permit.shook_hands(patience, self._is_far(sock))
        if plan.sends_first and isinstance(sock, WatchedSSLSocket) and trace.tls_version == "TLSv1.3":
            self.is_proven = False
            sock.reads_first = partial(self._read_first, patience)
            return
        trace.mark(Stage.CONFIRM)
        left = trace.deadline.bound(None) if trace.deadline else None
        if left is not None:
            patience = min(patience, left)
        self._take(confirm(sock, patience, self._resumed_id))

    def _take(self, proof: ssl.SSLSession | bool) -> None:
        self.is_proven = bool(proof)
        self._proof = proof if isinstance(proof, ssl.SSLSession) else None

    def _settle(self) -> None:
        sock: Any = self.sock
        if getattr(sock, "reads_first", None) is not None:
            return
        if self.plan.wants_proof or self.trace.tls_version != "TLSv1.3":
            # Before others are let in: they may resume it. Otherwise nothing was read yet, tickets neither.
            self.keep_session()
        super()._settle()

    def _read_first(self, patience: float, read: Callable[[], Any]) -> Any:
        """The first read of the first answer: what comes with it, or before, proves that the server accepts.

        The others that wait are let in as soon as it does, and no later than when it might have.
        """
        # http.client may let go of it, when the answer is read.
        sock, since = self.sock, monotonic()
        proof, began = listen(sock, patience, self._resumed_id, read)
        self._take(proof)
        if self.is_proven:
            self._trust_address()
        self._settle()
        return read_for_the_rest(sock, since, read) if began is None else began
