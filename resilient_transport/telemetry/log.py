"""The log: one tree of loggers, silent until somebody listens.

Each record has the values of what it tells as attributes, whose names begin with `rt_`: no attribute of
`logging.LogRecord` does.

Lines for standard error (`RESILIENT_TRANSPORT_LOG`) pass by the logger, so that its level and its handlers
stay the program's own.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

log: Final = logging.getLogger("resilient_transport")
log.addHandler(logging.NullHandler())

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[Any]
else:
    # Before Python 3.11 it takes no type at run time.
    _StreamHandler = logging.StreamHandler

_LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
#: A level that nothing has.
_OFF: Final = logging.CRITICAL + 1


class _Here(threading.local):
    """What happens in this thread."""

    #: Whether a line is being written: what a handler of it sends is not written, or that would never end.
    is_writing = False


_here: Final = _Here()


class _ToStderr(_StreamHandler):
    """Writes to whatever standard error is at that time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self, _OFF)
        self.setFormatter(logging.Formatter(_LINE))

    @property
    def stream(self) -> Any:
        """Standard error, which tests and consoles replace."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        """Stay with standard error."""


_HANDLER: Final = _ToStderr()


def write_to_stderr(level: str) -> None:
    """Write the log to standard error from a level on, for programs that set up no logging."""
    if level != "off":
        _HANDLER.setLevel(level.upper())


def is_heard(level: int) -> bool:
    """Whether a line of this level would be written anywhere."""
    return (_HANDLER.level <= level or log.isEnabledFor(level)) and not _here.is_writing


def say(level: int, message: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
    """Write a line. A handler of somebody's own that raises breaks nothing.

    Args:
        level: one of `logging`'s.
        message, values: as `logging` has them.
        extra: what the record gets as attributes.
    """
    if not is_heard(level):
        return
    _here.is_writing = True
    try:
        with suppress(Exception):
            log.log(level, message, *values, extra=extra)
        if level >= _HANDLER.level and not _program_shows(level):
            record = log.makeRecord(log.name, level, __file__, 0, message, values, None, extra=extra)
            _HANDLER.handle(record)
    finally:
        _here.is_writing = False


def _program_shows(level: int) -> bool:
    """Whether a handler of the program's own writes lines of this level where its user sees them."""
    found = log if log.isEnabledFor(level) else None
    while found is not None:
        if any(level >= handler.level and _is_at_console(handler) for handler in found.handlers):
            return True
        found = found.parent if found.propagate else None
    return False


def _is_at_console(handler: Any) -> bool:
    """Whether a handler writes to standard output or standard error, or into the same file."""
    # rich's handlers have theirs in a console.
    stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
    if stream is None:
        return False
    ours = (sys.stdout, sys.stderr)
    if stream in ours:
        return True
    with suppress(Exception):
        # Standard error may have been replaced since the handler was made.
        there = os.fstat(stream.fileno())
        return any(os.path.samestat(there, os.fstat(descriptor)) for descriptor in (1, 2))
    return False
