"""Records the calls of the process while a block runs, and writes their waterfall.

It costs each call what any hook costs. What only the writing needs is imported when something is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ..events import AttemptStarted, CallEnded, CallEvent, Event, subscribe, subscribers, unsubscribe
from ..util import atomic
from ..util.bounded_dict import keep_newest
from ..util.fork import Turn, in_child, in_worker
from ..util.whole_file import write_whole
from .call_notes import CallNotes

if TYPE_CHECKING:
    from .chart import Chart

#: Calls that are kept: so many of the newest, and so many of the newest in which something failed.
MOST_CALLS: Final = 1000
#: Calls that have not ended, which are kept besides: only as many as no program makes at once.
MOST_UNDER_WAY: Final = 10_000


class Recording:
    """The calls that were made while a block of `recording` ran; usable in the block and after it.

    It keeps the newest 1,000 calls, the newest 1,000 of those in which an attempt has failed, and those that
    have not ended; of each call the first ten and the last ten attempts. It holds no query, header or
    credential.
    """

    def __init__(self) -> None:
        self._total = 0
        self._newest: dict[int, CallNotes] = {}
        self._troubled: dict[int, CallNotes] = {}
        self._under_way: dict[int, CallNotes] = {}

    def __repr__(self) -> str:
        kept = self._calls()
        failed = sum(notes.error is not None for notes in kept)
        troubled = sum(notes.has_failed for notes in kept)
        which = f", {len(kept)} kept:" if len(kept) < self._total else ","
        calls = f"{self._total} {'call' if self._total == 1 else 'calls'}"
        return f"<Recording: {calls}{which} {troubled} with failed attempts, {failed} failed>"

    @property
    def total(self) -> int:
        """How many calls there were, those counted that are kept no more."""
        return self._total

    def charts(self) -> tuple[Chart, ...]:
        """A chart for each call that is kept, in the order in which they began."""
        from .rows import chart_of

        return tuple(sorted(map(chart_of, self._calls()), key=lambda chart: chart.began_at))

    def html(self, path: str | os.PathLike[str]) -> None:
        """Write the page: one HTML file that loads nothing.

        Raises:
            OSError: it cannot be written; what was there before stays.
        """
        from .report_page import report_page

        write_whole(path, report_page(self.charts(), self._total))

    def har(self, path: str | os.PathLike[str]) -> None:
        """Write a HAR (1.2), which the developer tools of a browser open.

        Raises:
            OSError: it cannot be written; what was there before stays.
        """
        from .har import har

        write_whole(path, json.dumps(har(self.charts()), indent=1) + "\n")

    def _calls(self) -> list[CallNotes]:
        # Copies, each of which is one step: other threads add calls meanwhile.
        known = self._newest.copy() | self._troubled.copy() | self._under_way.copy()
        return [known[number] for number in sorted(known)]

    def _take(self, event: Event) -> None:
        """Is the hook."""
        if not isinstance(event, CallEvent):
            return
        found = (notes.get(event.call) for notes in (self._under_way, self._newest, self._troubled))
        notes = next(filter(None, found), None)
        if notes is None:
            if not _begins(event):
                # It was forgotten, or had begun before the block.
                return
            notes = self._begin(event)
        notes.take(event)
        if notes.has_failed and event.call not in self._troubled:
            self._troubled[event.call] = notes
            keep_newest(self._troubled, MOST_CALLS)
        if notes.has_ended:
            self._under_way.pop(event.call, None)

    def _begin(self, event: CallEvent) -> CallNotes:
        notes = self._newest[event.call] = self._under_way[event.call] = CallNotes(event)
        with atomic.lock:
            self._total += 1
        if len(self._newest) > MOST_CALLS:
            keep_newest(self._newest, MOST_CALLS)
        if len(self._under_way) > MOST_UNDER_WAY:
            keep_newest(self._under_way, MOST_UNDER_WAY)
        return notes

    def _clear(self) -> None:
        self._total = 0
        self._newest = {}
        self._troubled = {}
        self._under_way = {}


def _begins(event: CallEvent) -> bool:
    """Whether this is the first event of a call: its first attempt, or its end by an error without one."""
    if isinstance(event, CallEnded):
        return event.error is not None
    return isinstance(event, AttemptStarted) and event.number == 1


def begin() -> Recording:
    """A recording of all calls from now on."""
    record = Recording()
    subscribe(record._take)
    return record


@contextmanager
def recording() -> Iterator[Recording]:
    """Record all calls of the process while a block runs, in whatever thread; blocks may overlap.

    >>> with resilient_transport.recording() as record:
    ...     session.get("https://api.example/")
    >>> record.html("waterfall.html")

    Calls that have begun in the block are recorded to their ends. A forked child begins with no calls.
    """
    record = begin()
    try:
        yield record
    finally:
        unsubscribe(record._take)


def _subscribed() -> Iterator[tuple[Any, Recording]]:
    for hook in subscribers():
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Recording):
            yield hook, owner


@in_child(Turn.MEMORY)
def _forget() -> None:
    """The calls of the parent are not the child's."""
    for _, record in _subscribed():
        record._clear()


@in_worker
def _end() -> None:
    """A process that was forked in a block, to work on something else, never comes to its end."""
    for hook, _ in _subscribed():
        unsubscribe(hook)
