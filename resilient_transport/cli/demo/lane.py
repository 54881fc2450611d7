"""One transport's lane: a fault server of its own, and the processes that start against it.

Lanes run side by side; within one, starts follow each other, so that the server sees one program at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final

from ...testing import Authority, FaultServer, Script
from .cell import Cell
from .nursery import Nursery
from .order import Call, Order
from .scenarios import Scenario

#: What the report's program sends at its start.
METHODS: Final = ("GET", "GET", "POST", "POST")


class NotTrustworthy(Exception):
    """Calls failed although nothing was made to fail: the comparison would prove nothing."""


class Lane:
    """A transport, its server and its nursery; a context manager.

    Args:
        transport: its name.
        authority: whose certificates the server and the programs use.
        in_detail: let each attempt be told, with the times of its stages.
    """

    def __init__(self, transport: str, authority: Authority, in_detail: bool = False) -> None:
        self.transport = transport
        self._in_detail = in_detail
        # Set by `stop`, on any thread; read by `play` before each start.
        self._stopped = False
        self._nursery = Nursery()
        self._server = FaultServer(authority=authority)

    def reference(self, scenario: Scenario) -> str:
        """Have the server do nothing wrong, and return the SHA-256 of what it then answers.

        Raises:
            NotTrustworthy: a call failed.
        """
        self._server.play(Script())
        start = self._nursery.start(self._order(scenario, "reference", None))
        answers = {outcome.digest for outcome in start.outcomes}
        errors = {outcome.error for outcome in start.outcomes if outcome.error}
        if errors or len(answers) != 1:
            why = ", ".join(sorted(errors)) or "answers that differ"
            raise NotTrustworthy(
                f"nothing can be compared here: without any fault, {self.transport} met {why}"
            )
        return answers.pop()

    def play(self, scenario: Scenario, rounds: int, seed: int, digest: str, tick: Callable[[], None]) -> Cell:
        """Start so often under a scenario, or until `stop`; `tick` is called after each start."""
        self._server.play(scenario.script(seed))
        starts = []
        for number in range(1, rounds + 1):
            if self._stopped:
                break
            order = self._order(scenario, f"{scenario.name}-{number}", digest)
            starts.append(self._nursery.start(order))
            tick()
        counts = self._server.counts()
        return Cell(scenario, self.transport, tuple(starts), counts.accepts, counts.executions)

    def stop(self) -> None:
        """Let `play` come to its end after the start that runs."""
        self._stopped = True

    def kill(self) -> None:
        """End the start that runs, at once; the server ends with this process, since its questions do."""
        self._nursery.kill()

    def __enter__(self) -> Lane:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nursery.close()
        self._server.close()

    def _order(self, scenario: Scenario, name: str, digest: str | None) -> Order:
        calls = tuple(
            Call(f"{name}-{number}-{method}", method, scenario.path, digest)
            for number, method in enumerate(METHODS, 1)
        )
        authority = self._server.authority
        return Order(
            self.transport, self._server.url, authority.ca_file, authority.client, calls, self._in_detail
        )
