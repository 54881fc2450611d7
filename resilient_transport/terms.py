"""What holds for one call: its key, its column of the replay table, its time-outs."""

from __future__ import annotations

import math
import uuid
from typing import Any, Final

from requests import PreparedRequest
from urllib3.util import Timeout

from .retry.deadline import Deadline
from .retry.policy import RetryPolicy
from .retry.stages import IDEMPOTENT, Column, column
from .settings import Overrides

_IDEMPOTENCY_KEY: Final = "Idempotency-Key"


def with_key(request: PreparedRequest) -> PreparedRequest:
    """A copy with an Idempotency-Key of its own (IETF draft-ietf-httpapi-idempotency-key-header)."""
    if (request.method or "").upper() in IDEMPOTENT or _IDEMPOTENCY_KEY in request.headers:
        return request
    copy = request.copy()
    copy.headers[_IDEMPOTENCY_KEY] = f'"{uuid.uuid4()}"'
    return copy


def column_of(request: PreparedRequest, policy: RetryPolicy, here: Overrides) -> Column:
    """The column of the replay table that a request belongs to, by its method and what opts it in."""
    key = request.headers.get(_IDEMPOTENCY_KEY) or ""
    opted_in = policy.retry_non_idempotent or bool(key.strip())
    allowed = policy.allowed_methods
    if here.retry_non_idempotent is not None:
        opted_in = here.retry_non_idempotent
        allowed = allowed if opted_in else (allowed or IDEMPOTENT) & IDEMPOTENT
    return column(request.method or "", allowed, opted_in)


def connect_part(timeout: Any) -> float | None:
    """How long the caller grants for getting a connection, in seconds."""
    part = timeout[0] if isinstance(timeout, tuple) and timeout else timeout
    if isinstance(part, Timeout):
        part = part.connect_timeout
    return float(part) if isinstance(part, (int, float)) else None


def bounded(timeout: Any, deadline: Deadline) -> Any:
    """The caller's time-out as it is, or within what the deadline leaves."""
    left = deadline.left()
    if left == math.inf:
        return timeout
    if isinstance(timeout, Timeout):
        within = timeout.clone()
    elif isinstance(timeout, tuple):
        if len(timeout) != 2:
            # requests says what is wrong with it.
            return timeout
        within = Timeout(connect=timeout[0], read=timeout[1])
    else:
        within = Timeout(connect=timeout, read=timeout)
    # urllib3 refuses a time-out of 0.
    most = max(left, 0.001)
    within.total = min(within.total, most) if isinstance(within.total, (int, float)) else most
    return within
