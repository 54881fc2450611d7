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

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: it would be said on standard error, which is what has failed."""


_HANDLER: Final = _ToStderr()


def write_to_stderr(level: str) -> None:
    """Write the log to standard error from a level on, for programs that set up no logging."""
    if level != "off":
        _HANDLER.setLevel(level.upper())


def is_heard(level: int) -> bool:
    """Whether a line of this level would be written anywhere."""
    return (_HANDLER.level <= level or log.isEnabledFor(level)) and not _here.is_writing


def say(level: int, message: str, *values: object, extra: Mapping[str, object] | None = None) -> None:
    """Write a line. What a handler, a filter or a stream of somebody's own raises breaks nothing.

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
        with suppress(Exception):
            if level >= _HANDLER.level:
                _write(log.makeRecord(log.name, level, __file__, 0, message, values, None, extra=extra))
    finally:
        _here.is_writing = False


def _write(record: logging.LogRecord) -> None:
    """Write a record to standard error, unless the program's own logging has written it there."""
    if not _program_shows(record):
        _HANDLER.handle(record)


def _program_shows(record: logging.LogRecord) -> bool:
    """Whether a handler of the program's own writes a record where its user sees it."""
    with suppress(Exception):
        found = log if log.isEnabledFor(record.levelno) and log.filter(record) else None
        while found is not None:
            if any(_takes(handler, record) and _shows(handler, record) for handler in found.handlers):
                return True
            found = found.parent if found.propagate else None
    return False


def _takes(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Whether a record is not below a handler's level. Who hands records on to it does not ask for that."""
    with suppress(Exception):
        return record.levelno >= handler.level
    return False


def _shows(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Whether a handler writes a record to standard output or standard error, if it gets it."""
    with suppress(Exception):
        # That of `logging.handlers.MemoryHandler`.
        target = getattr(handler, "target", None)
        writes = _shows(target, record) if isinstance(target, logging.Handler) else _is_at_console(handler)
        return writes and bool(handler.filter(record))
    return False


def _is_at_console(handler: Any) -> bool:
    """Whether a handler's stream is standard output or standard error, or the same file."""
    # rich's handlers have theirs in a console.
    stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
    if stream is None:
        return False
    if stream is sys.stdout or stream is sys.stderr:
        return True
    # Standard error may have been replaced since the handler was made.
    there = os.fstat(stream.fileno())
    return any(_is_same(there, descriptor) for descriptor in (1, 2))


def _is_same(there: os.stat_result, descriptor: int) -> bool:
    """Whether a descriptor is open, and has this file."""
    with suppress(OSError):
        return os.path.samestat(there, os.fstat(descriptor))
    return False
