"""The one loop: send, record, judge, wait, repeat."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from time import sleep
from typing import Any, Final, NoReturn

from requests import PreparedRequest, Response
from requests.exceptions import RequestException
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry
from urllib3.util.retry import RequestHistory

from .body import RequestBody
from .events import Attempt, Attempts
from .outcome import (
    deadline_exceeded,
    describe,
    discard,
    forget_frames,
    history,
    redact,
    too_many,
    with_attempts,
)
from .rejection import rejection
from .retry.budget import PAY_BACK, Quota
from .retry.deadline import Deadline
from .retry.judge import Decision, given_up, judge
from .retry.policy import RetryPolicy
from .retry.stages import Cause, Column, Failure, Stage, classify
from .wire.trail import CURRENT, Trail
from .wire.waiting import Charges

log = logging.getLogger("resilient_transport")
log.addHandler(logging.NullHandler())

#: What `HTTPAdapter.send` is given for each attempt: what stock has without `max_retries`.
ONE_ATTEMPT: Final = Retry(0, read=False)

_ANSWERED: Final = Decision(again=False, why="the response was handed out")
_NOT_THE_WIRE: Final = Decision(again=False, why="not sent again: it did not fail on the wire")


class Call:
    """One call: what holds for it, and what happened in it so far.

    Args:
        request: what is sent.
        policy: when it is sent again.
        column: the column of the replay table that it belongs to.
        deadline: when it has to be over.
        quota: the retry quota of its origin.
        warming: connect, and send nothing.
    """

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
        self.deadline = deadline
        self.quota = quota
        self.warming = warming
        #: Scheme, host and port, for the log; without credentials, and unknown where it takes a parser.
        self.origin = "an unnamed origin"
        #: Returns the certificate that is shown, and whether the caller's own TLS context has it.
        self.certificate: Callable[[], tuple[Any, bool]] = lambda: (None, False)
        #: What the call was charged with at a gate.
        self.charges = Charges(policy.repeats_connects, policy.paces_by_default)
        self.body = RequestBody(request)
        self.failures: list[Failure] = []
        self.attempts: list[Attempt] = []
        self.history: tuple[RequestHistory, ...] = ()
        #: Tokens drawn so far; a success gives them back.
        self.cost = 0
        #: The failure that got furthest, the latest among equals, and how far it got.
        self.furthest: tuple[int, Exception] | None = None

    def run(self, send: Callable[[Trail], Response]) -> Response:
        """Send until there is a response to hand out, or a reason to stop.

        Raises:
            requests.exceptions.RequestException: the failure that got furthest, with `attempts`.
        """
        while True:
            trail = self._begin()
            response: Response | None = None
            error: Exception | None = None
            token = CURRENT.set(trail)
            try:
                response = send(trail)
            except Exception as raised:
                error = raised
            finally:
                CURRENT.reset(token)
            decision = self._judge(trail, response, error)
            self._record(trail, response, error, decision)
            if not decision.again:
                if response is None:
                    self._raise(error, decision)
                return self._hand_out(response, decision)
            if response is not None:
                discard(response)
            del response, error
            sleep(decision.delay)

    def _begin(self) -> Trail:
        if self.deadline.expires != math.inf and self.deadline.left() <= 0:
            self._raise(None, _NOT_THE_WIRE)
        fresh = bool(self.failures) and self.failures[-1].cause is Cause.MISDIRECTED
        return Trail(
            replayable=self.column is not Column.UNSAFE,
            deadline=self.deadline,
            fresh=fresh,
            require_close_notify=self.policy.require_close_notify,
            charges=self.charges,
            warming=self.warming,
        )

    def _judge(self, trail: Trail, response: Response | None, error: Exception | None) -> Decision:
        """There are three cases: a good answer, an error that is not the wire's, and a failure that is."""
        failure = self._failure(trail, response)
        if failure is None:
            return _ANSWERED if error is None else _NOT_THE_WIRE
        self.failures.append(failure)
        decision = judge(self.policy, self.column, self.failures, self.deadline.left())
        touched = trail.stage.rank >= Stage.REQUEST.rank
        if decision.again and touched and not self.body.rewind():
            return given_up("its body cannot be rewound any more")
        if decision.again and not self.quota.take(decision.cost):
            return given_up("the retry quota of its origin is empty")
        self.cost += decision.cost
        return decision

    def _failure(self, trail: Trail, response: Response | None) -> Failure | None:
        if response is not None:
            return None if self.warming else self._bad_status(trail, response)
        if trail.error is None:
            return None
        spent = self.body.is_spent(trail.stage)
        return Failure(
            trail.stage,
            classify(trail.error),
            trail.reused,
            spent,
            borrowed=trail.borrowed,
            paced=trail.paced,
        )

    def _bad_status(self, trail: Trail, response: Response) -> Failure | None:
        status = response.status_code
        listed = status in self.policy.statuses
        if not listed and status not in self.policy.retry_after_statuses and status != 421:
            return None
        told = _retry_after(response)
        listed = listed or (told is not None and status in self.policy.retry_after_statuses)
        if not listed and status != 421:
            return None
        trail.mark(Stage.STATUS)
        cause = Cause.STATUS if listed else Cause.MISDIRECTED
        return Failure(Stage.STATUS, cause, trail.reused, self.body.is_spent(Stage.STATUS), status, told)

    def _record(
        self, trail: Trail, response: Response | None, error: Exception | None, decision: Decision
    ) -> None:
        began = trail.began - self.deadline.started
        attempt = Attempt(
            number=len(self.attempts) + 1,
            stage=Stage.DONE if decision is _ANSWERED else trail.stage,
            error=None if error is None else describe(trail.error or error),
            status=None if response is None else response.status_code,
            bytes_out=trail.bytes_out,
            bytes_in=trail.bytes_in,
            reused=trail.reused,
            resumed=trail.resumed,
            started=began,
            seconds=self.deadline.spent() - began,
            connecting=trail.connecting(),
            delay=decision.delay if decision.again else None,
            decision="connected, and nothing was sent" if self.warming and response else decision.why,
        )
        self.attempts.append(attempt)
        if decision is _ANSWERED:
            return
        log.debug("%s %s: %s", self.request.method, self.origin, attempt)
        self.history += (history(self.request, response, error),)
        if error is not None and (self.furthest is None or trail.stage.rank >= self.furthest[0]):
            self.furthest = (trail.stage.rank, error)

    def _hand_out(self, response: Response, decision: Decision) -> Response:
        if decision.exhausted and self.policy.raise_on_status:
            discard(response)
            raise with_attempts(too_many(self.request, response), self.attempts)
        if decision is _ANSWERED:
            self.quota.give_back(self.cost or PAY_BACK)
        if self.history and hasattr(response.raw, "retries"):
            forget_frames(self.history)
            response.raw.retries = ONE_ATTEMPT.new(history=self.history)
        response.attempts = Attempts(self.attempts)  # type: ignore[attr-defined]
        return response

    def _raise(self, error: Exception | None, decision: Decision) -> NoReturn:
        """Raise what fits best: the error that is not the wire's, the deadline, or what got furthest."""
        rank, furthest = self.furthest if self.furthest is not None else (0, error)
        if decision is _NOT_THE_WIRE and error is not None:
            failed = error
        elif furthest is None or (self.deadline.expires != math.inf and self.deadline.left() <= 0):
            allowed = self.deadline.expires - self.deadline.started
            failed = deadline_exceeded(self.request, allowed, furthest)
        else:
            failed = furthest
        self.furthest = None
        self.charges.over = True
        if rank > Stage.TUNNEL.rank and (self.request.url or "").startswith("https:"):
            # From there on it is the server that speaks, and no proxy.
            failed = rejection(failed, *self.certificate())
        redact(failed)
        if isinstance(failed, RequestException):
            with_attempts(failed, self.attempts)
        if decision is not _NOT_THE_WIRE:
            log.warning("%s %s gave up: %s", self.request.method, self.origin, self.attempts[-1])
        try:
            raise failed
        finally:
            # The traceback holds this frame: what the frame holds must not be the exception.
            del failed, furthest, error


def _retry_after(response: Response) -> float | None:
    """What Retry-After asks for, in seconds (RFC 9110 section 10.2.3); None when it says nothing."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return ONE_ATTEMPT.parse_retry_after(value)
    except (InvalidHeader, ValueError, OverflowError):
        return None
