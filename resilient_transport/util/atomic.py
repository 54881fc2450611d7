"""The one lock for what is a single step: to add to a number, or to put one value in the place of another.

It is held for statements that call nothing. So no signal handler and no finaliser runs meanwhile, nobody
waits for longer than a step takes, and no lock is ever taken while it is held. It is reentrant all the same:
a tracer, or a Python that looks for signals more often, may run something in between that adds to a number.

Take it as `with atomic.lock:`, never by a name of your own: a forked child has a new one.
"""

from __future__ import annotations

import threading

from .fork import Turn, in_child

#: One for the process, since it is never held for long.
lock = threading.RLock()


@in_child(Turn.LOCKS)
def _renew() -> None:
    global lock
    lock = threading.RLock()
