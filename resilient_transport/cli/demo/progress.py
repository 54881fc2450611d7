"""How far the demo is: a line that changes where a terminal can do that, else a line for each scenario."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from time import monotonic
from typing import TextIO

from ..interrupt import on_interrupt
from ..terminal import Terminal, tell

#: Called after each start.
Tick = Callable[[], None]


@contextmanager
def shown(title: str, total: int, stream: TextIO | None, terminal: Terminal) -> Iterator[Tick]:
    """Show how many starts of a scenario are done.

    Args:
        title: the scenario's.
        total: how many starts there will be.
        stream: where to; None: nowhere.
        terminal: what can be shown there.
    """
    if stream is None:
        yield lambda: None
        return
    with (_moving if terminal.moves else _line)(title, total, stream, terminal) as tick:
        yield tick


@contextmanager
def _moving(title: str, total: int, stream: TextIO, terminal: Terminal) -> Iterator[Tick]:
    # No control code but the carriage return. The last column stays free, since it may wrap.
    room = terminal.width - 1
    done = count(1)

    def show(number: int) -> None:
        tell(stream, f"\r{f'{title}: {number} of {total} starts'[:room]}", end="")

    def leave() -> None:
        # Whatever comes next, such as the shell's prompt, begins on a line of its own.
        os.write(stream.fileno(), b"\n")

    with on_interrupt(leave):
        show(0)
        try:
            yield lambda: show(next(done))
        finally:
            tell(stream, f"\r{' ' * room}\r", end="")


@contextmanager
def _line(title: str, total: int, stream: TextIO, _terminal: Terminal) -> Iterator[Tick]:
    began = monotonic()
    yield lambda: None
    tell(stream, f"{title}: {total} starts, {monotonic() - began:.1f} s")
