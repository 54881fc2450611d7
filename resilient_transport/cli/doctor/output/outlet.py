"""Where lines are written to: a terminal by `rich`, if it is there and may; otherwise plainly.

A reader who has left, as `head` does, ends nothing: the exit status and the files are for somebody else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TextIO

from ...terminal import is_dumb, width_of
from .layout import Line, Look

if TYPE_CHECKING:
    from rich.status import Status

_SHOW_CURSOR: Final = b"\x1b[?25h"


def look_of(stream: TextIO, environment: Mapping[str, str]) -> Look:
    """What a stream can show.

    Args:
        stream: a terminal, a pipe, a file.
        environment: whose TERM and COLUMNS count.
    """
    encoding = getattr(stream, "encoding", None) or "ascii"
    if not stream.isatty():
        return Look(None, encoding)
    return Look(width_of(stream, environment), encoding, is_dumb(environment))


class Outlet:
    """Writes lines, and shows what is being done.

    Args:
        stream: None: it is closed, and nothing is written.
        environment: whose TERM, COLUMNS and NO_COLOR count.
    """

    def __init__(self, stream: TextIO | None, environment: Mapping[str, str]) -> None:
        self._stream = stream
        self.look = Look() if stream is None else look_of(stream, environment)
        #: Why nothing can be written any more; None: it can.
        self.trouble: OSError | None = None
        self._console: Any = None
        self._status: Status | None = None
        is_plain = self.look.is_dumb or self.look.width is None or bool(environment.get("NO_COLOR"))
        if not is_plain and find_spec("rich") is not None:
            from rich.console import Console

            self._console = Console(file=stream, highlight=False, markup=False, emoji=False)

    def write(self, lines: Iterable[Line]) -> None:
        """Write lines; each is one line, however long it is."""
        self._try(lambda: self._draw(lines) if self._console else self._plain(lines))

    def text(self, text: str) -> None:
        """Write a text as it is, and the end of a line."""
        self._try(lambda: print(text, file=self._stream, flush=True))

    def doing(self, what: str) -> None:
        """Show what is being done until the next lines come; only a terminal does, by `rich`."""
        if self._console is not None:
            self._try(lambda: self._spin(what))

    def done(self) -> None:
        """Show nothing any more of what is being done."""
        status, self._status = self._status, None
        if status is not None:
            self._try(status.stop)

    def restore(self) -> None:
        """Give the terminal its cursor back, from a signal handler, too."""
        if self._status is not None and self._stream is not None:
            with suppress(OSError, ValueError):
                os.write(self._stream.fileno(), b"\r\x1b[K" + _SHOW_CURSOR)

    def _plain(self, lines: Iterable[Line]) -> None:
        for line in lines:
            print("".join(text for text, _ in line).rstrip(), file=self._stream, flush=True)

    def _draw(self, lines: Iterable[Line]) -> None:
        from rich.text import Text

        for line in lines:
            # As text, which has no markup; and wrapped by nobody, so that it can be copied.
            drawn = Text.assemble(*((text, str(style)) for text, style in line), end="")
            self._console.print(drawn, soft_wrap=True)

    def _spin(self, what: str) -> None:
        from rich.text import Text

        told = Text(self.look.shown(what), style="dim")
        if self._status is not None:
            self._status.update(told)
            return
        status = self._console.status(told, spinner="line")
        status.start()
        self._status = status

    def _try(self, act: Any) -> None:
        """Do it, unless nothing can be written any more."""
        if self._stream is None or self.trouble is not None:
            return
        try:
            act()
        except OSError as error:
            self.trouble = error
            _forget(self._stream)


def _forget(stream: TextIO) -> None:
    """Have what is in a stream's buffer go nowhere, of which Python would complain when it ends."""
    with suppress(OSError, ValueError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
