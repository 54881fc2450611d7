"""What happened in one call so far, and what that allows to happen next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from requests import PreparedRequest, Response
from urllib3.util.retry import RequestHistory

from ..body.request_body import RequestBody
from ..connection.trace import Trace
from ..events import AttemptFailed, AttemptStarted, GaveUp, Hook, Recovered, RetryScheduled
from ..events.attempt import Attempt, Attempts
from ..gate.caller import Caller
from ..retry.budget import Quota
from ..retry.deadline import Deadline
from ..retry.decision import Decision, given_up, judge
from ..retry.policy import RetryPolicy
from ..retry.stages import Cause, Column, Failure, Stage, classify
from ..retry.urllib3_retry import ONE_ATTEMPT
from ..settings.options import DEFAULT_OPTIONS, ConnectionOptions
from ..telemetry.counters import Counters
from ..telemetry.dispatch import Dispatcher
from .circuit import CircuitCheck
from .outcome import deadline_exceeded, history, with_attempts
from .redaction import describe, forget_frames
from .retry_after import retry_after

#: Attempts that are told; a body of gigabytes may take thousands.
MOST_ATTEMPTS: Final = 100


#: Why nothing is sent again to an origin that has failed again and again.
OPEN: Final = "the circuit of its origin is open"


class Record:
    """A call: what holds for it, and what happened in it.

    Args:
        request: what is sent.
        policy: when it is sent again.
        column: the column of the replay table that it belongs to.
        deadline: when it has to be over.
        quota: the retry quota of its origin.
        warming: connect, and send nothing.
    """

    #: Whether the response's body is read after it was handed out.
    reads_later = False
    #: Whether the response was handed out, and its body is the caller's to read.
    is_handed_out = False
    #: That response; weak, since it owns this.
    handed_out: Callable[[], Response | None] = staticmethod(lambda: None)
    #: Scheme, host and port, for the log; without credentials, and unknown where it takes a parser.
    origin = "an unnamed origin"
    #: Returns the certificate that is shown, and whether the caller's own TLS context has it.
    certificate: Callable[[], tuple[Any, bool]] = staticmethod(lambda: (None, False))
    #: Whether it was told that it has succeeded after attempts that failed.
    has_recovered = False
    #: How many attempts there were; of very many, those in the middle are forgotten.
    count = 0
    #: Tokens drawn so far; a success gives them back.
    cost = 0
    history: tuple[RequestHistory, ...] = ()
    #: Asks the circuit of its origin; None: there is none.
    circuit_check: CircuitCheck | None = None
    #: Tells of it; None: nobody wants to hear. And the hook of its adapter.
    dispatcher: Dispatcher | None = None
    on_event: Hook | None = None
    #: Counts what happens, with the other calls of its origin.
    counters: Counters = Counters()
    #: How its connections are used.
    connection_options: ConnectionOptions = DEFAULT_OPTIONS
    #: The attempt that carries the response's body.
    carrier: Trace

    # Every call makes one: what holds for most of them is the class's.
    def __init__(
        self,
        request: PreparedRequest,
        policy: RetryPolicy,
        column: Column,
        deadline: Deadline,
        quota: Quota,
        warming: bool = False,
    ) -> None:
        self.request = request
        self.policy = policy
        self.column = column
        #: What holds now; a block of `override` around the reading of a stream may end sooner.
        self.deadline = self.whole = deadline
        self.quota = quota
        self.warming = warming
        #: When it began, on the monotonic clock; a deadline may be set anew.
        self.started = deadline.started
        #: The call, as gates and connections know it.
        self.caller = Caller(policy.shares_cold_start)
        self.body = RequestBody(request)
        self.failures: list[Failure] = []
        self.attempts: list[Attempt] = []

    def trace(self, fresh: bool = False) -> Trace:
        """The record of a new attempt."""
        if self.count:
            self.counters.retried()
        if self.dispatcher is not None:
            self.dispatcher(AttemptStarted, self.count + 1, self.warming)
        return Trace(
            replayable=self.column is not Column.UNSAFE and self.body.rewindable,
            deadline=self.deadline.within(self.policy.attempt_timeout),
            fresh=fresh,
            require_close_notify=self.policy.require_close_notify,
            caller=self.caller,
            warming=self.warming,
            connection_options=self.connection_options,
            dispatcher=self.dispatcher,
            counters=self.counters,
        )

    def decide(self, failure: Failure) -> Decision:
        """What follows a failure, as far as the policy, the deadline and the quota have a say."""
        self.failures.append(failure)
        decision = self._decide(failure)
        self.count_in(failure, decision)
        return decision

    def count_in(self, failure: Failure, decision: Decision) -> None:
        """Count a failure and what was decided after it; another caller's is counted there."""
        if not failure.borrowed:
            self.counters.failed(failure.stage)
        if not decision.again:
            self.counters.refused(decision.reason)

    def _decide(self, failure: Failure) -> Decision:
        stopped = self.circuit_check is not None and self.circuit_check.stops(failure)
        decision = judge(self.policy, self.column, self.failures, self.deadline.left())
        touched = failure.stage.rank >= Stage.REQUEST.rank
        if decision.again and touched and (refusal := self.body.rewind()):
            return given_up(refusal, "body")
        if decision.again and stopped:
            return given_up(OPEN, "circuit")
        if decision.again and not self.quota.take(decision.cost):
            # However many calls start at once, the first repetition of each is free at a cold start.
            if not (failure.cold and len(self.failures) == 1):
                return given_up("the retry quota of its origin is empty", "quota")
            return replace(decision, cost=0)
        self.cost += decision.cost
        return decision

    def failure_on_wire(self, trace: Trace, error: BaseException) -> Failure:
        """How an attempt failed, by what its trace has recorded."""
        return Failure(
            trace.stage,
            classify(error),
            trace.reused,
            self.body.is_spent(trace.stage),
            borrowed=trace.borrowed,
            paced=trace.paced,
            cold=trace.cold,
        )

    def failure_told(self, trace: Trace, status: int, headers: Mapping[str, str]) -> Failure | None:
        """How an attempt failed by the status of its response; None: it did not.

        Args:
            trace: the attempt's.
            status, headers: the response's.
        """
        listed = status in self.policy.statuses
        if not listed and status not in self.policy.retry_after_statuses and status != 421:
            return None
        wait = retry_after(headers.get("Retry-After"), headers.get("Date"))
        listed = listed or (wait is not None and status in self.policy.retry_after_statuses)
        if not listed and status != 421:
            return None
        trace.mark(Stage.STATUS)
        cause = Cause.MISDIRECTED if status == 421 else Cause.STATUS
        spent = self.body.is_spent(Stage.STATUS)
        return Failure(Stage.STATUS, cause, trace.reused, spent, status, wait, cold=trace.cold)

    def record(
        self, trace: Trace, error: BaseException | None, why: str, delay: float | None = None
    ) -> Attempt:
        """Write an attempt down; one that was written down already, in its place.

        Args:
            trace: the attempt's.
            error: why it failed, if it did.
            why: what was decided after it.
            delay: seconds until the next one; None: there is none.
        """
        began = trace.began - self.started
        # By place, in the order of the fields: names would cost twice as much.
        attempt = Attempt(
            trace.number or self.count + 1,
            trace.stage,
            None if error is None else describe(trace.error or error),
            trace.status,
            trace.bytes_out,
            trace.bytes_in,
            trace.reused,
            trace.tls_resumed,
            began,
            self.deadline.spent() + self.deadline.started - trace.began,
            0.0 if trace.reused else trace.connecting(),
            delay,
            why,
        )
        if trace.number:
            self._replace(attempt)
            return attempt
        self.attempts.append(attempt)
        self.count = trace.number = self.count + 1
        if len(self.attempts) > MOST_ATTEMPTS:
            del self.attempts[MOST_ATTEMPTS // 2]
        return attempt

    def failed(self, trace: Trace, error: BaseException | None, why: str, delay: float | None = None) -> None:
        """Write a failed attempt down, and tell of it; the arguments are those of `record`."""
        attempt = self.record(trace, error, why, delay)
        if self.dispatcher is not None:
            if not trace.told:
                self.dispatcher(AttemptFailed, attempt)
                trace.told = True
            if delay is not None:
                self.dispatcher(RetryScheduled, attempt.number, delay, why)

    def recovered(self) -> None:
        """Tell, once, that the call has succeeded after attempts that failed."""
        if self.dispatcher is not None and not self.has_recovered:
            self.dispatcher(Recovered, self.count, self.deadline.spent())
        self.has_recovered = True

    def gave_up(self, error: BaseException | None) -> None:
        """Tell that the call has failed for good, by this error or by its status."""
        # Who has subscribed since the call began is not told its end alone.
        dispatcher = self.dispatcher or Dispatcher((), self.origin, self.request.method or "")
        last = self.attempts[-1] if self.attempts else None
        raised = None if error is None else type(error).__name__
        dispatcher.announce(GaveUp, last, raised, self.deadline.spent())

    def _replace(self, attempt: Attempt) -> None:
        for at in range(len(self.attempts) - 1, -1, -1):
            if self.attempts[at].number == attempt.number:
                self.attempts[at] = attempt
                return

    def remember(self, response: Response | None, error: Exception | None) -> None:
        """Add an entry to what `response.raw.retries.history` will tell."""
        self.history += (history(self.request, response, error),)

    def publish(self, response: Response | None) -> None:
        """Give a response its attempts, and its `raw` their history."""
        if response is None:
            return
        if self.history and hasattr(response.raw, "retries"):
            forget_frames(self.history)
            response.raw.retries = ONE_ATTEMPT.new(history=self.history)
        response.attempts = Attempts(self.attempts)  # type: ignore[attr-defined]

    def release(self, trace: Trace) -> None:
        """A body is the caller's to read now: the limit of its attempt ends, that of the call does not."""
        if trace.deadline is not None and trace.deadline is not self.deadline:
            trace.deadline.put_off_to(self.deadline)

    def broke_off(self, error: BaseException, received: int, why: str) -> BaseException:
        """A body that was handed out before it was read has broken off for good.

        Args:
            error: what has ended it.
            received: how many bytes of it came.
            why: why it was not resumed; empty: the attempts tell that already.

        Returns:
            What the caller gets.
        """
        if self.deadline.is_over():
            error = deadline_exceeded(self.request, self.deadline.allowed(), error)
            why = why and "the deadline is over"
        if why:
            self.counters.failed(Stage.BODY)
            self.counters.refused("not resumable")
            self.carrier.mark(Stage.BODY)
            self.carrier.bytes_in = received
            self.failed(self.carrier, error, f"not resumed: {why}")
        self.gave_up(error)
        with_attempts(error, self.attempts)
        self.publish(self.handed_out())
        return error
