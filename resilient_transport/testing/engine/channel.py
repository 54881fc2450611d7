"""What connects HTTP to the socket: plain text, or TLS with every flight in our hands.

TLS runs in memory (`ssl.MemoryBIO`): records that OpenSSL has written are ours until we send them, which is
how tickets are held back, alerts delayed and records spoilt.
"""

from __future__ import annotations

import ssl

from .peer import Peer
from .termination import PeerGone

#: A close_notify alert before any key is agreed: warning (1), close_notify (0); RFC 8446 §6.1.
_PLAIN_CLOSE_NOTIFY = b"\x15\x03\x03\x00\x02\x01\x00"
_HANDSHAKE_RECORD = 22
# Large writes go out in pieces, so that a body does not lie in memory twice.
_PIECE = 1 << 18


class Channel:
    """Plain text: bytes are sent as they are."""

    #: `TLSv1.2` or `TLSv1.3`.
    tls_version: str | None = None
    #: Whether the handshake resumed a session.
    resumed: bool = False
    #: Common name of the verified client certificate.
    client: str | None = None
    #: The name the client asked for.
    server_name: str | None = None

    def __init__(self, peer: Peer) -> None:
        """Speak over this socket."""
        self.peer = peer

    def recv(self, timeout: float | None = None) -> bytes:
        """Return decrypted bytes, empty at the end; `timeout` in seconds. Raises `PeerGone`."""
        return self.peer.recv(timeout)

    def available(self, readable: bool) -> tuple[bytes, bool]:
        """Return what is here without waiting, and whether more may follow; `readable` allows one read."""
        if not readable:
            return b"", True
        data = self.peer.recv()
        return data, bool(data)

    def send(self, data: bytes) -> None:
        """Send all of it, in one write if it is not large."""
        self.peer.send(data)

    def notify(self) -> None:
        """Send a close_notify, where there is such a thing."""

    def corrupt(self, data: bytes) -> None:
        """Send it in a record that no client can decrypt."""
        raise NotImplementedError("plain text has no records")  # pragma: no cover - scripts are checked


class TLSChannel(Channel):
    """TLS, server side. First `read_hello`, then `handshake`; then as any channel."""

    def __init__(self, peer: Peer) -> None:
        """Speak over this socket."""
        super().__init__(peer)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None

    def read_hello(self) -> None:
        """Read until the ClientHello is complete. Raises `PeerGone`."""
        hello = b""
        while not hello_is_complete(hello):
            data = self.peer.recv()
            if not data:
                raise PeerGone("before its ClientHello")
            hello += data
        self._incoming.write(hello)

    def handshake(self, context: ssl.SSLContext, hold_tickets: bool = False) -> None:
        """Shake hands; raises `ssl.SSLError` with the alert still unsent, or `PeerGone`."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self._feed()
        self._tls = tls
        self.tls_version = tls.version()
        self.resumed = bool(tls.session_reused)
        self.client = _common_name(tls)
        # What TLS 1.2 has written by now belongs to the handshake; in TLS 1.3 it is tickets.
        if not (hold_tickets and self.tls_version == "TLSv1.3"):
            self.flush()

    def recv(self, timeout: float | None = None) -> bytes:
        """Return decrypted bytes, empty at close_notify. Raises `PeerGone` for any other end."""
        while (data := self._decrypted()) is None:
            self._feed(timeout)
        return data

    def available(self, readable: bool) -> tuple[bytes, bool]:
        """Return what is here without waiting, and whether more may follow; `readable` allows one read."""
        if readable:
            self._feed()
        data = b""
        while piece := self._decrypted():
            data += piece
        return data, piece is None

    def send(self, data: bytes) -> None:
        """Encrypt and send, together with whatever was held back."""
        assert self._tls is not None
        for start in range(0, len(data), _PIECE):
            self._tls.write(data[start : start + _PIECE] if len(data) > _PIECE else data)
            self.flush()

    def flush(self) -> None:
        """Send the records written so far."""
        if self._outgoing.pending:
            self.peer.send(self._outgoing.read())

    def notify(self) -> None:
        """Send a close_notify, before the handshake as plain text."""
        if self._tls is None:
            self.peer.send(_PLAIN_CLOSE_NOTIFY)
            return
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # The client's own close_notify is not waited for; ours is written.
            self.flush()

    def corrupt(self, data: bytes) -> None:
        """Send the data in a record whose last byte, of its authentication tag, was flipped."""
        assert self._tls is not None
        self.flush()
        self._tls.write(data)
        record = bytearray(self._outgoing.read())
        record[-1] ^= 0xFF
        self.peer.send(bytes(record))

    def _decrypted(self) -> bytes | None:
        """Return what is here, empty at close_notify, `None` if more must be read. Raises `PeerGone`."""
        assert self._tls is not None
        try:
            return self._tls.read(65536)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            # How Python says it once our own close_notify is out.
            return b""
        except ssl.SSLError as error:
            raise PeerGone(str(error)) from error

    def _feed(self, timeout: float | None = None) -> None:
        data = self.peer.recv(timeout)
        if data:
            self._incoming.write(data)
        else:
            raise PeerGone("closed without close_notify")


def hello_is_complete(data: bytes) -> bool:
    """Return whether the ClientHello at the start is whole, over as many records as it takes (RFC 8446 §5.1).

    Anything that is not TLS counts as complete: OpenSSL knows what to say to it.
    """
    message = b""
    while data and data[0] == _HANDSHAKE_RECORD:
        end = 5 + int.from_bytes(data[3:5], "big")
        message += data[5:end]
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return True
        data = data[end:] if len(data) >= 5 else b""
    return bool(data)


def _common_name(tls: ssl.SSLObject) -> str | None:
    certificate = tls.getpeercert() or {}
    subject: tuple[tuple[tuple[str, str], ...], ...] = certificate.get("subject", ())  # type: ignore[assignment]
    return next((value for part in subject for name, value in part if name == "commonName"), None)
