"""The record of one call: its attempts and failures so far, and what is decided after each of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from requests import PreparedRequest, Response
from urllib3.util.retry import RequestHistory

from ..body.request_body import body_of
from ..connection.trace import TimedTrace, Trace
from ..events import (
    AttemptFailed,
    AttemptStarted,
    BodyEnded,
    CallEnded,
    CallEvent,
    GaveUp,
    Hook,
    Recovered,
    RetryScheduled,
)
from ..events.attempt import Attempt, Attempts
from ..gate.caller import Caller
from ..retry.causes import Cause, cause_at, root_of
from ..retry.decision import Decision, first_stale, given_up, judge
from ..retry.retry_after import retry_after
from ..retry.stages import Column, Failure, Situation, Stage
from ..retry.urllib3_retry import ONE_ATTEMPT
from ..settings.override import overrides
from ..telemetry.dispatch import Dispatcher, dispatcher_for
from ..util.clock import monotonic
from ..util.frozen import replace
from ..util.origin import origin_at
from .origin_state import state_of
from .outcome import history, name_of
from .plan import CallPlan
from .redaction import describe, forget_frames

#: Attempts that are kept; a body of gigabytes may take thousands.
MOST_ATTEMPTS: Final = 100


class Record:
    """What happened in a call so far, and what is decided after each failure.

    Args:
        plan: what the call is made of.

    Raises:
        requests.exceptions.UnrewindableBodyError: the request's body was sent before.
    """

    # Every call makes one: what holds for most of them is the class's.

    #: How many attempts there were; of very many, those in the middle are forgotten.
    count = 0
    #: Whether the next attempt takes no idle connection, because of how the last one has failed.
    wants_new_connection = False
    #: Tokens drawn from the quota so far; a success gives them back.
    cost = 0
    #: The entries of `response.raw.retries.history`.
    history: tuple[RequestHistory, ...] = ()
    #: Whether certificate files were read again because a certificate was refused: that is done once.
    has_read_again = False
    #: Whether `Recovered` was sent to hooks and the log.
    has_recovered = False
    #: The response whose body is the caller's to read; weak, since it owns this. None: there is none yet.
    handed_out: Callable[[], Response | None] | None = None
    #: The attempt that carries the response's body.
    carrier: Trace
    #: The call, as gates and connections have known it in an attempt that has failed; None: none of them did.
    caller: Caller | None = None

    def __init__(self, plan: CallPlan) -> None:
        request, self.plan = plan.request, plan
        #: The plan's, or that of a block of `override` around the reading of a stream, if it ends sooner.
        self.deadline = plan.deadline
        self.body = body_of(request)
        self.failures: list[Failure] = []
        self.attempts: list[Attempt] = []
        #: Tells hooks and the log of the call; None: there are none.
        self.dispatcher = dispatcher_for(plan.options.on_event, plan.origin, request)

    @property
    def is_handed_out(self) -> bool:
        """Whether the response was handed out, and its body is the caller's to read."""
        return self.handed_out is not None

    def trace(self) -> Trace:
        """The trace of a new attempt."""
        plan, policy = self.plan, self.plan.policy
        if self.count:
            plan.counters.retried()
        kind = Trace
        if self.dispatcher is not None:
            self.dispatcher(AttemptStarted, self.count + 1, plan.warming)
            kind = TimedTrace
        trace = kind(
            replayable=plan.column is not Column.UNSAFE and self.body.rewindable,
            deadline=self.deadline.within(policy.attempt_timeout),
            fresh=self.wants_new_connection,
            require_close_notify=policy.require_close_notify,
            policy=policy,
            caller=self.caller,
            warming=plan.warming,
            connection_options=plan.options.connection_options,
            dispatcher=self.dispatcher,
            counters=plan.counters,
        )
        if trace.deadline is not self.deadline:
            trace.call_deadline = self.deadline
        return trace

    def decide(self, failure: Failure) -> Decision:
        """Decide what follows a failure: by the policy, the deadline, the quota and the circuit breaker."""
        self.failures.append(failure)
        decision = self._decide(failure)
        self.count_in(failure, decision)
        return decision

    def count_in(self, failure: Failure, decision: Decision) -> None:
        """Count a failure and what was decided after it; one that was shared is counted apart."""
        # Where two idle ones were dead, so may be the next.
        met_again = failure.situation is Situation.REUSED and not first_stale(self.failures)
        self.wants_new_connection = failure.wants_new_connection or met_again
        self.plan.counters.failed(failure.stage, failure.borrowed)
        if not decision.again:
            self.plan.counters.refused(decision.reason)

    def _decide(self, failure: Failure) -> Decision:
        plan = self.plan
        check = plan.circuit_check
        stopped = check is not None and check.stops(failure)
        decision = judge(plan.policy, plan.column, self.failures, self.deadline.left())
        touched = failure.stage.rank >= Stage.REQUEST.rank
        if decision.again and touched and (refusal := self.body.rewind()):
            return given_up(refusal, "body")
        if decision.again and check is not None and stopped:
            return given_up(check.why, "circuit")
        if decision.again and not plan.quota.take(decision.cost):
            # However many calls start at once, the first repetition of each is free at a cold start.
            if not (failure.cold and len(self.failures) == 1):
                return given_up(plan.quota.refusal, "quota")
            return replace(decision, cost=0)
        self.cost += decision.cost
        return decision

    def failure_on_wire(self, trace: Trace, error: BaseException) -> Failure:
        """How an attempt failed, by what its trace has recorded."""
        return Failure(
            trace.stage,
            cause_at(error, is_proven(trace)),
            trace.reused,
            self.body.is_spent(trace.stage),
            retry_after=getattr(root_of(error), "retry_after", None),
            borrowed=trace.borrowed,
            paced=trace.paced,
            cold=trace.cold,
        )

    def failure_by_status(self, trace: Trace, status: int, headers: Mapping[str, str]) -> Failure | None:
        """How an attempt failed by the status of its response; None: it did not.

        Args:
            trace: the attempt's.
            status, headers: the response's.
        """
        policy = self.plan.policy
        listed = status in policy.statuses
        if not listed and status not in policy.retry_after_statuses and status != 421:
            return None
        wait = retry_after(headers.get("Retry-After"), headers.get("Date"))
        listed = listed or (wait is not None and status in policy.retry_after_statuses)
        if not listed and status != 421:
            return None
        trace.mark(Stage.STATUS)
        cause = Cause.MISDIRECTED if status == 421 else Cause.STATUS
        spent = self.body.is_spent(Stage.STATUS)
        return Failure(Stage.STATUS, cause, trace.reused, spent, status, wait, cold=trace.cold)

    def write_down(
        self, trace: Trace, error: BaseException | None, why: str, delay: float | None = None
    ) -> Attempt:
        """Write an attempt down; a new entry replaces an earlier one for the same attempt.

        Args:
            trace: the attempt's.
            error: why it failed, if it did.
            why: what was decided after it.
            delay: seconds until the next one; None: there is none.
        """
        began = trace.began
        # As `Attempt(...)` does it, for half of what that costs; in the order of its fields.
        values = (
            trace.number or self.count + 1,
            trace.stage,
            None if error is None else describe(trace.error or error),
            trace.status,
            trace.bytes_out,
            trace.bytes_in,
            trace.reused,
            trace.tls_resumed,
            trace.body_resumed,
            trace.borrowed,
            began - self.plan.deadline.started,
            monotonic() - began,
            0.0 if trace.reused else trace.connecting(),
            delay,
            why,
            trace.address,
            trace.stages,
        )
        attempt = tuple.__new__(Attempt, values)
        if trace.number:
            self._replace(attempt)
            return attempt
        self.attempts.append(attempt)
        self.count = trace.number = self.count + 1
        if len(self.attempts) > MOST_ATTEMPTS:
            del self.attempts[MOST_ATTEMPTS // 2]
        return attempt

    def failed(self, trace: Trace, error: BaseException | None, why: str, delay: float | None = None) -> None:
        """Write a failed attempt down, and tell hooks and the log; the arguments are as for `write_down`."""
        attempt = self.write_down(trace, error, why, delay)
        self.caller = trace.caller
        if self.dispatcher is not None:
            if not trace.told:
                self.dispatcher(AttemptFailed, attempt)
                trace.told = True
            if delay is not None:
                self.dispatcher(RetryScheduled, attempt.number, delay, why)

    def recovered(self) -> None:
        """Count, and tell hooks and the log, once, that the call has succeeded after attempts that failed."""
        if self.has_recovered:
            return
        self.plan.counters.recovered()
        if self.dispatcher is not None:
            self.dispatcher(Recovered, self.count, self.deadline.spent())
        self.has_recovered = True

    def body_ended(self, whole: bool) -> None:
        """Tell hooks that the body of a response that was handed out before has ended, or is left.

        Args:
            whole: whether all of it was read.
        """
        if self.dispatcher is None:
            return
        last, carrier = self.attempts[-1], self.carrier
        if last.error is None and last.number == carrier.number:
            last = last._replace(
                bytes_in=carrier.bytes_in, seconds=monotonic() - carrier.began, stages=carrier.stages
            )
        self.dispatcher(BodyEnded, last, whole)

    def gave_up(self, error: BaseException | None) -> None:
        """Tell hooks and the log that the call has failed for good, by this error or by its status."""
        last = self.attempts[-1] if self.attempts else None
        raised = None if error is None else name_of(error)
        self.announce(GaveUp, last, raised, self.deadline.spent())

    def announce(self, kind: type[CallEvent], *values: Any) -> None:
        """Tell hooks, and every log, of an event of the call; the arguments are as for `Dispatcher`."""
        # A hook that was added since the call began does not get its last event alone.
        dispatcher = self.dispatcher or Dispatcher((), self.plan.origin, self.plan.request)
        dispatcher.announce(kind, *values)

    def _replace(self, attempt: Attempt) -> None:
        for at in range(len(self.attempts) - 1, -1, -1):
            if self.attempts[at].number == attempt.number:
                self.attempts[at] = attempt
                return

    def remember(self, response: Response | None, error: Exception | None) -> None:
        """Add an entry to `response.raw.retries.history`."""
        self.history += (history(self.plan.request, response, error),)

    def hand_out(self, response: Response) -> None:
        """A response is handed out whose body the caller reads: the limit of its attempt holds no longer."""
        self.lift_attempt_limit(self.carrier)
        self.handed_out = weakref.ref(response)

    def publish(self, response: Response | None = None) -> None:
        """Give a response its attempts, and its `raw` their history.

        Args:
            response: None: the response that was handed out, if it still exists.
        """
        if response is None and self.handed_out is not None:
            response = self.handed_out()
        if response is None:
            return
        if self.history and hasattr(response.raw, "retries"):
            forget_frames(entry.error for entry in self.history)
            response.raw.retries = ONE_ATTEMPT.new(history=self.history)
        response.attempts = Attempts(self.attempts)  # type: ignore[attr-defined]

    def heed_reader(self) -> None:
        """Go by the reader's deadline: the body may be read in a block of `override` of its own."""
        self.deadline = self.plan.deadline.sooner(overrides().expires)

    def lift_attempt_limit(self, trace: Trace) -> None:
        """Let an attempt last as long as its call may; a block of `override` bounds each read by itself."""
        if trace.deadline is not None:
            trace.deadline.put_off_to(self.plan.deadline)


def is_proven(trace: Trace) -> bool:
    """Whether the connection of an attempt had carried an answer, or the head of one, before it failed."""
    return trace.stage is Stage.BODY or (trace.stage is Stage.REQUEST and trace.reused)


def never_begun(request: PreparedRequest, own: Hook | None, error: BaseException) -> None:
    """Count and tell the end of a call that has raised before it had a record.

    Args:
        request: what was to be sent.
        own: the hook of the adapter.
        error: why it was not.
    """
    origin, raised = origin_at(request.url or ""), type(error).__name__
    state_of(origin).counters.ended(raised)
    dispatcher = dispatcher_for(own, origin, request)
    if dispatcher is not None:
        dispatcher(CallEnded, None, raised)
