"""A Python that has imported what programs need, and runs each of them in a fork of itself.

Run as `python -m tests.forking MODULE...`. It reads one JSON object a line: the text of a program, its
arguments, its environment, and the files for what it says. When the program has ended, it writes its status.
"""

import gc
import json
import os
import signal
import sys
from importlib import import_module

from tests.timeouts import HANG_TIMEOUT


def order() -> dict:
    """Fork for each order, and return it in the fork; this process ends when there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return json.loads(line)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def become(text: str, arguments: list[str], environment: dict[str, str], files: list[str]) -> str:
    """Make this process look like one of its own, and return its program."""
    signal.alarm(int(HANG_TIMEOUT))
    for descriptor, file in enumerate([os.devnull, *files]):
        opened = os.open(file, os.O_RDWR | os.O_APPEND)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = ["-c", *arguments]
    return text


if __name__ == "__main__":
    for name in sys.argv[1:]:
        import_module(name)
    # Else each fork would look through all of that when it ends.
    gc.freeze()
    exec(compile(become(**order()), "<string>", "exec"), {"__name__": "__main__"})
