"""The thread that closes idle connections which nobody will use: too old, idle too long, or dead.

It exists only while something is idle. A fork ends it before Python counts the threads (3.12 and later warn
of more than one), and the next connection that becomes idle starts it anew.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic, sleep
from typing import Any, Final

#: Seconds between two looks.
LOOK_EVERY: Final = 2.0
#: Seconds that a fork waits for the end of the thread, at the most.
_PATIENCE: Final = 1.0


class Reaper:
    """Looks every two seconds, as long as there is something to look at.

    Args:
        look: closes what nobody will use; whether anything is idle still.
        lock: under it a thread begins and ends; one that its own thread may take again.
    """

    def __init__(self, look: Callable[[], bool], lock: AbstractContextManager[Any]) -> None:
        self._look = look
        self._lock = lock
        self._thread: threading.Thread | None = None
        #: Tells the thread to end.
        self._stop = threading.Event()
        #: When the next call has to look, since no thread can be started; None: no call has to.
        self.due: float | None = None
        self._is_forking = False

    def wake(self) -> None:
        """Something is idle: see to it that somebody looks."""
        if self._thread is not None or self._is_forking:
            return
        with self._lock:
            if self._thread is None:
                self._start()

    def look_if_due(self) -> None:
        """Do the thread's work where there is none; asked for by each call then."""
        if self.due is not None and monotonic() >= self.due:
            self.due = monotonic() + LOOK_EVERY if self._look() else None

    def stop(self) -> None:
        """Before a fork: end the thread, and wait until the system has forgotten it."""
        self._is_forking = True
        thread, self._thread = self._thread, None
        if thread is None or thread is threading.current_thread():
            return
        self._stop.set()
        thread.join(_PATIENCE)
        task = f"/proc/self/task/{thread.native_id}"
        until = monotonic() + _PATIENCE
        while os.path.exists(task) and monotonic() < until:
            # Before Python 3.13 `join` returns a moment before the thread is gone.
            sleep(0.0005)

    def resume(self) -> None:
        """After a fork, in the parent: the next connection that becomes idle starts a thread."""
        self._is_forking = False

    def _start(self) -> None:
        stop = threading.Event()
        thread = threading.Thread(
            target=self._run, args=(stop,), name="resilient_transport-reaper", daemon=True
        )
        self._thread, self._stop = thread, stop
        try:
            thread.start()
        except RuntimeError:
            # No thread can be started, here or at the end of the interpreter.
            self._thread = None
            self.due = self.due or monotonic() + LOOK_EVERY

    def _run(self, stop: threading.Event) -> None:
        mine = threading.current_thread()
        while not stop.wait(LOOK_EVERY):
            if not self._look() and self._has_ended(mine):
                return

    def _has_ended(self, mine: threading.Thread) -> bool:
        """Whether the thread may end: nothing became idle while it found that out."""
        with self._lock:
            if self._thread is mine:
                # First: who adds a connection after this starts another thread.
                self._thread = None
        if not self._look():
            return True
        with self._lock:
            if self._thread is None and not self._is_forking:
                self._thread = mine
                return False
        return True
