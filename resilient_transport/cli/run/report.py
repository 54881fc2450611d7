"""`--summary`: what is printed when a program that `run` has started ends."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress

from ...telemetry.stats import Stats, stats


def print_at_exit(words: Collection[str]) -> None:
    """Print a summary to standard error when this process ends, if there is anything to tell.

    Args:
        words: what `run` has told; with it, the number of the process that it has started.
    """
    # Where `exec` makes a new process of a program, that is a child of the one that told its number.
    own = os.getppid() if os.name == "nt" else os.getpid()
    main = os.getpid() if f"pid={own}" in words else None
    atexit.register(_print, main)


def _print(main: int | None) -> None:
    """Print the lines; whatever stands in the way, the program ends as it would have ended."""
    name = "resilient_transport" if os.getpid() == main else f"resilient_transport[{os.getpid()}]"
    with suppress(Exception):
        # In one piece, so that the lines of processes that end together do not mix.
        sys.stderr.write("".join(f"{name}: {line}\n" for line in lines(stats())))
        sys.stderr.flush()


def lines(figures: Stats) -> Iterator[str]:
    """One line for each origin, and for what was left alone. What else is worth a line belongs here."""
    for origin, one in figures.items():
        failed = sum(one.failed_calls.values())
        yield f"{origin}: {one.calls} calls, {failed} failed, {one.retries} repeated, {one.recovered} saved"
    for name, count in figures.left_alone.items():
        yield f"left as they are, with their own retries: {count} x {name}"
