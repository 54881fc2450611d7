"""A response body that breaks is resumed: its rest is asked for, as often as it takes.

RFC 9110 sections 13.1.5 (If-Range) and 14 (ranges). `body/ranges.py` decides which answer is the rest of the
body; `body/source.py` hands its bytes to the reader.
"""

from __future__ import annotations

import errno
import math
import weakref
from collections.abc import Callable, Mapping
from http.client import HTTPException, IncompleteRead
from time import sleep
from typing import Any, Final, NoReturn

from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from ..body.decoded_end import why_not_whole
from ..body.digests import Digests, may_have_digests
from ..body.framing import Listener
from ..body.range_request import ask_again
from ..body.ranges import OK, Part, Representation, is_compressed_on_the_way, representation_of
from ..body.skip import be_done_with, pass_over
from ..body.source import Rest, free_slot, watch
from ..connection.timed_stream import hurriable
from ..connection.timeouts import bounded
from ..connection.trace import CURRENT, Trace
from ..events import BodyResumed
from ..retry.budget import PAY_BACK
from ..retry.decision import Decision, judge
from ..retry.stages import Stage
from ..util.frozen import replace
from .record import Record
from .rotation import unless_rotated

#: A resumption is free of count and quota if so much of the body came before: bytes, or a share of the whole.
FREE_BYTES: Final = 65536
FREE_SHARE: Final = 0.01


def _as_it_is(request: PreparedRequest) -> PreparedRequest:
    """A copy of a request without a body; its own `copy` costs four times as much, for its jar of cookies."""
    kept: Any = PreparedRequest()
    kept.method, kept.url, kept.headers = request.method, request.url, request.headers.copy()
    kept._cookies = request._cookies  # type: ignore[attr-defined]
    return kept  # type: ignore[no-any-return]


