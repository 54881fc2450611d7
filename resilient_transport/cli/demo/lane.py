"""One transport's lane: a fault server of its own, and the processes that start against it.

Lanes run side by side; within one, starts follow each other, so that the server sees one program at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import IO, Any, Final

from ...settings.environment import clean_environment
from ...testing import Authority, FaultServer, Script
from .order import Call, Order, Outcome, Start
from .scenarios import Scenario
from .verdict import Cell
from .zygote import CAN_FORK

#: What the report's program sends at its start.
METHODS: Final = ("GET", "GET", "POST", "POST")
_PROGRAM: Final = "from resilient_transport.cli.demo.zygote import main; main(forks={})"
_END_SECONDS: Final = 5.0


class NotTrustworthy(Exception):
    """Calls failed although nothing was made to fail: the comparison would prove nothing."""


class Nursery:
    """Fresh processes, one for each start.

    Args:
        forks: let all be born from one process; otherwise each is a new interpreter.
    """

    def __init__(self, forks: bool = CAN_FORK) -> None:
        self._forks = forks
        self._process = self._new()

    def start(self, order: Order) -> Start:
        """Let a fresh process carry out an order, and return what came of it."""
        if self._process.poll() is not None:
            self._process = self._new()
        answer = self._ask(order.to_plain())
        if not self._forks:
            self.close()
        if "died" in answer:
            return _stillborn(order, int(answer["died"]))
        return Start.from_plain(answer)

    def close(self) -> None:
        """End the process; again is harmless."""
        questions, answers = self._pipes()
        questions.close()
        answers.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _new(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _PROGRAM.format(self._forks)],
            env=_default_settings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        questions, answers = self._pipes()
        questions.write(json.dumps(question) + "\n")
        questions.flush()
        answer: dict[str, Any] = json.loads(answers.readline() or "{}")
        return answer or {"died": self._process.wait(_END_SECONDS)}

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        process: Any = self._process
        return process.stdin, process.stdout


class Lane:
    """A transport, its server and its nursery; a context manager."""

    def __init__(self, transport: str, authority: Authority) -> None:
        self.transport = transport
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
        if start.failed or len(answers) != 1:
            raise NotTrustworthy(f"without any fault, {self.transport} came to {start}")
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
        return Order(self.transport, self._server.url, authority.ca_file, authority.client, calls)


def _default_settings() -> Mapping[str, str]:
    """The environment without what changes how requests, or this package, send."""
    clean = clean_environment()
    return {
        name: value for name, value in clean.items() if not name.upper().startswith("RESILIENT_TRANSPORT_")
    }


def _stillborn(order: Order, status: int) -> Start:
    error = f"process ended with status {status}"
    return Start(tuple(Outcome(call.request_id, call.method, error) for call in order.calls))
