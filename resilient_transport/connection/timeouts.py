"""The time-outs of a call, as requests and urllib3 take them, within what its deadline leaves."""

from __future__ import annotations

from typing import Any

from urllib3.exceptions import TimeoutStateError
from urllib3.util import Timeout

from ..retry.deadline import Deadline


def connect_part(timeout: Any) -> float | None:
    """How long the caller grants for getting a connection, in seconds."""
    part = timeout[0] if isinstance(timeout, tuple) and timeout else timeout
    if isinstance(part, Timeout):
        part = part.connect_timeout
    return float(part) if isinstance(part, (int, float)) else None


def read_part(timeout: Any) -> float | None:
    """How long the caller lets pass between two bytes, in seconds; None: for ever; negative: unknown."""
    part = timeout[1] if isinstance(timeout, tuple) and len(timeout) == 2 else timeout
    if isinstance(part, Timeout):
        total = part.total
        try:
            part = part.read_timeout
        except TimeoutStateError:
            part = total
        # urllib3 takes the total into account once its clock runs.
        if isinstance(part, (int, float)) and isinstance(total, (int, float)):
            part = min(part, total)
    return float(part) if isinstance(part, (int, float)) else None if part is None else -1.0


def bounded(timeout: Any, deadline: Deadline) -> Any:
    """The caller's time-out as it is, or within what the deadline leaves."""
    most = deadline.for_socket(None)
    if most is None:
        return timeout
    if isinstance(timeout, tuple) and len(timeout) != 2:
        # requests says what is wrong with it.
        return timeout
    within = as_urllib3s(timeout)
    within.total = min(within.total, most) if isinstance(within.total, (int, float)) else most
    return within


def as_urllib3s(timeout: Any) -> Timeout:
    """A time-out of requests', or a copy of one of urllib3's."""
    if isinstance(timeout, Timeout):
        return timeout.clone()
    connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
    return Timeout(connect=connect, read=read)
