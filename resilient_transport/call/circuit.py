"""One call at the circuit breaker of its origin: it asks before each attempt, and reports how each ended."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from requests import PreparedRequest

from ..events import CircuitClosed, CircuitOpened, Hook
from ..exceptions import CircuitOpen
from ..retry.breaker import AnyCircuit
from ..retry.causes import Cause
from ..retry.stages import Failure, Stage
from ..telemetry.dispatch import announce


class CircuitCheck:
    """Asks the circuit before each attempt of one call, and reports how the attempt ended.

    Args:
        circuit: the origin's, of this process or of several.
        origin: scheme, host and port.
        on_event: the hook of the adapter.
    """

    def __init__(self, circuit: AnyCircuit, origin: str, on_event: Hook | None) -> None:
        self._circuit = circuit
        self._origin = origin
        self._on_event = on_event
        #: The permission that the present attempt has; None: it has none.
        self._permission: Any = None

    @property
    def why(self) -> str:
        """Why nothing is sent again, as the end of a sentence."""
        return f"the circuit of its origin{self._circuit.where} is open"

    def admits(self) -> bool:
        """Whether the circuit permits an attempt."""
        self._permission = self._circuit.enter()
        return self._permission is not None

    def refusal(self, request: PreparedRequest) -> CircuitOpen:
        """What is raised when no attempt of a call is admitted."""
        seconds = self._circuit.opens_in()
        until = f"for another {seconds:.1f} s" if seconds else "until another call has tried"
        error = CircuitOpen(
            f"The circuit of {self._origin}{self._circuit.where} is open: its latest attempts have failed. "
            f"Nothing is sent {until}.",
            request=request,
        )
        error.retry_after = seconds
        return error

    def stops(self, failure: Failure) -> bool:
        """Report a failed attempt; return whether no other may follow.

        Another caller's failure counts once, in that caller's call. What is the caller's own affair is not
        counted: a bad header, a full pool, what this machine refuses.
        """
        is_own = failure.cause in (Cause.INVALID, Cause.LOCAL) or failure.stage is Stage.QUEUE
        if not (failure.borrowed or is_own):
            self._failed()
        return self._circuit.is_open()

    def over(self) -> None:
        """The call is over, however it ended: another call may have the permission that it did not use."""
        self._circuit.left(self._permission)

    def answered(self, status: int) -> None:
        """Report the status of a response that is handed out, its body included unless it is streamed."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._failed()
        elif self._circuit.succeeded(self._permission):
            announce(self._on_event, CircuitClosed(self._origin))

    def _failed(self) -> None:
        if self._circuit.failed(self._permission):
            announce(self._on_event, CircuitOpened(self._origin, self._circuit.breaker.cool_down))