class Resumer:
    """Resumes the body of one response, when its connection breaks.

    Every GET makes one, so what only a cut needs is made then. It holds the record of its call and not the
    call, which holds this: no ring is left for the garbage collector.

    Args:
        record: of the call whose response it is.
        adapter: whose hooks find a pool for the rest.
    """

    #: Byte of the body with which the present response began.
    since = 0
    #: Whether the attempts say already why the body ended.
    is_recorded = False
    #: The decision to stop, for the call; None: its own failure is still to be judged.
    gave_up: Decision | None = None
    #: Why the server has another body by now.
    refusal = ""
    #: urllib3's response; weak, since it owns this.
    _owner: Callable[[], Any] = staticmethod(lambda: None)
    #: The pool in which there is a place for the next connection, as that is bounded; None: there is none.
    slot_of: Any = None
    #: The last bytes of the body that came.
    tail = b""
    #: Called with the body's bytes as they come; None: there are no digests to compute.
    listener: Listener | None = None

    _status: int
    _headers: Mapping[str, str]
    _length: int | None
    _known: Representation | None = None
    _digests: Digests | None = None
    #: The request, as its hooks have left it, and the proxies with which the rest is asked for.
    _request: PreparedRequest
    _proxies: Any

    def __init__(self, record: Record, adapter: HTTPAdapter) -> None:
        self._record = record
        self._adapter = adapter
        #: How many failures the call had when the response came.
        self._failures = len(record.failures)

    def watch(self, response: Any) -> None:
        """Look after a response of urllib3's, of whose body nothing was read yet."""
        plan = self._record.plan
        self._request, self._proxies = plan.request, plan.proxies
        if plan.stream:
            # The reader of a stream may change both meanwhile.
            self._request, self._proxies = _as_it_is(plan.request), dict(plan.proxies or {})
        self._status, self._headers = response.status, response.headers
        answer = response._original_response
        self._length = length = answer.length
        pointless = answer.chunked and isinstance(self._representation(), str)
        if length != response.length_remaining or pointless:
            # Two readers would not agree on where it ends; or looking at each chunk would be for nothing.
            return
        if plan.stream and may_have_digests(self._headers):
            self._digests = self._promised()
            self.listener = self._digests.update if self._digests else None
        self._owner = weakref.ref(response)
        watch(response, self)

    def check(self, body: bytes) -> None:
        """Compare a resumed body, still encoded, with its digests, and see whether it is whole.

        Raises:
            OSError: it is not the body of the first response.
        """
        self._digests = self._promised()
        if self._digests is not None:
            self._digests.update(body)
            self._compare(self._digests)
        if refusal := why_not_whole(body, self._headers):
            self.refuse(refusal)

    def why_not(self) -> str:
        """Why it is not resumed, if the attempts do not tell that already."""
        if self.is_recorded:
            return ""
        known = self._representation()
        return known if isinstance(known, str) else self.refusal or "it was left before its end"

    def _promised(self) -> Digests | None:
        return Digests.of(self._headers, whole=self._status == OK)

    def _representation(self) -> Representation | str:
        """What the first response has said of the body, or why that cannot be resumed."""
        return representation_of(self._status, self._headers, self._length)

    def go_on(self, received: int, owed: int, error: Exception | None) -> Rest | None:
        """Ask for the missing bytes until a response brings them, or there is a reason to stop."""
        try:
            if self._known is None:
                known = self._representation()
                if isinstance(known, str):
                    return None
                self._known = known
            if received and is_compressed_on_the_way(self._headers, self._length):
                self.refusal = "Content-Encoding: it was compressed on the way"
                return None
            return None if self._is_abandoned() else self._seek(self._known, received, owed, error)
        finally:
            # What goes on with the body has taken it, if there was a need for it.
            slot_of, self.slot_of = self.slot_of, None
            free_slot(slot_of)

    def _seek(self, known: Representation, received: int, owed: int, error: Exception | None) -> Rest | None:
        record, broken = self._record, self._record.carrier
        if record.is_handed_out:
            record.heed_reader()
        broken.bytes_in = received - self.since
        broken.mark(Stage.BODY)
        broken.fail(error or IncompleteRead(b""))
        decision = self._judge(broken, known.length)
        self._write_down(broken, decision, f"resumed from byte {received}")
        while decision.again:
            sleep(decision.delay)
            if self._is_abandoned():
                return None
            found = self._try(known, self._trace(), received, owed)
            if isinstance(found, Rest):
                if self._is_abandoned():
                    be_done_with(found.response)
                    return None
                return found
            if isinstance(found, str):
                # The call may begin again, which counts as another repetition.
                self.refusal = found
                self.is_recorded = True
                return None
            decision = found
        self.gave_up = decision
        self.is_recorded = True
        return None

    def _is_abandoned(self) -> bool:
        """Whether the caller has closed the response meanwhile."""
        return bool(getattr(self._owner(), "is_abandoned", False))

    def _compare(self, digests: Digests) -> None:
        field = digests.mismatch()
        if field is not None:
            self.refuse(f"{field}: it is not that of the resumed body", "digest")

    def refuse(self, why: str, reason: str = "contradiction") -> NoReturn:
        """Raise an error: what went on with the body is not what it should be.

        Args:
            why: what contradicts what, beginning with the name of the field.
            reason: the same in a word that is counted.

        Raises:
            OSError: always.
        """
        record = self._record
        error = OSError(errno.EBADMSG, why)
        record.carrier.mark(Stage.BODY)
        if record.is_handed_out:
            record.plan.counters.failed(Stage.BODY)
            record.plan.counters.refused(reason)
        record.failed(record.carrier, error, f"not resumed: all of it came, but it is not the body: {why}")
        self.is_recorded = True
        try:
            raise error
        finally:
            # The traceback holds this frame: what the frame holds must not be the exception.
            del error

    def _judge(self, trace: Trace, length: int | None) -> Decision:
        """Whether to resume after a cut: at once and for free if enough came, else as after any failure."""
        record, gained = self._record, trace.bytes_in
        failure = record.failure_on_wire(trace, trace.error or IncompleteRead(b""))
        if gained < FREE_BYTES and (not gained or length is None or gained < FREE_SHARE * length):
            return record.decide(failure)
        # No pause is made, and so none can be too long.
        left = 0.0 if record.deadline.is_over() else math.inf
        alone = judge(record.plan.policy, record.plan.column, [failure], left)
        record.count_in(failure, alone)
        if not alone.again:
            if record.plan.circuit_check is not None:
                record.plan.circuit_check.stops(failure)
            return alone
        if not record.plan.policy.has_counts():
            # Unless a number was set by hand, progress makes up for the failures since the response came.
            # Earlier failures still count: a body that begins again and again is not free.
            del record.failures[self._failures :]
        return Decision(
            True, f"sent again at once: {failure.cause} at stage body, after {gained} bytes of it"
        )

    def _try(
        self, known: Representation, trace: Trace, at: int, owed: int, back: int = 0
    ) -> Rest | Decision | str:
        """One attempt: the rest of the body; or what to do next; or why the server has another body now."""
        response: Any = None
        outside, CURRENT.value = CURRENT.value, trace
        try:
            response = self._ask(trace, known.headers(at - back))
            if at and not back and known.is_over(response.status, response.headers, at):
                be_done_with(response)
                self._record.failed(
                    trace,
                    None,
                    f"asked again: the body ends at byte {at}; its last byte shows whether it is the same",
                )
                self.slot_of, trace.slot_of = trace.slot_of, None
                return self._try(known, self._trace(), at, owed, back=1)
            part = known.part_in(response.status, response.headers, at - back)
            size = part if isinstance(part, str) else known.size_with(part)
            if isinstance(size, int) and size < at + owed:
                part = "another length came for it"
            if isinstance(part, str):
                return self._refused(trace, response, part)
            if refusal := pass_over(trace, response, part.skip + back, self.tail):
                return self._refused(trace, response, refusal)
        except (HTTPError, HTTPException, OSError) as error:
            return self._failed(trace, error)
        except BaseException:
            if response is not None:
                be_done_with(response)
            raise
        finally:
            CURRENT.value = outside
            trace.keeps_slot = False
            self.slot_of, trace.slot_of = trace.slot_of or self.slot_of, None
        return self._taken(known, trace, response, part, at, back)

    def _trace(self) -> Trace:
        """The trace of a new attempt, which keeps the place in a blocking pool until another one has it."""
        trace = self._record.trace()
        trace.keeps_slot, trace.slot_of, self.slot_of = True, self.slot_of, None
        return trace

    def _ask(self, trace: Trace, fields: Mapping[str, str]) -> Any:
        """Send the request once more, with other fields about ranges; return urllib3's response."""
        plan = self._record.plan
        trace.connect_timeout, trace.send_timeout = plan.connect_timeout, plan.read_timeout
        within = bounded(plan.timeout, trace.deadline or plan.deadline)
        return ask_again(self._adapter, self._request, within, plan.verify, plan.cert, self._proxies, fields)

    def _taken(
        self, known: Representation, trace: Trace, response: Any, part: Part, at: int, back: int
    ) -> Rest:
        total = known.total if known.total is not None else part.total
        size = known.size_with(part)
        record = self._record
        self._known = replace(known, total=total, length=size)
        self.since, record.carrier, trace.body_resumed = at, trace, True
        owner = self._owner()
        if owner is not None:
            owner.is_resumed = True
        if record.is_handed_out:
            record.lift_attempt_limit(trace)
            hurriable(response)
        attempt = record.write_down(trace, None, f"resumes the body from byte {at}")
        # What was passed over came again.
        record.plan.counters.resumed(at - part.skip)
        if record.dispatcher is not None:
            record.dispatcher(BodyResumed, attempt, at)
        record.publish()
        wanted = None if part.length is None else part.length - back
        return Rest(response, wanted, size, part.is_end)

    def _refused(self, trace: Trace, response: Any, why: str) -> Decision | str:
        """What to do about a response that has no part of the body."""
        record = self._record
        be_done_with(response)
        failure = record.failure_by_status(trace, response.status, response.headers)
        if failure is None:
            if record.is_handed_out:
                # Otherwise the call has a failure of its own for it.
                record.plan.counters.failed(Stage.BODY)
                record.plan.counters.refused("not resumable")
            record.failed(trace, None, f"not resumed: {why}")
            trace.mark(Stage.BODY)
            record.carrier = trace
            return why
        decision = record.decide(failure)
        self._write_down(trace, decision)
        return decision

    def _failed(self, trace: Trace, error: Exception) -> Decision:
        record = self._record
        if trace.error is None:
            decision = Decision(False, f"not resumed: {type(error).__name__}, not on the wire")
        else:
            failure = record.failure_on_wire(trace, trace.error)
            decision = record.decide(
                unless_rotated(failure, record, self._adapter, trace, self._request, self._proxies)
            )
        self._write_down(trace, decision)
        record.remember(None, error)
        return decision

    def _write_down(self, trace: Trace, decision: Decision, again: str = "sent again") -> None:
        why = decision.why.replace("sent again", again, 1) if decision.again else decision.why
        self._record.failed(trace, trace.error, why, decision.delay if decision.again else None)
        # Its traceback holds the reader of the body, who holds the call, which holds this.
        trace.error = None

    def finish(self, received: int) -> None:
        """All of the body came.

        Raises:
            OSError: its digest is not that of the first response.
        """
        record = self._record
        record.carrier.bytes_in = received - self.since
        if self._digests is not None:
            self._compare(self._digests)
        if record.is_handed_out:
            record.carrier.mark(Stage.DONE)
            record.write_down(record.carrier, None, "the rest of the body was handed out")
            record.recovered()
            record.plan.quota.give_back(record.cost or PAY_BACK)
            record.cost = 0
            record.publish()
