"""One call at the circuit breaker of its origin: it asks for leave, and tells how its attempts ended."""

from __future__ import annotations

from http import HTTPStatus

from requests import PreparedRequest, Response

from ..events import CircuitClosed, CircuitOpened, Hook
from ..exceptions import CircuitOpen
from ..retry.breaker import Circuit
from ..retry.stages import Cause, Failure, Stage
from ..telemetry.dispatch import announce


class CircuitCheck:
    """Stands before the attempts of one call.

    Args:
        circuit: the origin's.
        origin: scheme, host and port.
        on_event: the hook of the adapter.
    """

    def __init__(self, circuit: Circuit, origin: str, on_event: Hook | None) -> None:
        self._circuit = circuit
        self._origin = origin
        self._on_event = on_event
        #: The leave that the present attempt has.
        self._leave: int | None = None

    def admits(self) -> bool:
        """Ask leave for an attempt."""
        self._leave = self._circuit.enter()
        return self._leave is not None

    def refusal(self, request: PreparedRequest) -> CircuitOpen:
        """What is raised when no attempt of a call is admitted."""
        seconds = self._circuit.opens_in()
        until = f"for another {seconds:.1f} s" if seconds else "until another call has tried"
        error = CircuitOpen(
            f"The circuit of {self._origin} is open: its latest attempts have failed. "
            f"Nothing is sent {until}.",
            request=request,
        )
        error.retry_after = seconds
        return error

    def stops(self, failure: Failure) -> bool:
        """Tell of a failed attempt; whether no other may follow.

        What another caller has met counts there; a bad header, or too few places in the pool, are nobody's
        failure but the caller's.
        """
        if not (failure.borrowed or failure.cause is Cause.INVALID or failure.stage is Stage.QUEUE):
            self._failed()
        return self._circuit.is_open()

    def over(self) -> None:
        """The call is over, however it ended: what leave it has left is free for another."""
        self._circuit.left(self._leave)

    def answered(self, response: Response) -> None:
        """Tell of a response that is handed out."""
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._failed()
        elif self._circuit.succeeded(self._leave):
            announce(self._on_event, CircuitClosed(self._origin))

    def _failed(self) -> None:
        if self._circuit.failed(self._leave):
            announce(self._on_event, CircuitOpened(self._origin, self._circuit.breaker.cool_down))
