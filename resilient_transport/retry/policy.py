"""When to send again, and how often: frozen values, no clock and no socket.

Annotations are evaluated here: `RetryPolicy` claims the package as its home, where `typing.get_type_hints`
would not find the names in them.
"""

import math
from collections.abc import Iterable, Sequence, Set
from functools import partial
from typing import Any, Final

from .. import settings
from ..util.frozen import dataclass, field, names_of, replace
from .breaker import Breaker
from .causes import CAUSES, DEFAULT_LIMITS, Cause
from .shared_limits import SharedLimits
from .stages import IDEMPOTENT, Failure, Stage

#: Statuses that say "not now": RFC 9110 section 15 (408, 502, 503, 504), RFC 6585 (429).
STATUSES: Final = frozenset({408, 429, 502, 503, 504})

EARLY: Final = frozenset(stage for stage in Stage if stage.rank < Stage.REQUEST.rank)
LATE: Final = frozenset({Stage.REQUEST, Stage.BODY})
ANSWERED: Final = frozenset({Stage.STATUS})
EVERY: Final = frozenset(Stage)
ANY_CAUSE: Final = frozenset(Cause)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many failures of one kind a call may have and still be repeated."""

    #: What the setting is called, for the sentence in the error.
    name: str
    #: The most repetitions.
    most: int
    #: The stages it counts.
    stages: frozenset[Stage] = EVERY
    #: The causes it counts.
    causes: frozenset[Cause] = ANY_CAUSE

    def covers(self, failure: Failure) -> bool:
        """Whether a failure counts against this limit."""
        return failure.stage in self.stages and failure.cause in self.causes

    def used_up(self, failures: Sequence[Failure]) -> bool:
        """Whether the last of these failures is one too many."""
        return self.covers(failures[-1]) and sum(map(self.covers, failures)) > self.most


def _setting(name: str) -> Any:
    """A field that the environment sets where the constructor does not."""
    return field(default_factory=partial(settings.value, name))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a request is sent again, and how often.

    The defaults are the recommendation. Every count is a number of repetitions, not of attempts.
    Derive another policy with `dataclasses.replace`. What is not given and has a variable
    (`RESILIENT_TRANSPORT_RETRIES` and so on) is taken from there.

    Args:
        retries: the most repetitions of a call, whatever their causes, together. None: each cause has a limit
            of its own (docs/behaviour.md has the table), and all else together has one.
        connect_retries: for resets and whatever else may heal before the first byte of the request has left;
            None: the default of this cause, or `retries` where that is given. So for the next five:
        name_retries: for a host name that is not found.
        refused_retries: for a refused connection, as of a server that restarts.
        timeout_retries: for time-outs, at whatever stage, and hosts to which no route leads.
        proxy_retries: for a proxy that answers CONNECT with status 408, 429, 502, 503 or 504.
        other_retries: for what has no name in the table of causes (docs/behaviour.md), at whatever stage.
        retry_non_idempotent: repeat POST, PATCH and the other methods that are not idempotent, too.
        idempotency_key: give each such request that has none an `Idempotency-Key`, which lets it be repeated.
        allowed_methods: the methods that may be repeated once the request has left; None: every method.
        statuses: the statuses of responses that are repeated.
        retry_after_statuses: the statuses that are repeated if the response says when (`Retry-After`).
        raise_on_status: raise `requests.exceptions.RetryError` when attempts end on a status; otherwise the
            response is returned.
        backoff: the ceiling of the first pause, in seconds; each further one is twice as high.
        backoff_max: the ceiling of every pause, in seconds.
        jitter: None: a pause is anything between 0 and its ceiling. A number: urllib3's pacing, which is no
            pause before the first repetition, then the ceiling and up to so many seconds more.
        respect_retry_after: wait as long as the `Retry-After` of a response says.
        retry_after_max: the longest `Retry-After` that is waited for, in seconds.
        clamp_retry_after: wait `retry_after_max` seconds where a response asks for more, as urllib3 does;
            otherwise such a response is handed back at once.
        deadline: seconds for the whole call, pauses and body included; None: no limit.
        attempt_timeout: seconds for one attempt; what takes longer has timed out. None: no limit.
        require_close_notify: take a body without a length that ends, over TLS, without close_notify for cut.
        spool_bytes: keep what an iterator or an unseekable file gives of a request's body, so that it can be
            sent again: so many bytes in memory, and more in a temporary file. 0: keep nothing.
        breaker: leaves an origin alone for a while that fails again and again; None: never.
        shared: keeps the retry quota of each origin, and the state of the breaker, for several processes: a
            `resilient_transport.redis.RedisLimits`. None: each process has its own.
        limits: limits by stage and cause in the place of the counts above, as a `Retry` brings them.

    Raises:
        TypeError: a value is of the wrong type.
        ValueError: a value is out of its range, or the environment says something that is not allowed.
    """

    #: The most repetitions of a call, whatever their causes, together. None: each cause has its own
    #: limit (the next six fields), and all else together 5.
    retries: int | None = _setting("retries")
    #: Resets, closes and damaged TLS records before the first byte of the request. None: 12, or `retries`
    #: where that is given.
    connect_retries: int | None = None
    #: A host name that is not found. None: 2, or `retries`.
    name_retries: int | None = None
    #: A refused connection, as of a server that restarts. None: 5, or `retries`.
    refused_retries: int | None = None
    #: Time-outs, at whatever stage, and hosts to which no route leads. None: 1, or `retries`.
    timeout_retries: int | None = None
    #: A proxy that answers CONNECT with status 408, 429, 502, 503 or 504. None: 2, or `retries`.
    proxy_retries: int | None = None
    #: Failures of any other cause, at whatever stage. None: 1, or `retries`.
    other_retries: int | None = None
    #: Repeat POST, PATCH and the other methods that are not idempotent, too.
    retry_non_idempotent: bool = _setting("retry_non_idempotent")
    #: Give each such request that has none an `Idempotency-Key` of its own, which lets it be repeated.
    idempotency_key: bool = False
    #: Methods that may be repeated once the request has left; None: every method.
    allowed_methods: Set[str] | list[str] | tuple[str, ...] | None = IDEMPOTENT
    #: Statuses of responses that are repeated.
    statuses: Set[int] | list[int] | tuple[int, ...] | range = STATUSES
    #: Statuses that are repeated if the response says when (Retry-After).
    retry_after_statuses: Set[int] | list[int] | tuple[int, ...] | range = frozenset()
    #: Raise `requests.exceptions.RetryError` when attempts end on a status; otherwise return the response.
    raise_on_status: bool = False
    #: Ceiling of the first pause, in seconds; each further one is twice as high.
    backoff: float = _setting("backoff")
    #: Ceiling of every pause, in seconds.
    backoff_max: float = _setting("backoff_max")
    #: None: full jitter, a pause between 0 and its ceiling. A number: urllib3's pacing, no pause before
    #: the first repetition, then the ceiling itself and up to `jitter` seconds more.
    jitter: float | None = None
    #: Wait as long as the response's Retry-After says.
    respect_retry_after: bool = True
    #: The longest Retry-After that is waited for, in seconds.
    retry_after_max: float = 60.0
    #: A longer Retry-After is waited for as long as `retry_after_max` (urllib3's rule) instead of handing
    #: the response back at once.
    clamp_retry_after: bool = False
    #: Seconds for the whole call: resolving, connecting, waiting, all attempts, and the body to its last
    #: byte, with `stream=True`, too. None: no limit.
    deadline: float | None = _setting("deadline")
    #: Seconds for one attempt: connecting, sending, the response's head, and a body that is not streamed.
    #: What takes longer has timed out. None: no limit.
    attempt_timeout: float | None = None
    #: A body without a length, over TLS, that ends without close_notify is an error and not a short answer;
    #: False for servers that never send it.
    require_close_notify: bool = True
    #: Keep what an iterator or an unseekable file gives of a request's body, so that it can be sent again: so
    #: many bytes in memory, what is more in a temporary file. 0: once touched, it is never sent again.
    spool_bytes: int = 0
    #: Leave an origin alone for a while that fails again and again; None: never.
    breaker: Breaker | None = None
    #: Keeps the retry quota of each origin, and the state of the breaker, for several processes
    #: (`resilient_transport.redis.RedisLimits`); None: each process has its own.
    shared: SharedLimits | None = None
    #: Limits by stage and cause in place of the counts above, as a `Retry` brings them. None: there are none.
    limits: tuple[Limit, ...] | None = None

    def raises_at(self, status: int, failures: Sequence[Failure]) -> bool:
        """Whether attempts that end on a status end in `RetryError`; otherwise the response is returned."""
        if not self.raise_on_status or status in self.statuses:
            return self.raise_on_status
        # urllib3 looks for a Retry-After only while there is something left of `total`.
        is_spent = any(limit.name == "total" and limit.used_up(failures) for limit in self.in_force())
        return status in self.retry_after_statuses and not is_spent

    def repeats_connects(self) -> bool:
        """Whether a failure before the first byte of the request is repeated, whatever its cause."""
        none = [limit for limit in self.in_force() if limit.most < 1]
        return not any(limit.covers(failure) for limit in none for failure in _SHARED)

    def spends_less_early(self) -> bool:
        """Whether it repeats connects, but not a request that has left, such as `Retry(connect=3, read=0)`.

        Then a request had better not leave before it is known that the server accepts the connection.
        """
        none = [limit for limit in self.in_force() if limit.most < 1]
        return any(limit.covers(_LOST) for limit in none) and self.repeats_connects()

    def has_counts(self) -> bool:
        """Whether anybody has set a number of repetitions."""
        return self.limits is not None or any(getattr(self, name) is not None for name in _COUNTS)

    def shares_cold_start(self) -> bool:
        """Whether the pauses of a pool do for a call, and the failures of others there are its own."""
        return self.paces_by_default() and self.repeats_connects()

    def paces_by_default(self) -> bool:
        """Whether the pauses are the default ones, so that a pool's own pause is as good."""
        return self.jitter is None and all(getattr(self, name) == settings.default(name) for name in _PACING)

    def __post_init__(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is True or False, not {getattr(self, name)!r}")
        if self.breaker is not None and not isinstance(self.breaker, Breaker):
            raise TypeError(f"breaker is a Breaker or None, not {self.breaker!r}")
        if self.shared is not None and not isinstance(self.shared, SharedLimits):
            # Not as it is: the URL of a Redis has a password.
            given = type(self.shared).__name__
            raise TypeError(f"shared is a RedisLimits or None, not a value of type {given}")
        if self.limits is not None and not all(isinstance(limit, Limit) for limit in tuple(self.limits)):
            raise TypeError(f"limits is a tuple of Limit or None, not {self.limits!r}")
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        if isinstance(self.spool_bytes, bool) or not isinstance(self.spool_bytes, int):
            raise TypeError(f"spool_bytes is a number of bytes, not {self.spool_bytes!r}")
        if self.spool_bytes < 0:
            raise ValueError(f"spool_bytes is 0 or more, not {self.spool_bytes!r}")
        for name in ("backoff", "backoff_max", "retry_after_max"):
            _check_seconds(name, getattr(self, name))
        for name in ("jitter", "deadline", "attempt_timeout"):
            if getattr(self, name) is not None:
                _check_seconds(name, getattr(self, name))
        if self.attempt_timeout == 0:
            raise ValueError("attempt_timeout is over 0, or None for no limit: no attempt takes no time")
        if self.allowed_methods is not None:
            object.__setattr__(self, "allowed_methods", _methods(self.allowed_methods))
        for name in ("statuses", "retry_after_statuses"):
            object.__setattr__(self, name, _statuses(name, getattr(self, name)))

    def in_force(self) -> tuple[Limit, ...]:
        """The limits that hold: those given, or the defaults of the causes."""
        if self.limits is not None:
            return self.limits
        by_cause = tuple(
            limit if (given := getattr(self, limit.name)) is None else replace(limit, most=given)
            for limit in _BY_CAUSE
            if self.retries is None or getattr(self, limit.name) is not None
        )
        if self.retries is None:
            return (*by_cause, _THE_REST)
        return (Limit("retries", self.retries), *by_cause)


#: One failure of each kind that callers share which wait for the same connection.
_SHARED: Final = [Failure(Stage.HANDSHAKE, cause) for cause in (Cause.RESET, Cause.REFUSED, Cause.NAME)]
#: A request that has left, and met a reset in the place of its answer.
_LOST: Final = Failure(Stage.REQUEST, Cause.RESET)
#: What says how long the pauses are.
_PACING: Final = ("backoff", "backoff_max")
#: A policy that no environment has a say in, for what is nobody's in particular.
DEFAULTS: Final = {
    name: settings.default(name) for name in (*_PACING, "retries", "retry_non_idempotent", "deadline")
}

_SWITCHES: Final = tuple(name for name, kind in RetryPolicy.__annotations__.items() if kind is bool)
_COUNTS: Final = tuple(name for name in names_of(RetryPolicy) if name.endswith("retries"))

#: Settings that count failures at whatever stage; the others count those before the request has left.
_AT_EVERY_STAGE: Final = ("timeout_retries", "other_retries")


def _limit(name: str, most: int) -> Limit:
    """The limit that a setting stands for."""
    causes = frozenset(cause for cause, treatment in CAUSES.items() if treatment.limit == name)
    return Limit(name, most, EVERY if name in _AT_EVERY_STAGE else EARLY, causes)


#: The limit of each cause, where no count of its own is set.
_BY_CAUSE: Final = tuple(_limit(name, most) for name, most in DEFAULT_LIMITS.items() if name != "retries")
_THE_REST: Final = Limit(
    "retries",
    DEFAULT_LIMITS["retries"],
    LATE | ANSWERED,
    ANY_CAUSE.difference(*(limit.causes for limit in _BY_CAUSE if limit.name in _AT_EVERY_STAGE)),
)


def _check_count(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a number of repetitions or None, not {value!r}")
    if value < 0:
        raise ValueError(f"{name} is 0 or more, not {value!r}; 0 turns these repetitions off")


def _check_seconds(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is a finite number of seconds, 0 or more, not {value!r}")


def _methods(methods: Iterable[str]) -> frozenset[str]:
    if isinstance(methods, str) or not all(isinstance(method, str) for method in methods):
        raise TypeError(f"allowed_methods is a set of method names or None, not {methods!r}")
    return frozenset(method.upper() for method in methods)


def _statuses(name: str, statuses: Iterable[int]) -> frozenset[int]:
    if isinstance(statuses, int):
        raise TypeError(f"{name} is a set of status codes, not {statuses!r}")
    known = frozenset(statuses)
    if not all(isinstance(status, int) for status in known):
        raise TypeError(f"{name} is a set of status codes, not {statuses!r}")
    return known
