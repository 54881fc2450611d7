"""How many requests the doctor may still make: it must never be a load."""

from __future__ import annotations

from typing import Final

#: Requests of one examination, all its sections together; and connections.
MOST_REQUESTS: Final = 200
MOST_CONNECTIONS: Final = 400


class BudgetSpent(Exception):
    """No request is left: what follows is skipped."""


class Budget:
    """Counts requests and connections, and refuses more than were granted. Used by one thread at a time."""

    def __init__(self, requests: int = MOST_REQUESTS, connections: int = MOST_CONNECTIONS) -> None:
        #: What was made so far.
        self.requests = 0
        self.connections = 0
        self._most_requests, self._most_connections = requests, connections
        self._is_closed = False

    @property
    def left(self) -> int:
        """Requests that may still be made."""
        return 0 if self._is_closed else max(0, self._most_requests - self.requests)

    def request(self, count: int = 1) -> None:
        """Take leave to send requests.

        Raises:
            BudgetSpent: so many are not left.
        """
        if count > self.left:
            raise BudgetSpent(f"the limit of {self._most_requests} requests is reached")
        self.requests += count

    def connect(self, count: int = 1) -> None:
        """Take leave to open connections.

        Raises:
            BudgetSpent: so many are not left.
        """
        if self._is_closed or self.connections + count > self._most_connections:
            raise BudgetSpent(f"the limit of {self._most_connections} connections is reached")
        self.connections += count

    def close(self) -> None:
        """Grant nothing any more: the examination is over."""
        self._is_closed = True

    def told(self, requests: int) -> None:
        """Requests were sent that nobody could stop, as repetitions of a call are."""
        self.requests += requests
