"""What happened, counted under one lock. Knows nothing of sockets."""

from __future__ import annotations

import threading
from collections import Counter

from ..observations import Counts, Execution, Tunnel


class Handshake:
    """One handshake in flight."""

    #: The most that were in flight at once while this one was, itself included. Set by the ledger.
    crowd: int = 0


class Ledger:
    """Counters since the last `clear`, and gauges that survive it."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock = threading.Lock()
        self._in_flight: set[Handshake] = set()
        self._open = 0
        self._zero()

    def clear(self) -> None:
        """Set the counters back; what is open stays counted."""
        with self._lock:
            self._zero()
            self._in_flight_max = len(self._in_flight)

    def accepted(self) -> int:
        """Count an accept and return its number."""
        with self._lock:
            self._open += 1
            self._counted["accepts"] += 1
            return self._counted["accepts"]

    def ended(self) -> None:
        """Count a connection out."""
        with self._lock:
            self._open -= 1

    def began(self) -> Handshake:
        """Count a handshake in; everyone in flight sees the crowd."""
        handshake = Handshake()
        with self._lock:
            self._in_flight.add(handshake)
            crowd = len(self._in_flight)
            self._in_flight_max = max(self._in_flight_max, crowd)
            for each in self._in_flight:
                each.crowd = max(each.crowd, crowd)
        return handshake

    def finished(self, handshake: Handshake, done: bool, resumed: bool) -> None:
        """Count a handshake out."""
        with self._lock:
            self._in_flight.discard(handshake)
            self._counted["handshakes" if done else "handshake_failures"] += 1
            self._counted["resumptions"] += done and resumed

    def requested(self) -> None:
        """Count a request head."""
        with self._lock:
            self._counted["requests"] += 1

    def executed(self, execution: Execution) -> None:
        """Write down an execution."""
        with self._lock:
            self._executions.append(execution)
            self._by_id[execution.request_id] += 1

    def tunnelled(self, tunnel: Tunnel) -> None:
        """Write down a CONNECT."""
        with self._lock:
            self._tunnels.append(tunnel)

    def anonymous(self) -> str:
        """Return an id for a request that brought none."""
        with self._lock:
            self._anonymous += 1
            return f"anonymous-{self._anonymous}"

    def counts(self) -> Counts:
        """Return the counters."""
        with self._lock:
            return Counts(
                **self._counted,
                tunnels=len(self._tunnels),
                executions=dict(self._by_id),
                in_flight_max=self._in_flight_max,
                in_flight=len(self._in_flight),
                open_connections=self._open,
            )

    def executions(self) -> tuple[Execution, ...]:
        """Return all executions, in order."""
        with self._lock:
            return tuple(self._executions)

    def tunnels(self) -> tuple[Tunnel, ...]:
        """Return all CONNECTs, in order."""
        with self._lock:
            return tuple(self._tunnels)

    def _zero(self) -> None:
        self._counted: Counter[str] = Counter()
        self._executions: list[Execution] = []
        self._by_id: Counter[str] = Counter()
        self._tunnels: list[Tunnel] = []
        self._anonymous = 0
        self._in_flight_max = 0
