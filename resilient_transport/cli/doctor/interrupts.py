"""Ctrl-C and SIGTERM while an examination runs: the first ends it with what it has, the second ends all."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final

from ..command import INTERRUPTED
from .examination import INTERRUPTED as ENDS
from .examination import News

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Turns signals into news, for as long as it is entered.

    A handler raises nothing: it could strike where something is half done. It only puts into a queue, which
    a handler may do at any time.

    Args:
        last: is called before a second signal ends the process.
    """

    def __init__(self, last: Callable[[], None]) -> None:
        #: What `examine` waits for.
        self.news: News = SimpleQueue()
        self._last = last
        self._is_told = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        """Handle them; only the main thread may, elsewhere somebody else does."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # What ignores them, as `nohup` and `&` of a shell do, goes on ignoring them.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        """Put back who handled them before."""
        for number, handler in self._before.items():
            with suppress(TypeError):
                # None stands for a handler that is none of Python's.
                signal.signal(number, handler)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if self._is_told:
            self._last()
            os._exit(INTERRUPTED)
        self._is_told = True
        self.news.put(ENDS)
