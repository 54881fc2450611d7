"""The thread that closes idle connections which nobody will use: too old, idle too long, or dead.

It exists only while something is idle. A fork ends it before Python counts the threads (3.12 and later warn
of more than one), and it starts anew afterwards, if anything is idle.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import sleep
from typing import Final

from ..util.clock import monotonic
from ..util.inbox import Inbox

#: Seconds between two looks.
LOOK_EVERY: Final = 2.0
#: Seconds that a fork waits for the end of the thread, at the most.
_PATIENCE: Final = 1.0


class Reaper:
    """Looks every two seconds, as long as there is something to look at.

    Args:
        look: closes what nobody will use; whether anything is idle still.
    """

    def __init__(self, look: Callable[[], bool]) -> None:
        self._look = look
        self._thread: threading.Thread | None = None
        #: Tells the thread to end.
        self._stop = threading.Event()
        #: When the next call has to look, since no thread can be started; None: no call has to.
        self.due: float | None = None
        self._is_forking = False

    def wake(self) -> None:
        """Something is idle: see to it that somebody looks.

        Not in the middle of this thread's own bookkeeping: a new thread may want the lock before it runs.
        """
        if self._thread is None and not self._is_forking and not Inbox.is_mine():
            self._start()

    def look_if_due(self) -> None:
        """Do the thread's work where there is none; asked for by each call then."""
        due = self.due
        if due is not None and monotonic() >= due:
            self.due = monotonic() + LOOK_EVERY if self._look() else None

    def stop(self) -> None:
        """Before a fork: end the thread, and wait until the system has forgotten it."""
        self._is_forking = True
        thread, self._thread = self._thread, None
        if thread is None or thread is threading.current_thread():
            return
        self._stop.set()
        with suppress(RuntimeError):
            # It may not have been started yet: then it ends when it is.
            thread.join(_PATIENCE)
        if thread.native_id == threading.get_native_id():
            # A greenlet's.
            return
        task = f"/proc/self/task/{thread.native_id}"
        until = monotonic() + _PATIENCE
        while os.path.exists(task) and monotonic() < until:
            # Before Python 3.13 `join` returns a moment before the thread is gone.
            sleep(0.0005)

    def resume(self, has_idle: bool = False) -> None:
        """After a fork, in the parent: go on, if something is idle.

        From Python 3.14 on, threads are counted only after this; there the next call looks.
        """
        self._is_forking = False
        if has_idle and sys.version_info < (3, 14):
            self.wake()
        elif has_idle:
            self.due = monotonic()

    def _start(self) -> None:
        stop = threading.Event()
        thread = threading.Thread(
            target=self._run, args=(stop,), name="resilient_transport-reaper", daemon=True
        )
        try:
            if self._claim(thread, stop):
                thread.start()
        except RuntimeError:
            # No thread can be started, here or at the end of the interpreter.
            self.due = self.due or monotonic() + LOOK_EVERY
        finally:
            if self._thread is thread and not thread.is_alive():
                self._thread = None

    def _claim(self, thread: threading.Thread, stop: threading.Event) -> bool:
        """Whether this thread is the one; another may have been faster."""
        with Inbox.lock:
            if self._thread is not None or self._is_forking:
                return False
            self._thread, self._stop = thread, stop
            return True

    def _run(self, stop: threading.Event) -> None:
        mine = threading.current_thread()
        try:
            while not stop.wait(LOOK_EVERY):
                if not self._look() and self._has_ended(mine):
                    return
        finally:
            if self._thread is mine:
                self._thread = None

    def _has_ended(self, mine: threading.Thread) -> bool:
        """Whether the thread may end: nothing became idle while it found that out."""
        with Inbox.lock:
            if self._thread is mine:
                # First: who adds a connection after this starts another thread.
                self._thread = None
        if not self._look():
            return True
        with Inbox.lock:
            if self._thread is None and not self._is_forking:
                self._thread = mine
                return False
        return True
