"""What a fault server saw, as frozen data: its counters, the requests it executed, the tunnels asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Counts:
    """Counters since the script began; `open_connections` and `in_flight` are as of now."""

    #: TCP connections accepted.
    accepts: int = 0
    #: TLS handshakes the server finished.
    handshakes: int = 0
    #: Of these, the ones that resumed a session.
    resumptions: int = 0
    #: Handshakes that began (a ClientHello was read) and did not finish, scripted faults included.
    handshake_failures: int = 0
    #: Request heads read, executed or not; CONNECT is not one.
    requests: int = 0
    #: CONNECT heads read, whatever was answered.
    tunnels: int = 0
    #: How often each request was executed, by its `X-Request-Id`.
    executions: Mapping[str, int] = field(default_factory=dict)
    #: The most handshakes that were in flight at once, from ClientHello to the end of the handshake.
    in_flight_max: int = 0
    #: Handshakes in flight now.
    in_flight: int = 0
    #: Connections the server has not ended.
    open_connections: int = 0

    @property
    def executed(self) -> int:
        """Executions of all requests together."""
        return sum(self.executions.values())

    def brief(self) -> str:
        """Return all of it in a line, the executions as one number."""
        plain = {**self.to_plain(), "executions": self.executed}
        return ", ".join(f"{name}={value}" for name, value in plain.items())

    def to_plain(self) -> dict[str, Any]:
        """Return what `json.dumps` can write."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Execution:
    """One request that was executed. It holds no secret: of credentials only scheme and digest."""

    #: The header `X-Request-Id`, or `anonymous-N`.
    request_id: str
    #: The method.
    method: str
    #: Path and query.
    path: str
    #: Bytes of the request body, chunk framing not counted.
    body_bytes: int
    #: Their SHA-256, in hex.
    body_sha256: str
    #: Common name of the client certificate, once verified.
    client: str | None
    #: The header `Idempotency-Key`.
    idempotency_key: str | None
    #: The scheme of `Authorization`.
    authorization_scheme: str | None
    #: Scheme and SHA-256 of the credentials of `Proxy-Authorization`, with a space between.
    proxy_authorization: str | None
    #: Which accept the connection was.
    connection: int
    #: Whether its handshake resumed a session.
    resumed: bool
    #: `TLSv1.2` or `TLSv1.3`; `None` without TLS.
    tls_version: str | None
    #: The name asked for in the handshake (SNI).
    server_name: str | None


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One CONNECT that was read."""

    #: `host:port` as asked for.
    target: str
    #: The status answered; 0 when a fault came first.
    status: int
    #: Scheme and SHA-256 of the credentials of `Proxy-Authorization`, with a space between.
    proxy_authorization: str | None
    #: Which accept the connection was.
    connection: int
