"""Times on an axis, and in words."""

from __future__ import annotations

import math
from typing import Final

#: About so many steps has an axis, at the most.
_STEPS: Final = 5


def ticks(seconds: float) -> list[float]:
    """The moments that an axis of this length names: from 0, in steps of 1, 2 or 5 times a power of ten."""
    if not 0 < seconds < math.inf:
        return [0.0]
    if seconds >= 100:
        # In steps of minutes, or of hours.
        return [60 * moment for moment in ticks(seconds / 60)]
    power = 10.0 ** math.floor(math.log10(seconds / _STEPS))
    step = next(size * power for size in (1, 2, 5, 10, 20) if seconds / (size * power) <= _STEPS)
    return [number * step for number in range(int(seconds / step + 1e-9) + 1)]


def span(seconds: float) -> str:
    """A span of time in three digits and a unit: "0.25 ms", "12.3 ms", "1.5 s", "2 min 5 s"."""
    if seconds <= 0:
        return "0"
    if seconds >= 100:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes:,} min {rest} s" if rest else f"{minutes:,} min"
    if seconds >= 0.9995:
        return f"{_three_digits(seconds)} s"
    return f"{_three_digits(seconds * 1000)} ms"


def _three_digits(number: float) -> str:
    """A number below 1,000, with no more places than it takes."""
    if number < 0.005:
        return "0"
    places = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    text = f"{number:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def share(part: float, whole: float) -> float:
    """How many per cent of a whole a part is, between 0 and 100."""
    if whole <= 0:
        return 0.0
    return min(max(100 * part / whole, 0.0), 100.0)
