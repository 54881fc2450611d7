"""How a command ends when somebody presses Ctrl-C: at once, with 130, and without a word.

Imports hardly anything, because it has to be there before all that takes time to import.

An exception would not do: it may strike in a finaliser, in an import or in a block that cleans up, where
Python prints it or goes on. So the handler does all there is to do, and the process ends in it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

#: Ctrl-C, an end that somebody asks for, and a terminal that is closed.
SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
#: What is to be done before the end; the newest first.
_duties: list[Callable[[], object]] = []


def end_quietly() -> None:
    """Let these signals end this process quietly from now on; those that it ignores it goes on to ignore.

    For a process that is a command: nobody's `finally` is run.
    """
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)


@contextmanager
def on_interrupt(duty: Callable[[], object]) -> Iterator[None]:
    """Have this done, if the process ends by such a signal within the block.

    Args:
        duty: waits for nothing and takes no lock, since it runs in the middle of anything; what it raises is
            passed over.
    """
    _duties.append(duty)
    try:
        yield
    finally:
        _duties.remove(duty)


def _end(number: int, _frame: FrameType | None) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    for duty in reversed(_duties):
        try:
            duty()
        except Exception:  # noqa: S112
            continue
    os._exit(128 + number)
