"""urllib3's `Retry`, field by field, as a `RetryPolicy`.

Where urllib3 sorts a failure by the type of its exception, the stage decides here:

===============================  =============================================================
``total``                        bounds all repetitions, together
``connect``                      those before the first byte of the request has left
``read``                         those after it, until the body is whole
``other``                        TLS failures, in addition to the limit of their stage
``status``                       those for a status
``allowed_methods``              as it is; a listed method that is not idempotent is opted in
``status_forcelist``             as it is; 413, 429 and 503 with a Retry-After besides, as urllib3 has it
``backoff_factor``, ``_max``,    as they are, urllib3's formula
``_jitter``
``respect_retry_after_header``,  as they are
``retry_after_max``
``raise_on_status``              as it is (urllib3's default is True)
``redirect``,                    inert: requests follows redirects itself, and never passed them on
``raise_on_redirect``,
``remove_headers_on_redirect``
``history``                      goes on in the response's ``raw.retries.history``
===============================  =============================================================
"""

from __future__ import annotations

from typing import Final

from urllib3.util import Retry

from ..util.frozen import replace
from .causes import Cause
from .policy import ANSWERED, ANY_CAUSE, EARLY, EVERY, LATE, Limit, RetryPolicy


def policy_from(value: object, base: RetryPolicy | None = None) -> RetryPolicy:
    """Translate what `max_retries` takes.

    Args:
        value: an int bounds the count and leaves the rest of `base` as it is; a `Retry` brings its own
            rules; False means no repetitions, as in urllib3.
        base: the policy that an int is applied to.

    Raises:
        TypeError: it is neither, or a `Retry` with fields of the wrong type or with methods of its own.
    """
    base = base or RetryPolicy()
    if isinstance(value, Retry):
        return _from_retry(value, base)
    if value is False:
        value = 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"max_retries takes an int or a urllib3.util.Retry, not {value!r}")
    return replace(base, retries=max(0, value), limits=None)


def _from_retry(retry: Retry, base: RetryPolicy) -> RetryPolicy:
    _refuse_overrides(type(retry))
    allowed = retry.allowed_methods
    respect = bool(retry.respect_retry_after_header)
    # urllib3 asks `total` for its truth: without one, a Retry-After alone repeats nothing.
    told = frozenset(retry.RETRY_AFTER_STATUS_CODES) if respect and retry.total else frozenset()
    return RetryPolicy(
        limits=_limits(retry),
        # The environment has no say in what a `Retry` decides.
        retry_non_idempotent=False,
        # An empty collection means every method to urllib3 2, as None does.
        allowed_methods=frozenset(allowed) if allowed else None,
        statuses=frozenset(retry.status_forcelist),
        retry_after_statuses=told,
        raise_on_status=bool(retry.raise_on_status),
        backoff=retry.backoff_factor,
        backoff_max=retry.backoff_max,
        jitter=retry.backoff_jitter,
        respect_retry_after=respect,
        retry_after_max=getattr(retry, "retry_after_max", _SIX_HOURS),
        clamp_retry_after=True,
        # What a `Retry` has no word for stays as it was.
        **{name: getattr(base, name) for name in _BESIDE},
    )


#: What has nothing to do with when and how often.
_BESIDE: Final = (
    "breaker",
    "deadline",
    "attempt_timeout",
    "idempotency_key",
    "require_close_notify",
    "shared",
    "spool_bytes",
)

#: What urllib3 2.6.3 and later default to, and earlier ones did not bound.
_SIX_HOURS: Final = 21600.0

_LIMITS: Final = (
    ("total", EVERY, ANY_CAUSE),
    ("connect", EARLY, ANY_CAUSE),
    ("read", LATE, ANY_CAUSE),
    # urllib3 counts every error of `ssl` as "other".
    ("other", EVERY, frozenset({Cause.DAMAGED, Cause.TLS, Cause.ROTATED})),
    ("status", ANSWERED, ANY_CAUSE),
)


def _limits(retry: Retry) -> tuple[Limit, ...]:
    return tuple(
        Limit(name, most, stages, causes)
        for name, stages, causes in _LIMITS
        if (most := _count(name, getattr(retry, name))) is not None
    )


def _count(name: str, value: object) -> int | None:
    """False turns a kind of repetition off, None leaves it to `total`; both are urllib3's."""
    if value is None:
        return None
    if value is True or not isinstance(value, int):
        raise TypeError(f"Retry({name}=...) takes a number, None or False, not {value!r}")
    return max(0, value)


def _refuse_overrides(kind: type[Retry]) -> None:
    """A method that a subclass overrides would never be called here: say so instead of ignoring it."""
    own = [vars(base) for base in kind.__mro__[: kind.__mro__.index(Retry)]]
    members = [item for namespace in own for item in namespace.items()]
    names = sorted({name for name, member in members if _is_override(name, member)})
    if names:
        raise TypeError(
            f"{kind.__name__} overrides {', '.join(names)}, which this transport never calls; "
            "say the same with a RetryPolicy, or with a plain urllib3.util.Retry"
        )


def _is_override(name: str, member: object) -> bool:
    kinds = (classmethod, staticmethod, property)
    return hasattr(Retry, name) and (callable(member) or isinstance(member, kinds))


#: What urllib3 is given for each attempt: what stock has without `max_retries`.
ONE_ATTEMPT: Final = Retry(0, read=False)
