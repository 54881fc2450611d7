"""A place in the queue of a gate.

Knows nothing of sockets, TLS or urllib3.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .caller import Caller
from .permit import Permit

T = TypeVar("T")
Suits = Callable[[T], bool]


class Waiter(Generic[T]):
    """A place in the queue; `wait` returns what the gate granted, or None when time ran out.

    Args:
        suits: whether an idle item will do.
        caller: the call that waits; None: it shares nothing with others.
        began: when its attempt began, on the gate's clock; None: when it comes to the gate.
    """

    __slots__ = ("_bell", "began", "caller", "granted", "is_paced", "suits")

    def __init__(self, suits: Suits[T], caller: Caller | None = None, began: float | None = None) -> None:
        self.suits = suits
        self.caller = caller
        self.began = began
        #: Whether the pauses of a cold start hold it back. Set by the gate.
        self.is_paced = False
        #: An item, leave to make one, or another caller's failure, which is this one's, too. Set by the gate,
        #: once, under its lock; read by the waiter.
        self.granted: T | Permit | Any | None = None
        #: Is released when something was granted. Not an Event: a signal handler may grant something to its
        #: own thread, in the middle of `Event.wait`, which holds a lock that `Event.set` takes.
        self._bell = threading.Lock()
        self._bell.acquire()

    def grant(self, what: T | Permit | Any) -> None:
        """Called by the gate: here is what was waited for."""
        self.granted = what
        if self._bell.locked():
            self._bell.release()

    def wait(self, timeout: float | None) -> T | Permit | Any | None:
        """Wait at most `timeout` seconds; None: for ever."""
        if self.granted is None:
            self._bell.acquire(timeout=-1 if timeout is None else max(0.0, timeout))
        return self.granted
