"""The log: one tree of loggers, silent until somebody listens."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

log: Final = logging.getLogger("resilient_transport")
log.addHandler(logging.NullHandler())

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[Any]
else:
    # Before Python 3.11 it takes no type at run time.
    _StreamHandler = logging.StreamHandler

_LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _ToStderr(_StreamHandler):
    """Writes to whatever standard error is at that time."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
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
    if level == "off":
        return
    _HANDLER.setLevel(level.upper())
    log.addHandler(_HANDLER)
    # What the program's own handlers get, the root's included, is not lessened by it.
    log.setLevel(min(log.getEffectiveLevel(), _HANDLER.level))
