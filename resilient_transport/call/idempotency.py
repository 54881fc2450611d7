"""Whether a request may be sent again: its Idempotency-Key, and its column of the replay table."""

from __future__ import annotations

import uuid
from typing import Final

from requests import PreparedRequest

from ..retry.policy import RetryPolicy
from ..retry.stages import IDEMPOTENT, Column, column
from ..settings.override import Overrides

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
        if not opted_in:
            allowed = IDEMPOTENT if allowed is None else allowed & IDEMPOTENT
    return column(request.method or "", allowed, opted_in)
