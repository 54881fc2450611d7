"""Calls with a deadline whose peers never come to an end, and how late they ended."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: How often each call is made.
TIMES: Final = 2


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late the calls of one kind ended."""

    #: What the peer does, and how the deadline was set.
    kind: str
    #: Seconds after the deadline.
    seconds: tuple[float, ...]


def said(found: Sequence[Lateness]) -> str:
    """Return a sentence about all of them."""
    every = [seconds for one in found for seconds in one.seconds]
    worst = max(found, key=lambda one: max(one.seconds))
    return (
        f"{len(found)} kinds of calls that never end by themselves, {TIMES} of each, ended "
        f"{statistics.median(every) * 1e3:.1f} ms after their deadline in the median, and "
        f"{max(worst.seconds) * 1e3:.1f} ms at the most ({worst.kind})."
    )
