"""Let something happen at every line of some code, one line after the other: races and signals without luck.

`at_each_line` runs work as often as it has lines in the watched files, and does something else before another
line each time, in the same thread: what a signal handler or a finaliser does, or what another thread does
while this one waits.
"""

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import resilient_transport
from tests.timeouts import LONG_TIMEOUT

ROOT = Path(resilient_transport.__file__).parent


class _Step:
    """A tracer that acts before the line of a number, once."""

    def __init__(self, files: Iterable[str], number: int, act: Callable[[], object]) -> None:
        self._files = {str(ROOT / file) for file in files}
        self._left, self._act = number, act
        #: Where it has acted.
        self.at: str | None = None

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Take an event of the interpreter."""
        if frame.f_code.co_filename not in self._files:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0:
                self.at = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                self._act()
        return self


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Run work in a thread of its own; tell whether it has ended in time."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def at_each_line(
    files: Iterable[str],
    work: Callable[[], object],
    act: Callable[[], object],
    patience: float = LONG_TIMEOUT,
) -> Iterator[str]:
    """Run work anew for each of its lines in these files, and act before it; yield where, when it is over.

    Raises `TimeoutError` when work does not come to an end, and whatever work raises.
    """
    names, number = tuple(files), 0
    while True:
        number += 1
        step, raised = _Step(names, number, act), []

        def traced(step: _Step = step, raised: list[BaseException] = raised) -> None:
            sys.settrace(step)
            try:
                work()
            except BaseException as error:
                raised.append(error)
            finally:
                sys.settrace(None)

        if not within(patience, traced):
            raise TimeoutError(f"it hangs after something happened before {step.at}")
        if raised:
            raise AssertionError(f"it fails after something happened before {step.at}") from raised[0]
        if step.at is None:
            return
        yield step.at
