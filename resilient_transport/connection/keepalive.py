"""How long the server of a shared pool keeps idle connections, as far as it has shown.

Knows nothing of sockets. Times are in seconds, as somebody else has measured them.
"""

from __future__ import annotations

import re
from typing import Final

#: A request that may not be repeated takes only a connection known to work within this time, in seconds,
#: where nothing is known of the server: half of 2 s, the idle limit of gunicorn.
FRESH_FOR: Final = 1.0
#: The share of the longest time after which a connection was seen to work that such a request counts on: its
#: way to the server takes time, too.
_SHARE: Final = 0.75
#: No longer time counts, in seconds. A firewall forgets a connection without a word, so that it looks open;
#: the most hasty do so after 30 s.
_SEEN_AT_MOST: Final = 20.0
#: A server that closes sooner does so for another reason than idleness, such as a restart.
_LEAST: Final = 0.1
#: What has been learned is forgotten when connections outlive this.
_LONGEST: Final = 60.0
#: How much sooner than the server we let go of a connection that it has set a limit to.
SPARE: Final = 1.0

_TIMEOUT: Final = re.compile(r"(?:^|[\s,;])timeout\s*=\s*\"?(\d{1,9})", re.ASCII | re.IGNORECASE)
_MAX: Final = re.compile(r"(?:^|[\s,;])max\s*=\s*\"?(\d{1,9})", re.ASCII | re.IGNORECASE)


def hints(field: str) -> tuple[float | None, int | None]:
    """What a `Keep-Alive` field says (RFC 2068 section 19.7.1.1): seconds, and how many more requests."""
    seconds, count = _TIMEOUT.search(field), _MAX.search(field)
    return (float(seconds[1]) if seconds else None, int(count[1]) if count else None)


class KeepAlivePolicy:
    """What is known of one server. Read and written without a lock: each value stands for itself."""

    __slots__ = ("seen", "shown")

    def __init__(self) -> None:
        #: The longest time after which it was seen to keep one open.
        self.seen: float = 0.0
        #: After how long it has closed one under us; None: it has not, or that was long ago.
        self.shown: float | None = None

    def allows(self, idle_for: float) -> bool:
        """Whether a connection that was idle for so long may be used, as far as the server has a say."""
        return self.shown is None or idle_for < self.shown

    def fresh_for(self, told: float | None) -> float:
        """For how long a connection counts as known to work: half of the server's limit.

        One that was open after some time bounds the limit from below: if the server says nothing, three
        quarters of that are safe, too. One that was found closed bounds it from above only, since after a
        minute it may have been closed for long. So that makes the time shorter, and never longer.
        """
        usual = max(FRESH_FOR, self.seen * _SHARE) if told is None else told / 2
        return usual if self.shown is None else min(usual, self.shown / 2)

    def open_after(self, idle_for: float) -> None:
        """A connection that was idle for so long was open, or has carried another request."""
        if self.seen < idle_for:
            self.seen = min(idle_for, _SEEN_AT_MOST)

    def closed_after(self, idle_for: float) -> None:
        """A connection that was idle for so long was found closed."""
        if idle_for >= _LEAST:
            self.seen = min(self.seen, idle_for)
            if self.allows(idle_for):
                self.shown = idle_for

    def outlived(self, idle_for: float) -> None:
        """A connection that was idle for so long, and so was not used, was open all the same.

        That contradicts what was shown: a restart, say, closes connections that were idle for a moment. One
        such connection is enough, so that a program that calls every few seconds loses no more than that. The
        limit becomes twice the time that was outlived. Half of it, for which a request that may not be
        repeated trusts a connection, is then no longer than what was seen to hold.
        """
        self.open_after(idle_for)
        if self.shown is not None and idle_for >= self.shown:
            longer = 2 * idle_for
            self.shown = longer if longer < _LONGEST else None

    def __repr__(self) -> str:
        return f"<KeepAlivePolicy seen {self.seen}, shown {self.shown}>"
