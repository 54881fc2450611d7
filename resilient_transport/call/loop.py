"""The one loop: send, record, judge, wait, repeat."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import Any, Final, NoReturn

from requests import Response
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException, Timeout

from ..body.buffered import buffer
from ..body.streamed import report_errors
from ..connection.timeouts import bounded
from ..connection.trace import CURRENT, Trace
from ..events import AttemptSucceeded, CallEnded
from ..events.attempt import Attempts
from ..retry.budget import PAY_BACK
from ..retry.decision import Decision, given_up
from ..retry.stages import Cause, Failure, Stage
from .circuit import CircuitCheck
from .client_certificate import rejection
from .outcome import deadline_exceeded, discard, too_many, with_attempts
from .plan import CallPlan
from .record import OPEN, Record
from .redaction import forget_frames, redact
from .resume import Resumer

#: What sends one attempt: `HTTPAdapter.send`, or what a program has put in its place.
Send = Callable[..., Response]

_ANSWERED: Final = Decision(again=False, why="the response was handed out")
_NOT_THE_WIRE: Final = Decision(again=False, why="not sent again: it did not fail on the wire")


class Call:
    """One call, as often as it takes.

    Args:
        plan: what it is made of.
        adapter: whose hooks find a pool for the rest of a body that broke.

    Raises:
        requests.exceptions.UnrewindableBodyError: the request's body was sent before.
    """

    # Every call makes one: what holds for most of them is the class's.

    #: The failure that got furthest, the latest among equals, and how far it got.
    furthest: tuple[int, Exception] | None = None
    #: Resumes the body of the last response, if it breaks; None: nothing does.
    resumer: Resumer | None = None

    def __init__(self, plan: CallPlan, adapter: HTTPAdapter) -> None:
        self.plan = plan
        self.record = Record(plan)
        self._adapter = adapter

    def run(self, send: Send) -> Response:
        """Send until there is a response to hand out, or a reason to stop.

        Args:
            send: makes one attempt.

        Raises:
            requests.exceptions.RequestException: the failure that got furthest, with `attempts`.
        """
        plan, dispatcher = self.plan, self.record.dispatcher
        status = raised = None
        try:
            response = self._repeat(send)
            status = response.status_code
        except BaseException as error:
            # An interrupt ends a call, too.
            raised = type(error).__name__
            raise
        finally:
            if plan.circuit_check is not None:
                plan.circuit_check.over()
            plan.counters.ended()
            if dispatcher is not None:
                dispatcher(CallEnded, status, raised)
        return response

    def _repeat(self, send: Send) -> Response:
        check = self.plan.circuit_check
        if check is not None and not check.admits():
            return self._refused(check, None)
        while True:
            response, error = self._attempt(send)
            # If the body was resumed, another attempt carries it.
            trace = self.record.carrier
            decision = self._judge(trace, response, error)
            if decision is _ANSWERED and response is not None:
                return self._answer(trace, response)
            self._note_failure(trace, response, error, decision)
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

    def _attempt(self, send: Send) -> tuple[Response | None, Exception | None]:
        """Send once, and note what the wire could not."""
        record = self.record
        trace = record.carrier = self._begin()
        response: Response | None = None
        error: Exception | None = None
        token = CURRENT.set(trace)
        try:
            response = self._exchange(send, trace)
        except Exception as raised:
            error = raised
        finally:
            CURRENT.reset(token)
            # It holds this call, which holds the trace.
            trace.on_answer = None
            if not record.body.rewindable:
                record.body.is_spent(record.carrier.stage)
        trace = record.carrier
        if trace.status is None and response is not None:
            trace.status = response.status_code
        if isinstance(error, Timeout) and trace.error is None and trace.is_late():
            # urllib3 noticed that before the socket did.
            trace.fail(error)
        try:
            return response, error
        finally:
            # Its traceback holds this frame: what the frame holds must not be the exception.
            del error

    def _exchange(self, send: Send, trace: Trace) -> Response:
        """Send the request, and read the response's body unless the caller does that."""
        plan = self.plan
        trace.connect_timeout, trace.send_timeout = plan.connect_timeout, plan.read_timeout
        within = bounded(plan.timeout, trace.deadline or plan.deadline)
        response = send(plan.request, plan.stream, within, plan.verify, plan.cert, plan.proxies)
        if plan.stream:
            report_errors(response.raw, self._broke_off)
        elif trace.stage is Stage.BODY:
            buffer(response, self)
        return response

    def _pause(self, response: Response | None, delay: float) -> Response | None:
        """Wait until the next attempt; if none is permitted, return the response that ends the call."""
        if response is not None and self.plan.circuit_check is None:
            discard(response)
            response = None
        try:
            sleep(delay)
        except BaseException:
            # An interrupt.
            if response is not None:
                response.close()
            raise
        if self.plan.circuit_check is not None and not self.plan.circuit_check.admits():
            return self._refused(self.plan.circuit_check, response)
        if response is not None:
            discard(response)
        return None

    def _begin(self) -> Trace:
        record = self.record
        if record.deadline.is_over():
            decision = given_up("the deadline is over", "deadline")
            self._note_stop(decision)
            self._raise(None, decision)
        trace = record.trace(bool(record.failures) and record.failures[-1].cause is Cause.MISDIRECTED)
        self.resumer = None
        if self.plan.rest is not None:
            trace.on_answer = self._watch
        return trace

    def _watch(self, response: Any) -> None:
        """Resume the body of urllib3's response if it breaks; one byte is there whole or not at all."""
        if self.plan.stream or response.length_remaining not in (0, 1):
            self.resumer = Resumer(self.record, self._adapter)
            self.resumer.watch(response)

    def body_read(self, received: int, error: BaseException | None = None) -> None:
        """Note how many bytes of a body came, and the error that ended it, if one did."""
        carrier, resumer = self.record.carrier, self.resumer
        if resumer is None:
            carrier.bytes_in = received
        elif not resumer.is_recorded:
            carrier.bytes_in = received - resumer.since
        if error is not None:
            carrier.fail(error)

    def _broke_off(self, error: BaseException, received: int) -> BaseException:
        """Note that a body that was handed out before it was read has broken off for good.

        Args:
            error: what has ended it.
            received: how many bytes of it came.

        Returns:
            What the caller gets.
        """
        record, deadline = self.record, self.record.deadline
        why = "only the body of a GET without a body is"
        if self.resumer is not None:
            why = self.resumer.why_not()
        if deadline.is_over():
            error = deadline_exceeded(self.plan.request, deadline.allowed(), error)
            why = why and "the deadline is over"
        if why:
            self.plan.counters.failed(Stage.BODY)
            self.plan.counters.refused("not resumable")
            record.carrier.mark(Stage.BODY)
            record.carrier.bytes_in = received
            record.failed(record.carrier, error, f"not resumed: {why}")
        record.gave_up(error)
        with_attempts(error, record.attempts)
        record.publish()
        return error

    def _judge(self, trace: Trace, response: Response | None, error: Exception | None) -> Decision:
        """There are three cases: a good answer, an error that is not the wire's, and a failure that is."""
        if self.resumer is not None and self.resumer.gave_up is not None:
            return self.resumer.gave_up
        failure = self._failure(trace, response)
        if failure is not None:
            return self.record.decide(failure)
        if self.plan.circuit_check is not None and response is not None:
            self.plan.circuit_check.answered(response)
        return _ANSWERED if error is None else _NOT_THE_WIRE

    def _refused(self, circuit_check: CircuitCheck, response: Response | None) -> Response:
        """End the call because the circuit permits no attempt: with the last response, if there is one."""
        decision = given_up(OPEN, "circuit")
        self._note_stop(decision)
        if response is None:
            self._raise(circuit_check.refusal(self.plan.request), decision)
        return self._hand_out(response, decision)

    def _note_stop(self, decision: Decision) -> None:
        """Write down why no attempt follows the last one, although one was to follow."""
        attempts = self.record.attempts
        self.plan.counters.refused(decision.reason)
        if attempts:
            attempts[-1] = attempts[-1]._replace(delay=None, decision=decision.why)

    def _failure(self, trace: Trace, response: Response | None) -> Failure | None:
        record = self.record
        if response is None:
            return None if trace.error is None else record.failure_on_wire(trace, trace.error)
        if self.plan.warming:
            return None
        return record.failure_by_status(trace, response.status_code, response.headers)

    def _answer(self, trace: Trace, response: Response) -> Response:
        """Hand out a response that is no failure: most calls end here."""
        plan, record = self.plan, self.record
        # Its traceback holds frames that hold this call.
        self.furthest = None
        trace.stage = Stage.DONE
        why = "connected, and nothing was sent" if plan.warming else _ANSWERED.why
        attempt = record.write_down(trace, None, why)
        if record.dispatcher is not None:
            record.dispatcher(AttemptSucceeded, attempt)
            if record.count > 1:
                record.recovered()
        plan.quota.give_back(record.cost or PAY_BACK)
        if record.history or plan.stream or plan.policy.spool_bytes:
            return self._hand_out(response, _ANSWERED)
        response.attempts = Attempts(record.attempts)  # type: ignore[attr-defined]
        return response

    def _note_failure(
        self, trace: Trace, response: Response | None, error: Exception | None, decision: Decision
    ) -> None:
        shown, why = error, decision.why
        if self.resumer is not None and self.resumer.refusal:
            shown, why = None, f"not resumed: {self.resumer.refusal}; {why}"
        self.record.failed(trace, shown, why, decision.delay if decision.again else None)
        # Its traceback holds the reader of the body, who may hold the call.
        trace.error = None
        self.record.remember(response, error)
        if error is None:
            return
        rank, before = self.furthest or (-1, None)
        # Frames of urllib3 hold errors whose tracebacks hold these frames.
        if trace.stage.rank < rank:
            forget_frames((error,), keep=before)
        else:
            forget_frames((before,), keep=error)
            self.furthest = (trace.stage.rank, error)

    def _hand_out(self, response: Response, decision: Decision) -> Response:
        plan, record = self.plan, self.record
        self.furthest = None
        if decision.exhausted:
            listed = response.status_code != 421 or 421 in plan.policy.statuses
            if plan.policy.raise_on_status and listed:
                self._raise_status(response)
            record.gave_up(None)
        record.cost = 0
        if plan.policy.spool_bytes and response.status_code not in (401, 407):
            # Digest authentication sends the body of the request again.
            record.body.close()
        record.publish(response)
        if plan.stream:
            record.hand_out(response)
        return response

    def _raise_status(self, response: Response) -> NoReturn:
        """Raise what stock raises when attempts end on a status and `raise_on_status` is set."""
        failed = too_many(self.plan.request, response)
        self.record.gave_up(failed)
        discard(response)
        self.record.history = ()
        try:
            raise with_attempts(failed, self.record.attempts)
        finally:
            # The traceback holds this frame: what the frame holds must not be the exception.
            del failed

    def _raise(self, error: Exception | None, decision: Decision) -> NoReturn:
        """Raise what fits best: the error that is not the wire's, the deadline, or what got furthest."""
        plan, record = self.plan, self.record
        rank, furthest = self.furthest if self.furthest is not None else (0, error)
        if decision is _NOT_THE_WIRE and error is not None:
            failed = error
        elif furthest is None or record.deadline.is_over():
            failed = deadline_exceeded(plan.request, record.deadline.allowed(), furthest)
        else:
            failed = furthest
        # Their tracebacks hold frames that hold this call.
        self.furthest, record.history = None, ()
        record.body.close()
        if rank > Stage.TUNNEL.rank and (plan.request.url or "").startswith("https:"):
            # From there on it is the server that speaks, and no proxy.
            failed = rejection(failed, *plan.certificate(plan.cert))
        redact(failed)
        if isinstance(failed, RequestException):
            with_attempts(failed, record.attempts)
        if decision is not _NOT_THE_WIRE:
            record.gave_up(failed)
        try:
            raise failed
        finally:
            # The traceback holds this frame: what the frame holds must not be the exception.
            del failed, furthest, error
