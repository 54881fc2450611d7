"""What holds in one thread, and in no other.

No context variables. A thread may begin with a copy of the context in which another one is in the midst of a
call (from Python 3.14 on, `sys.flags.thread_inherit_context`), and would have it for ever. And before Python
3.12 the interpreter crashes where a finaliser sets one while it is being set.

gevent and eventlet make one for each greenlet of it, if they patch first.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Here(threading.local, Generic[T]):
    """A value of each thread; None until it sets one."""

    #: Who sets another one puts this one back.
    value: T | None = None
