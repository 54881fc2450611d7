"""What a Retry-After field asks for (RFC 9110 section 10.2.3)."""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Callable
from email.utils import parsedate_tz
from typing import Final


def retry_after(
    value: str | None, date: str | None = None, clock: Callable[[], float] = time.time
) -> float | None:
    """What Retry-After asks for, in seconds (RFC 9110 section 10.2.3); None when it says nothing.

    Args:
        value: the field: a number of seconds, or a moment.
        date: the response's Date: the moment is by the server's clock, which may not agree with ours.
        clock: our own, for a server that has none.
    """
    if value is None:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    moment = _moment(value)
    if moment is None:
        return None
    now = _moment(date)
    return max(0.0, moment - (clock() if now is None else now))


_SECONDS: Final = re.compile(r"\d{1,15}", re.ASCII)


def _moment(value: str | None) -> float | None:
    """A date of HTTP in any of its forms (RFC 9110 section 5.6.7), as seconds since 1970."""
    parts = None if value is None else parsedate_tz(value)
    try:
        # Without a zone, as asctime has it, GMT is meant.
        return None if parts is None else float(timegm((*parts[:6], 0, 0, 0)) - (parts[9] or 0))
    except (ValueError, OverflowError):
        return None
