"""Whether a request may be sent again: its Idempotency-Key, and its column of the replay table."""

from __future__ import annotations

import os
from typing import Any, Final

from requests import PreparedRequest
from urllib3.util import Retry

from ..retry.policy import RetryPolicy
from ..retry.stages import IDEMPOTENT, Column, column
from ..settings.override import Overrides

_IDEMPOTENCY_KEY: Final = "Idempotency-Key"
#: Methods with which a precondition guards against lost updates (RFC 9110 section 13.1).
_MAY_CHANGE: Final = frozenset({"PUT", "DELETE", "PATCH"})
_PRECONDITIONS: Final = ("If-Match", "If-None-Match", "If-Unmodified-Since")
#: Sets of methods that nobody has chosen, so that what they name is not opted in.
_DEFAULTS: Final = (IDEMPOTENT, Retry.DEFAULT_ALLOWED_METHODS)


def with_key(request: PreparedRequest) -> PreparedRequest:
    """A copy with an Idempotency-Key of its own (IETF draft-ietf-httpapi-idempotency-key-header)."""
    if (request.method or "").upper() in IDEMPOTENT or _IDEMPOTENCY_KEY in request.headers:
        return request
    copy = request.copy()
    copy.headers[_IDEMPOTENCY_KEY] = f'"{_random_uuid()}"'
    return copy


def _random_uuid() -> str:
    """A UUID of version 4 (RFC 9562 section 5.4). The module `uuid` takes long to import."""
    number = int.from_bytes(os.urandom(16), "big")
    number = number & ~(0xF << 76) & ~(0x3 << 62) | (0x4 << 76) | (0x2 << 62)
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def column_of(request: PreparedRequest, policy: RetryPolicy, here: Overrides) -> Column:
    """The column of the replay table that a request belongs to, by its method and what opts it in."""
    # A frozenset, whatever was given.
    allowed: Any = policy.allowed_methods
    method, opted_in = request.method or "", here.retry_non_idempotent
    if opted_in is False:
        allowed = IDEMPOTENT if allowed is None else allowed & IDEMPOTENT
    unchosen = opted_in is False or allowed in _DEFAULTS
    if allowed is not None and unchosen and method.upper() in _MAY_CHANGE and _has_precondition(request):
        # Repeated after its answer was lost, it would meet its own doing as a 412.
        allowed = allowed - _MAY_CHANGE
    if opted_in is None and allowed is not None and method.upper() not in allowed:
        # Only there it makes a difference, and looking for a field takes a microsecond.
        opted_in = policy.retry_non_idempotent or bool((request.headers.get(_IDEMPOTENCY_KEY) or "").strip())
    return column(method, allowed, bool(opted_in))


def _has_precondition(request: PreparedRequest) -> bool:
    return any(map(request.headers.__contains__, _PRECONDITIONS))
