"""What holds in one thread, and in no other.

No context variables. A thread may begin with a copy of the context in which another one is in the midst of a
call (from Python 3.14 on, `sys.flags.thread_inherit_context`), and would have it for ever. And before Python
3.12 the interpreter crashes where a finaliser sets one while it is being set.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Here(threading.local, Generic[T]):
    """A value of each thread, and of each greenlet; None until it sets one."""

    def __init__(self) -> None:
        # gevent and eventlet may patch when this class is there already, as in gunicorn's workers with
        # --preload. Then all greenlets of a thread share this object, but `threading.get_ident` is theirs.
        self._values: dict[int, T] = {}

    @property
    def value(self) -> T | None:
        """The value. Who sets another one puts this one back."""
        return self._values.get(threading.get_ident())

    @value.setter
    def value(self, value: T | None) -> None:
        if value is None:
            self._values.pop(threading.get_ident(), None)
        else:
            self._values[threading.get_ident()] = value
