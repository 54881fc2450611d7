"""How a fault server behaves when it does nothing wrong."""

from __future__ import annotations

from dataclasses import dataclass

_CHOICES = {
    "host": ("127.0.0.1", "::1"),
    "client_auth": ("required", "optional", "none"),
    "max_tls": ("1.2", "1.3"),
    "tickets": ("handshake", "first-response", "none"),
    "certificate": ("good", "expired", "misnamed", "untrusted"),
}


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """The server's lasting properties; a `Script` is what it does wrong on top.

    Raises `ValueError` naming the field and what it may be.
    """

    #: The loopback address to listen on: `127.0.0.1` or `::1`.
    host: str = "127.0.0.1"
    #: Whether to speak TLS.
    tls: bool = True
    #: Whether a client certificate is `required`, `optional` or not asked for (`none`).
    client_auth: str = "required"
    #: The newest version offered, `1.2` or `1.3`; 1.2 is the oldest.
    max_tls: str = "1.3"
    #: When session tickets come: right after the `handshake`; with the `first-response`, as BoringSSL does it
    #: (in TLS 1.2 the protocol sends them in the handshake all the same); or `none`, and no resumption.
    tickets: str = "handshake"
    #: What the server shows: `good`, `expired`, `misnamed` (another host's) or `untrusted` (another CA's).
    certificate: str = "good"
    #: Whether connections are kept after a response.
    keep_alive: bool = True
    #: Seconds after which an idle connection is ended with a FIN; `None` is 60.
    idle_timeout: float | None = None
    #: The answer to CONNECT; anything but 200 refuses the tunnel.
    connect_status: int = 200

    def __post_init__(self) -> None:
        """Refuse what a server cannot be."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.idle_timeout is not None and self.idle_timeout <= 0:
            raise ValueError(f"idle_timeout must be positive, got {self.idle_timeout}")
        if not 200 <= self.connect_status <= 599:
            raise ValueError(f"connect_status must be between 200 and 599, got {self.connect_status}")
