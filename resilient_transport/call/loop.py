"""The one loop: send, record, judge, wait, repeat."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from http.client import BAD_REQUEST
from time import sleep
from typing import Any, Final, NoReturn

from requests import Response
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException, Timeout

from ..body.buffered import buffer, is_here, read_whole
from ..body.streamed import Followed, report_errors
from ..body.unread import (
    Unread,
    is_looked_at_first,
    is_redirect,
    leave_unread,
    put_in_place,
    read_leniently,
    take_place,
)
from ..connection.timed_stream import hurriable
from ..connection.timeouts import bounded
from ..connection.trace import CURRENT, Trace
from ..events import AttemptSucceeded, CallEnded
from ..events.attempt import Attempts
from ..retry.budget import PAY_BACK
from ..retry.decision import Decision, given_up
from ..retry.stages import Failure, Stage
from .circuit import CircuitCheck
from .client_certificate import rejection
from .cookies import carry_cookies, cookies_set_by, with_cookies_of
from .explanation import deadline_exceeded, explain, explanation
from .foreign import fail_as_met
from .outcome import as_cut_body, as_with_retry, discard, name_of, too_many, with_attempts, with_reason
from .plan import CallPlan
from .record import Record, is_proven
from .redaction import forget_frames, redact
from .refusal_page import STATUSES as REFUSING
from .refusal_page import tell_of_refusal
from .resume import Resumer
from .rotation import refused_by_page, unless_rotated

#: What sends one attempt: `HTTPAdapter.send`, or what a program has put in its place.
Send = Callable[..., Response]

#: What a link says that was good for one use, when it is used again.
_USED_UP: Final = (401, 403, 404, 410, 416)
#: Statuses that make sense only where a request has one of these fields (RFC 9110 sections 13 and 14).
_ANSWERS_TO: Final = {
    206: ("Range",),
    304: ("If-None-Match", "If-Modified-Since"),
    412: ("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"),
}
#: Why a response is not handed out, in a word.
_NO_RESULT: Final = "no result"
_ANSWERED: Final = Decision(again=False, why="the response was handed out")
_ABANDONED: Final = Decision(again=False, why="not sent again: the response was closed")
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

    #: The failure that got furthest, the latest among equals; how far it got, and what is said of it.
    furthest: tuple[int, Exception, str] | None = None
    #: Resumes the body of the last response, if it breaks; None: nothing does.
    resumer: Resumer | None = None
    #: Whether requests' own session has made it, which reads the body at once.
    serves_session = False
    #: The Set-Cookie fields of each response that was repeated.
    cookies: tuple[tuple[str, ...], ...] = ()
    #: The status of the last response whose head came.
    status = 0
    #: Whether a body was cut whose head was good.
    was_cut = False
    #: The status of the response that was handed out unread, while its body is read: what takes its place
    #: must have the same. None: there is none.
    known_status: int | None = None
    #: Whether the present response is left unread, so that nobody knows yet whether it comes whole.
    is_left = False
    #: Whether the response whose body is read was closed, maybe by another thread.
    _is_abandoned: Callable[[], bool] = staticmethod(lambda: False)
    #: The response that was handed out unread; weak, since it owns this.
    _left: Callable[[], Response | None] = staticmethod(lambda: None)

    #: Makes one attempt.
    _send: Send

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
        self._send = send
        try:
            response = self._repeat()
            # What stands for a connection that was warmed has come from no server.
            status = None if plan.warming else response.status_code
            if status in REFUSING and not self.is_left:
                tell_of_refusal(self.record, response)
        except BaseException as error:
            # An interrupt ends a call, too.
            raised = type(error).__name__
            raise
        finally:
            if plan.circuit_check is not None:
                plan.circuit_check.over()
            if status is None or raised is not None:
                plan.counters.ended(raised)
            else:
                plan.counters.answered(status, plan.deadline.spent())
            if dispatcher is not None:
                dispatcher(CallEnded, status, raised)
        return response

    def _repeat(self, error: Exception | None = None) -> Response:
        """Send until there is a response or a reason to stop.

        Args:
            error: how the present attempt has failed; None: there is none yet.
        """
        check = self.plan.circuit_check
        response: Response | None = None
        if error is None:
            if check is not None and not check.admits():
                return self._refused(check, None)
            response, error = self._attempt()
        while True:
            # If the body was resumed, another attempt carries it.
            trace = self.record.carrier
            decision = self._judge(trace, response, error)
            if decision is _ANSWERED and response is not None:
                return self._answer(trace, response)
            self._note_failure(trace, response, error, decision)
            if not decision.again:
                if response is not None and decision.reason != _NO_RESULT:
                    return self._hand_out(response, decision)
                if response is not None:
                    discard(response)
                try:
                    self._raise(error, decision)
                finally:
                    # Its traceback holds this frame: what the frame holds must not be the exception.
                    del error
            del error
            refused = self._pause(response, decision.delay)
            if refused is not None:
                return refused
            response, error = self._attempt()

    def _attempt(self) -> tuple[Response | None, Exception | None]:
        """Send once, and note what the wire could not."""
        record = self.record
        trace = record.carrier = self._begin()
        response: Response | None = None
        error: Exception | None = None
        outside, CURRENT.value = CURRENT.value, trace
        try:
            response = self._exchange(trace)
        except Exception as raised:
            error = as_cut_body(raised, trace.error)
            if trace.is_foreign and trace.error is None:
                fail_as_met(trace, raised)
        finally:
            CURRENT.value = outside
            # It holds this call, which holds the trace.
            trace.on_answer = None
            if not record.body.rewindable:
                record.body.is_spent(record.carrier.stage)
        trace = record.carrier
        if trace.status is None and response is not None and not self.plan.warming:
            trace.status = response.status_code
        if isinstance(error, Timeout) and trace.error is None and trace.is_late():
            # urllib3 noticed that before the socket did.
            trace.fail(error)
        try:
            return response, error
        finally:
            # Its traceback holds this frame: what the frame holds must not be the exception.
            del error

    def _exchange(self, trace: Trace) -> Response:
        """Send the request; read the body, unless somebody else does so or looks at the head first."""
        plan = self.plan
        trace.connect_timeout, trace.send_timeout = plan.connect_timeout, plan.read_timeout
        within = bounded(plan.timeout, trace.deadline or plan.deadline)
        response = self._send(plan.request, plan.stream, within, plan.verify, plan.cert, plan.proxies)
        if trace.stage is not Stage.BODY:
            # It did not come over the wire, or nothing was asked.
            if plan.stream:
                self._follow(response.raw)
            return response
        self.status = response.status_code
        if self.known_status is None and is_redirect(self.status, response.headers):
            leave_unread(response.raw, read_leniently)
        elif plan.stream:
            self._follow(response.raw)
        elif self.known_status is None and is_looked_at_first(response):
            self.is_left = leave_unread(response.raw, self._read_later)
        if not (plan.stream or type(response.raw) is Unread):
            try:
                buffer(response, self)
            except RequestException:
                self._keep_cookies(response.raw)
                raise
        return response

    def _follow(self, raw: Any) -> None:
        """Hear of the body of a stream: how it breaks off, and for who listens how it ends."""
        report_errors(raw, self._broke_off, follow=self.record.dispatcher is not None)
        hurriable(raw)

    def _stream_ended(self, whole: bool, received: int) -> None:
        self.body_read(received)
        self.record.body_ended(whole)

    def _read_later(self, raw: Any) -> None:
        """Read the body of a response that was handed out unread, by the means of the loop.

        Args:
            raw: urllib3's response.

        Raises:
            requests.exceptions.RequestException: as `run` does.
        """
        self.known_status, self.is_left = raw.status, False
        self.record.heed_reader()
        self._is_abandoned = lambda: raw.is_abandoned
        error = self._read_now(raw)
        try:
            if error is None:
                self._has_read()
            else:
                take_place(raw, self._left(), self._repeat(error))
        except RequestException as failed:
            self.plan.counters.broke_off(type(failed).__name__)
            self.record.body_ended(whole=False)
            raise
        finally:
            # Its traceback holds this frame: what the frame holds must not be the exception.
            del error
            # Nor is the response this one's, when it is read.
            del self._is_abandoned
            if self.plan.circuit_check is not None:
                self.plan.circuit_check.over()
        if self.plan.policy.spool_bytes and raw.status not in (401, 407):
            self.record.body.close()
        self.record.body_ended(whole=True)
        response = self._left()
        self.record.publish(response)
        if raw.status in REFUSING and response is not None:
            tell_of_refusal(self.record, response)

    def _read_now(self, raw: Any) -> Exception | None:
        trace, deadline = self.record.carrier, self.record.deadline
        trace.mark(Stage.BODY)
        if trace.deadline is not None and trace.deadline is not deadline:
            # What its first reader did before is not the attempt's.
            trace.deadline.put_off_to(deadline.within(self.plan.policy.attempt_timeout))
        outside, CURRENT.value = CURRENT.value, trace
        try:
            put_in_place(raw, read_whole(raw, self))
        except Exception as error:
            self._keep_cookies(raw)
            return error
        finally:
            CURRENT.value = outside
        return None

    def _has_read(self) -> None:
        """The body of a response that was handed out unread came whole."""
        record = self.record
        record.carrier.mark(Stage.DONE)
        record.write_down(record.carrier, None, _ANSWERED.why)
        if record.count > 1:
            record.recovered()
        if self.plan.circuit_check is not None:
            self.plan.circuit_check.answered(self.status)
        self.plan.quota.give_back(record.cost or PAY_BACK)
        record.cost = 0

    def _pause(self, response: Response | None, delay: float) -> Response | None:
        """Wait until the next attempt; if none is permitted, return the response that ends the call."""
        if response is not None:
            self._keep_cookies(response.raw)
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

    def _keep_cookies(self, raw: Any) -> None:
        """Let a repetition send what a response has set, and the last response pass it on."""
        if fields := cookies_set_by(raw):
            self.cookies += (fields,)
            request = with_cookies_of(self.plan.request, raw)
            self.plan = self.record.plan = self.plan._replace(request=request)

    def _begin(self) -> Trace:
        record = self.record
        if record.deadline.is_over():
            decision = given_up("the deadline is over", "deadline")
            self._note_stop(decision)
            self._raise(None, decision)
        trace = record.trace()
        self.resumer, self.is_left = None, False
        if self.plan.is_resumable:
            trace.on_answer = self._watch
        return trace

    def _watch(self, response: Any) -> None:
        """Resume the body of urllib3's response if it breaks; one byte is there whole or not at all."""
        if is_here(response) or is_redirect(response.status, response.headers):
            return
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
        record = self.record
        record.heed_reader()
        deadline = record.deadline
        why = "only the body of a GET without a body is"
        if self.resumer is not None:
            why = self.resumer.why_not()
            error = with_reason(error, self.resumer.refusal)
        if deadline.is_over():
            error = deadline_exceeded(self.plan, deadline.allowed(), Stage.BODY, error)
            why = why and "the deadline is over"
        else:
            explain(error, explanation(error, Stage.BODY, self.plan, is_proven=True))
        if why:
            self.plan.counters.failed(Stage.BODY)
            self.plan.counters.refused("not resumable")
            record.carrier.mark(Stage.BODY)
            record.carrier.bytes_in = received
            record.failed(record.carrier, error, f"not resumed: {why}")
        self.plan.counters.broke_off(name_of(error))
        record.gave_up(error)
        with_attempts(error, record.attempts)
        record.publish()
        return error

    def _judge(self, trace: Trace, response: Response | None, error: Exception | None) -> Decision:
        """There are three cases: a good answer, an error that is not the wire's, and a failure that is."""
        if self.resumer is not None and self.resumer.gave_up is not None:
            return self.resumer.gave_up
        if self._is_abandoned():
            return _ABANDONED
        failure = self._failure(trace, response)
        if failure is not None:
            self.was_cut = self.was_cut or (failure.stage is Stage.BODY and self.status < BAD_REQUEST)
            decision = self.record.decide(failure)
        else:
            if self.plan.circuit_check is not None and response is not None and not self.is_left:
                self.plan.circuit_check.answered(response.status_code)
            decision = _ANSWERED if error is None else _NOT_THE_WIRE
        if (self.was_cut or self.known_status is not None) and response is not None and not decision.again:
            return self._as_result(response.status_code, decision)
        return decision

    def _as_result(self, status: int, decision: Decision) -> Decision:
        """What becomes of a response that is to take the place of one whose body was cut."""
        if not self._is_no_result(status):
            return decision
        why = f"not handed out: status {status} came for a body that was cut"
        return Decision(again=False, why=why, reason=_NO_RESULT)

    def _is_no_result(self, status: int) -> bool:
        """Whether a status cannot take the place of a response whose body was cut."""
        if self.known_status is not None:
            return status != self.known_status
        return self.was_cut and (status in _USED_UP or self._is_uncalled_for(status))

    def _is_uncalled_for(self, status: int) -> bool:
        """Whether a status answers a range or a condition that the request does not have."""
        names = _ANSWERS_TO.get(status, ())
        return bool(names) and not any(map(self.plan.request.headers.__contains__, names))

    def _refused(self, circuit_check: CircuitCheck, response: Response | None) -> Response:
        """End the call because the circuit permits no attempt: with the last response, if there is one."""
        decision = given_up(circuit_check.why, "circuit")
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
            if trace.error is None:
                return None
            failure = record.failure_on_wire(trace, trace.error)
            return unless_rotated(failure, record, self._adapter, trace, self.plan.request, self.plan.proxies)
        if self.plan.warming:
            return None
        if trace.failed_in is not None and not self.is_left:
            failed = refused_by_page(record, self._adapter, trace, response)
            if failed is not None:
                return failed
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
        if not self.is_left:
            plan.quota.give_back(record.cost or PAY_BACK)
        if record.history or plan.stream or plan.policy.spool_bytes or self.is_left:
            return self._hand_out(response, _ANSWERED)
        response.attempts = Attempts(record.attempts)  # type: ignore[attr-defined]
        return response

    def _note_failure(
        self, trace: Trace, response: Response | None, error: Exception | None, decision: Decision
    ) -> None:
        shown, why = error, decision.why
        said = "" if trace.error is None else self._said(trace, trace.error)
        if self.resumer is not None and self.resumer.refusal:
            shown, why = None, f"not resumed: {self.resumer.refusal}; {why}"
        self.record.failed(trace, shown, why, decision.delay if decision.again else None)
        # Its traceback holds the reader of the body, who may hold the call.
        trace.error = None
        if decision.again:
            self.record.remember(response, error)
        if error is None:
            return
        rank, before, _ = self.furthest or (-1, None, "")
        # Frames of urllib3 hold errors whose tracebacks hold these frames.
        if trace.stage.rank < rank:
            forget_frames((error,), keep=before)
        else:
            forget_frames((before,), keep=error)
            self.furthest = (trace.stage.rank, error, said)

    def _said(self, trace: Trace, error: BaseException) -> str:
        """What is said of the failure of an attempt."""
        return explanation(error, trace.stage, self.plan, is_proven=is_proven(trace), is_late=trace.is_late())

    def _hand_out(self, response: Response, decision: Decision) -> Response:
        plan, record = self.plan, self.record
        self.furthest = None
        if self.cookies:
            carry_cookies(response, self.cookies, plan.request)
        if decision.exhausted:
            if plan.policy.raises_at(response.status_code, record.failures):
                self._raise_status(response)
            record.gave_up(None)
        record.cost = 0
        if self.is_left:
            self._left = weakref.ref(response)
        elif plan.policy.spool_bytes and response.status_code not in (401, 407):
            # Digest authentication sends the body of the request again.
            record.body.close()
        record.publish(response)
        if plan.stream:
            record.hand_out(response)
            if isinstance(response.raw, Followed):
                response.raw.ended = self._stream_ended
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
        rank, furthest, said = self.furthest if self.furthest is not None else (0, error, "")
        if plan.policy.limits is not None or plan.policy.retries:
            furthest = as_with_retry(furthest)
        if decision is _NOT_THE_WIRE and error is not None:
            failed = error
        elif furthest is None or record.deadline.is_over():
            failed = deadline_exceeded(
                plan, record.deadline.allowed(), None if error is None else record.carrier.stage, furthest
            )
        else:
            failed = furthest
        # Their tracebacks hold frames that hold this call.
        self.furthest, record.history = None, ()
        record.body.close()
        if Stage.BODY.rank > rank > Stage.TUNNEL.rank and (plan.request.url or "").startswith("https:"):
            # From there on it is the server that speaks, and no proxy.
            failed = rejection(failed, plan.origin, *plan.certificate(plan.cert))
        redact(failed, plan.proxies)
        if furthest is not None:
            explain(furthest, said)
        if isinstance(failed, RequestException):
            with_attempts(failed, record.attempts)
        if decision is not _NOT_THE_WIRE:
            record.gave_up(failed)
        try:
            raise failed
        finally:
            # The traceback holds this frame: what the frame holds must not be the exception.
            del failed, furthest, error
