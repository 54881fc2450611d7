"""The record that the wire makes of one attempt, while it happens.

An attempt's trace is in `CURRENT` while the attempt runs; the pool gives it to the connection it hands
out, and the connection marks each stage on it.  Only the thread that makes the attempt, or reads its body,
touches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..gate.caller import Caller
from ..retry.deadline import Deadline
from ..retry.policy import RetryPolicy
from ..retry.stages import Stage
from ..settings.options import DEFAULT_OPTIONS, ConnectionOptions
from ..telemetry.counters import Counters
from ..telemetry.dispatch import Dispatcher
from ..util.clock import monotonic
from ..util.fork import in_worker
from ..util.here import Here

#: After so many failures a call offers no TLS session any more.
_CHOKES: Final = 2


class Trace:
    """How far an attempt got, what it moved, and what the wire may do for it.

    Args:
        replayable: whether the request may be sent again once it has left. If not, it gets only a
            connection that was proven a moment ago.
        deadline: when the call has to be over.
        require_close_notify: whether a body without a length has to end with an orderly close of TLS.
        fresh: take no idle connection; a misdirected request needs a new one (RFC 9110 section 15.5.20).
        policy: when the call is repeated; None: it shares nothing with others.
        caller: the call, as gates and connections have known it in an earlier attempt; None: none of them
            did.
        warming: connect, and send nothing.
        connection_options: how long connections live, and how new ones are made.
        dispatcher: tells of the call; None: nobody wants to hear.
        counters: counts what happens; None: nobody does.
    """

    # Every attempt makes one: what holds for most of them is the class's.
    stage = Stage.QUEUE
    #: The failure as the wire met it, before urllib3 wrapped it. Set by the connection, the pool and
    #: the body; what none of them recorded did not happen on the wire and is not repeated.
    error: BaseException | None = None
    bytes_out = 0
    bytes_in = 0
    #: Whether the failure was another caller's, whom this one has waited for.
    borrowed = False
    #: Whether the pool pauses before it connects again, so that the caller need not.
    paced = False
    #: Whether the server had accepted no connection yet when this one began to look for one.
    cold = False
    reused = False
    tls_resumed = False
    #: Whether its response goes on with a body that was cut. Set by who resumes that.
    body_resumed = False
    #: Whether it runs over a connection class that somebody else has put into urllib3, which marks no stages.
    is_foreign = False
    #: "TLSv1.3" and the like; None without TLS, and where the connection was there already.
    tls_version: str | None = None
    #: When the call has to be over, where the attempt has to be sooner.
    call_deadline: Deadline | None = None
    #: Seconds that the caller grants for getting a connection; None: no limit.
    connect_timeout: float | None = None
    #: Seconds between two bytes of the request; None: for ever; negative: urllib3's, that for connecting.
    send_timeout: float | None = -1.0
    #: Where the connection leads, or was tried to last, as `Attempt.address` has it.
    address: str | None = None
    #: The response's status; set by the connection.
    status: int | None = None
    #: Whether hooks have heard of its failure: what is decided anew afterwards is no other one.
    told = False
    #: The attempt's place among those of its call, from 1, once it was recorded.
    number = 0
    #: Is shown urllib3's response before anybody has read of its body, to watch over that.
    on_answer: Callable[[Any], None] | None = None
    #: Whether a slot that becomes free is kept for the next attempt, and the blocking pool whose slot it is;
    #: None: none is kept. Set by who resumes a body, and by the pool.
    keeps_slot = False
    slot_of: Any = None
    #: The connection that it has already; `_get_conn` of its pool hands it out. Set and taken by the pool.
    given: Any = None
    #: The shared pool of the connection, if that has failed, or has brought a status with which a server may
    #: refuse a certificate. Taken by who asks whether the files of its identity were replaced.
    failed_in: Any = None
    #: When the connection was ready, on the monotonic clock.
    connected: float | None = None
    #: As `Attempt.stages` has it.
    stages: tuple[tuple[str, float], ...] = ()

    def __init__(
        self,
        *,
        replayable: bool = True,
        deadline: Deadline | None = None,
        fresh: bool = False,
        require_close_notify: bool = True,
        policy: RetryPolicy | None = None,
        caller: Caller | None = None,
        warming: bool = False,
        connection_options: ConnectionOptions = DEFAULT_OPTIONS,
        dispatcher: Dispatcher | None = None,
        counters: Counters | None = None,
    ) -> None:
        self.replayable = replayable
        self.deadline = deadline
        self.fresh = fresh
        self.require_close_notify = require_close_notify
        self.policy = policy
        #: None until somebody has needed it (`as_caller`): most calls get an idle connection.
        self.caller = caller
        self.warming = warming
        self.connection_options = connection_options
        self.dispatcher = dispatcher
        self.counters = counters
        self.began = monotonic()
        #: When the stage was marked, on the monotonic clock.
        self.marked = self.began

    def mark(self, stage: Stage) -> None:
        """From here on, the attempt is in this stage."""
        self.stage = stage
        self.marked = monotonic()

    def fail(self, error: BaseException) -> None:
        """Record what went wrong, in the stage that was marked last."""
        self.error = error

    def hand_over(self) -> None:
        """Somebody else's connection takes the request, and whether it leaves will not be recorded."""
        self.is_foreign = True
        self.mark(Stage.REQUEST)

    def is_limited(self) -> bool:
        """Whether the attempt, or its call, has a deadline."""
        return self.deadline is not None and self.deadline.is_limited()

    def is_late(self) -> bool:
        """Whether its time, or that of its call, is over."""
        return self.deadline is not None and self.deadline.is_over()

    def is_last(self) -> bool:
        """Whether the time of the call is over, and not only that of this attempt."""
        return self.is_late() and (self.call_deadline is None or self.call_deadline.is_over())

    def may_send_first(self) -> bool:
        """Whether its request may leave before the server has accepted the connection.

        If that is reset instead, the request had left, and to send it again is up to other counts.
        """
        if self.warming or not self.replayable:
            return False
        return self.policy is None or not self.policy.spends_less_early()

    def as_caller(self) -> Caller | None:
        """The call, as gates and connections know it; None: it shares nothing with others."""
        if self.caller is None and self.policy is not None:
            self.caller = Caller(self.policy.shares_cold_start)
        return self.caller

    def may_resume(self) -> bool:
        """Whether to offer a TLS session: not to a server that has failed the call twice when it saw one."""
        return self.caller is None or self.caller.chokes < _CHOKES

    def choked(self) -> None:
        """A handshake that offered a TLS session has failed."""
        if (caller := self.as_caller()) is not None:
            caller.chokes += 1

    def patience(self) -> float | None:
        """Seconds that the call may wait for a connection; None: for ever."""
        return self.deadline.bound(self.connect_timeout) if self.deadline else self.connect_timeout

    def within_deadline(self, seconds: float) -> float:
        """The smaller of a time-out and what is left until the call has to be over, in seconds."""
        return seconds if self.deadline is None else min(seconds, self.deadline.left())

    def between_bytes(self, told: float | None) -> float | None:
        """Seconds that the caller lets pass between two bytes of an answer; None: for ever.

        Args:
            told: what the socket was told.
        """
        if self.stage.rank <= Stage.TUNNEL.rank:
            # An answer of a proxy belongs to getting a connection.
            return self.connect_timeout
        granted = self.send_timeout
        return told if granted is not None and granted < 0 else granted

    def connecting(self) -> float:
        """Seconds until the connection was ready; 0 when it was there already."""
        return 0.0 if self.reused or self.connected is None else self.connected - self.began


class TimedTrace(Trace):
    """The same for a call that somebody listens to: it keeps when each stage began."""

    stages: tuple[tuple[str, float], ...] = ((Stage.QUEUE.value, 0.0),)

    def mark(self, stage: Stage) -> None:
        """From here on, the attempt is in this stage; which began when it was marked first."""
        super().mark(stage)
        if stage.rank <= Stage.BODY.rank and self.stages[-1][0] != stage.value:
            self.stages += ((stage.value, self.marked - self.began),)


#: The trace of the attempt that runs in this thread.
CURRENT: Final[Here[Trace]] = Here()


@in_worker
def _end() -> None:
    """A process that was forked during an attempt, to work on something else, makes none."""
    CURRENT.value = None
