"""`--summary`: what is printed when a program that `run` has started ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from ...telemetry.stats import Stats, stats


class Speaker:
    """Which process this is, and what its lines on standard error begin with.

    Args:
        words: what `run` has told; with it, the number of the process that it has started.
    """

    def __init__(self, words: Collection[str]) -> None:
        # Where `exec` makes a new process of a program, that is a child of the one that told its number.
        self._began, own = os.getpid(), os.getppid() if os.name == "nt" else os.getpid()
        self._is_first = f"pid={own}" in words

    @property
    def is_fork(self) -> bool:
        """Whether this process was forked by the one in which this was made."""
        return os.getpid() != self._began

    @property
    def is_main(self) -> bool:
        """Whether it is the one that `run` has started."""
        return self._is_first and not self.is_fork

    @property
    def name(self) -> str:
        """What its lines begin with."""
        return "resilient_transport" if self.is_main else f"resilient_transport[{os.getpid()}]"


def printer(words: Collection[str]) -> Callable[[], None]:
    """What prints a summary to standard error when this process ends, if there is anything to tell.

    Args:
        words: what `run` has told.
    """
    speaker = Speaker(words)

    def print_summary() -> None:
        """Print the lines; whatever stands in the way, the program ends as it would have ended."""
        with suppress(Exception):
            figures = stats()
            # What a fork has mounted may be its parent's, which tells it.
            if figures or not speaker.is_fork:
                write("".join(f"{speaker.name}: {line}\n" for line in lines(figures)))

    return print_summary


def write(text: str) -> None:
    """Write in one piece, so that the lines of processes that end together do not mix.

    Past the buffer of `sys.stderr`: what cannot be written would stay there, and change the exit status.
    """
    with suppress(Exception):
        sys.stderr.flush()
    stream = sys.__stderr__
    try:
        descriptor = stream.fileno()  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        # It is closed, or none; a program may have put another in its place.
        sys.stderr.write(text)
    else:
        os.write(descriptor, text.encode(errors="backslashreplace"))


def lines(figures: Stats) -> Iterator[str]:
    """One line for each origin, and for what was left alone. What else is worth a line belongs here."""
    for origin, one in figures.items():
        failed = sum(one.failed_calls.values())
        yield f"{origin}: {one.calls} calls, {failed} failed, {one.retries} repeated, {one.recovered} saved"
    for name, count in figures.left_alone.items():
        yield f"left as they are, with their own retries: {count} x {name}"
