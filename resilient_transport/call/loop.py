"""The one loop: send, record, judge, wait, repeat."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from time import sleep
from typing import Any, Final, NoReturn

from requests import Response
from requests.exceptions import RequestException, Timeout

from ..body.range_request import ask_again
from ..body.streamed import tell_errors
from ..connection.trace import CURRENT, Trace
from ..events import AttemptSucceeded, CallEnded
from ..events.attempt import Attempts
from ..retry.budget import PAY_BACK
from ..retry.decision import Decision, given_up
from ..retry.stages import Cause, Failure, Stage
from ..telemetry.dispatch import dispatcher_for
from .circuit import CircuitCheck
from .client_certificate import rejection
from .outcome import deadline_exceeded, discard, too_many, with_attempts
from .record import OPEN, Record
from .redaction import redact
from .resume import Resumer

_ANSWERED: Final = Decision(again=False, why="the response was handed out")
_NOT_THE_WIRE: Final = Decision(again=False, why="not sent again: it did not fail on the wire")


class Call(Record):
    """One call, as often as it takes."""

    #: The failure that got furthest, the latest among equals, and how far it got.
    furthest: tuple[int, Exception] | None = None
    #: What `ask_again` takes to ask for the rest of a body; None: bodies are not resumed.
    again: tuple[Any, tuple[Any, ...]] | None = None
    #: Goes on with the body of the last response, if it breaks.
    resumer: Resumer | None = None

    def run(self, send: Callable[[Trace], Response], stream: bool = False) -> Response:
        """Send until there is a response to hand out, or a reason to stop.

        Args:
            send: makes one attempt.
            stream: the body is read after the response was handed out.

        Raises:
            requests.exceptions.RequestException: the failure that got furthest, with `attempts`.
        """
        self.reads_later = stream
        self.dispatcher = dispatcher_for(self.on_event, self.origin, self.request.method or "")
        status = raised = None
        try:
            response = self._repeat(send)
            status = response.status_code
        except BaseException as error:
            # An interrupt ends a call, too.
            raised = type(error).__name__
            raise
        finally:
            if self.circuit_check is not None:
                self.circuit_check.over()
            self.counters.ended()
            if self.dispatcher is not None:
                self.dispatcher(CallEnded, status, raised)
        return response

    def _repeat(self, send: Callable[[Trace], Response]) -> Response:
        if self.circuit_check is not None and not self.circuit_check.admits():
            return self._refused(self.circuit_check, None)
        while True:
            response, error = self._attempt(send)
            # Another one than it began with, if the body was resumed.
            trace = self.carrier
            decision = self._judge(trace, response, error)
            if decision is _ANSWERED and response is not None:
                return self._answer(trace, response)
            self._write_down(trace, response, error, decision)
            if not decision.again:
                if response is not None:
                    return self._hand_out(response, decision)
                try:
                    self._raise(error, decision)
                finally:
                    # Its traceback holds this frame: what the frame holds must not be the exception.
                    del error
            del error
            refused = self._pause(response, decision.delay)
            if refused is not None:
                return refused
            del response

    def _attempt(self, send: Callable[[Trace], Response]) -> tuple[Response | None, Exception | None]:
        """Send once, and note what the wire could not."""
        trace = self.carrier = self._begin()
        response: Response | None = None
        error: Exception | None = None
        token = CURRENT.set(trace)
        try:
            response = send(trace)
        except Exception as raised:
            error = raised
        finally:
            CURRENT.reset(token)
            if not self.body.rewindable:
                self.body.is_spent(self.carrier.stage)
        trace = self.carrier
        if trace.status is None and response is not None:
            trace.status = response.status_code
        if isinstance(error, Timeout) and trace.error is None and trace.is_late():
            # urllib3 has found that out before the wire did.
            trace.fail(error)
        try:
            return response, error
        finally:
            # Its traceback holds this frame: what the frame holds must not be the exception.
            del error

    def _pause(self, response: Response | None, delay: float) -> Response | None:
        """Wait until the next attempt; the response that the call ends with, if there may be none."""
        if response is not None and self.circuit_check is None:
            discard(response)
            response = None
        try:
            sleep(delay)
        except BaseException:
            # An interrupt.
            if response is not None:
                response.close()
            raise
        if self.circuit_check is not None and not self.circuit_check.admits():
            return self._refused(self.circuit_check, response)
        if response is not None:
            discard(response)
        return None

    def _begin(self) -> Trace:
        if self.deadline.is_over():
            decision = given_up("the deadline is over", "deadline")
            self._note_stop(decision)
            self._raise(None, decision)
        trace = self.trace(bool(self.failures) and self.failures[-1].cause is Cause.MISDIRECTED)
        self.resumer = None
        if self.again is not None:
            trace.on_answer = self._watch
        return trace

    def _watch(self, response: Any) -> None:
        """Look after the body of urllib3's response; nothing of one byte can be there already."""
        if self.again is not None and (self.reads_later or response.length_remaining not in (0, 1)):
            self.resumer = Resumer(self, partial(ask_again, *self.again))
            self.resumer.watch(response)

    def read_later(self, response: Response) -> None:
        """Leave the body of a response to the caller, who will be told what went wrong with it."""
        tell_errors(response.raw, self._broke_off)

    def body_read(self, received: int, error: BaseException | None = None) -> None:
        """Note how many bytes of a body came, and the error that ended it, if one did."""
        if self.resumer is None or not self.resumer.told:
            self.carrier.bytes_in = received - (self.resumer.since if self.resumer else 0)
        if error is not None:
            self.carrier.fail(error)

    def _broke_off(self, error: BaseException, received: int) -> BaseException:
        why = "only the body of a GET without a body is"
        if self.resumer is not None:
            why = self.resumer.why_not()
        return self.broke_off(error, received, why)

    def _judge(self, trace: Trace, response: Response | None, error: Exception | None) -> Decision:
        """There are three cases: a good answer, an error that is not the wire's, and a failure that is."""
        if self.resumer is not None and self.resumer.gave_up is not None:
            return self.resumer.gave_up
        failure = self._failure(trace, response)
        if failure is not None:
            return self.decide(failure)
        if self.circuit_check is not None and response is not None:
            self.circuit_check.answered(response)
        return _ANSWERED if error is None else _NOT_THE_WIRE

    def _refused(self, circuit_check: CircuitCheck, response: Response | None) -> Response:
        """End the call where the circuit admits no attempt: with what it has, if it has anything."""
        decision = given_up(OPEN, "circuit")
        self._note_stop(decision)
        if response is None:
            self._raise(circuit_check.refusal(self.request), decision)
        return self._hand_out(response, decision)

    def _note_stop(self, decision: Decision) -> None:
        """What was decided after the last attempt holds no longer."""
        self.counters.refused(decision.reason)
        if self.attempts:
            self.attempts[-1] = self.attempts[-1]._replace(delay=None, decision=decision.why)

    def _failure(self, trace: Trace, response: Response | None) -> Failure | None:
        if response is not None:
            return None if self.warming else self.failure_told(trace, response.status_code, response.headers)
        return None if trace.error is None else self.failure_on_wire(trace, trace.error)

    def _answer(self, trace: Trace, response: Response) -> Response:
        """Hand out what is not a failure: most calls end here."""
        trace.stage = Stage.DONE
        why = "connected, and nothing was sent" if self.warming else _ANSWERED.why
        attempt = self.record(trace, None, why)
        if self.dispatcher is not None:
            self.dispatcher(AttemptSucceeded, attempt)
            if self.count > 1:
                self.recovered()
        self.quota.give_back(self.cost or PAY_BACK)
        if self.history or self.reads_later or self.policy.spool_bytes:
            return self._hand_out(response, _ANSWERED)
        response.attempts = Attempts(self.attempts)  # type: ignore[attr-defined]
        return response

    def _write_down(
        self, trace: Trace, response: Response | None, error: Exception | None, decision: Decision
    ) -> None:
        told, why = error, decision.why
        if self.resumer is not None and self.resumer.refusal:
            told, why = None, f"not resumed: {self.resumer.refusal}; {why}"
        self.failed(trace, told, why, decision.delay if decision.again else None)
        # Its traceback holds who reads, who may hold the call.
        trace.error = None
        self.remember(response, error)
        if error is not None and (self.furthest is None or trace.stage.rank >= self.furthest[0]):
            self.furthest = (trace.stage.rank, error)

    def _hand_out(self, response: Response, decision: Decision) -> Response:
        if decision.exhausted:
            listed = response.status_code != 421 or 421 in self.policy.statuses
            raises = self.policy.raise_on_status and listed
            failed = too_many(self.request, response) if raises else None
            self.gave_up(failed)
            if failed is not None:
                discard(response)
                raise with_attempts(failed, self.attempts)
        self.cost = 0
        if self.policy.spool_bytes and response.status_code not in (401, 407):
            # Digest authentication sends the body of the request again.
            self.body.close()
        self.publish(response)
        if self.reads_later:
            self.is_handed_out = True
            self.release(self.carrier)
            self.handed_out = weakref.ref(response)
        return response

    def _raise(self, error: Exception | None, decision: Decision) -> NoReturn:
        """Raise what fits best: the error that is not the wire's, the deadline, or what got furthest."""
        rank, furthest = self.furthest if self.furthest is not None else (0, error)
        if decision is _NOT_THE_WIRE and error is not None:
            failed = error
        elif furthest is None or self.deadline.is_over():
            failed = deadline_exceeded(self.request, self.deadline.allowed(), furthest)
        else:
            failed = furthest
        self.furthest = None
        self.body.close()
        if rank > Stage.TUNNEL.rank and (self.request.url or "").startswith("https:"):
            # From there on it is the server that speaks, and no proxy.
            failed = rejection(failed, *self.certificate())
        redact(failed)
        if isinstance(failed, RequestException):
            with_attempts(failed, self.attempts)
        if decision is not _NOT_THE_WIRE:
            self.gave_up(failed)
        try:
            raise failed
        finally:
            # The traceback holds this frame: what the frame holds must not be the exception.
            del failed, furthest, error
