"""The program that starts are born from: it has imported everything and opened nothing.

Orders come on stdin, starts go to stdout, both as JSON, one a line. Each order is carried out in a forked
child, whose pools are as cold as those of a fresh interpreter, without the third of a second that one takes
to start. Where forking is not safe, there is one order, and this process is the fresh one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import traceback
from typing import Any, Final

from . import start
from .order import Order

#: Whether a process with system libraries in it may fork: on macOS it may crash when it asks for proxies.
CAN_FORK: Final = hasattr(os, "fork") and sys.platform != "darwin"
#: Seconds after which a start that hangs prints the stacks of its threads and ends.
_HANGS: Final = 30.0


def main(forks: bool) -> None:
    """Carry out orders until there are no more, or until nobody waits for what comes of them."""
    # An interrupt is the parent's to handle: it closes stdin when it is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin:
            order = Order.from_plain(json.loads(line))
            if forks:
                _in_a_child(order)
            else:
                _carry_out(order)
    # Without finalisation, which would complain of the pipe.
    os._exit(0)


def _carry_out(order: Order) -> None:
    faulthandler.dump_traceback_later(_HANGS, exit=True)
    _answer(start.run(order).to_plain())
    faulthandler.cancel_dump_traceback_later()


def _in_a_child(order: Order) -> None:
    child = os.fork()
    if child == 0:
        _live(order)
    _, status = os.waitpid(child, 0)
    if status:
        _answer({"died": os.waitstatus_to_exitcode(status)})


def _live(order: Order) -> None:
    """All that a child does; it never returns to its parent's loop."""
    status = 1
    try:
        _carry_out(order)
        status = 0
    except BrokenPipeError:
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _answer(plain: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(plain) + "\n")
    sys.stdout.flush()
