"""What a Retry-After field asks for (RFC 9110 section 10.2.3)."""

from __future__ import annotations

import math
import re
import time
from calendar import timegm
from collections.abc import Callable
from email.utils import parsedate_tz
from typing import Final


def retry_after(
    value: str | None, date: str | None = None, clock: Callable[[], float] = time.time
) -> float | None:
    """What Retry-After asks for, in whole seconds, rounded up; None when it says nothing.

    RFC 9110 section 10.2.3 has seconds and dates. Fractions, a unit and doubled fields are met in the wild.

    Args:
        value: the field: a number of seconds, or a moment.
        date: the response's Date: the moment is by the server's clock, which may not agree with ours.
        clock: our own, for a server that has none.
    """
    if value is None:
        return None
    asked = _once(value)
    if seconds := _SECONDS.fullmatch(asked):
        return float(math.ceil(float(seconds[1])))
    moment = _moment(asked)
    if moment is None:
        return None
    now = _moment(date)
    return float(math.ceil(max(0.0, moment - (clock() if now is None else now))))


#: Fractions, and the unit that some servers add, are no part of the grammar.
_SECONDS: Final = re.compile(r"(\d{1,15}(?:\.\d{0,9})?) ?(?:s|secs?|seconds?)?", re.ASCII | re.IGNORECASE)


def _once(value: str) -> str:
    """A field that came several times, with the same value, as one; a date has a comma of its own."""
    pieces = [piece.strip() for piece in value.split(",")]
    for size in (1, 2):
        if pieces == pieces[:size] * (len(pieces) // size):
            return ", ".join(pieces[:size])
    return value.strip()


def _moment(value: str | None) -> float | None:
    """A date of HTTP in any of its forms (RFC 9110 section 5.6.7), as seconds since 1970."""
    parts = None if value is None else parsedate_tz(value)
    try:
        # Without a zone, as asctime has it, GMT is meant.
        return None if parts is None else float(timegm((*parts[:6], 0, 0, 0)) - (parts[9] or 0))
    except (ValueError, OverflowError):
        return None
