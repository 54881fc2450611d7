"""What may be written to a stream: how wide, whether bold, whether a line may change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TextIO

#: Where nothing says how wide it is.
_WIDTH: Final = 80
#: Narrower is no terminal for people: some programs say 0 or 1 when they do not know.
_NARROWEST: Final = 20


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a stream can show."""

    #: How many columns it has.
    width: int = _WIDTH
    #: Whether it shows bold.
    bold: bool = False
    #: Whether a line may be written over.
    moves: bool = False

    def emphasis(self, text: str) -> str:
        """The text in bold, where there is bold."""
        return f"\x1b[1m{text}\x1b[0m" if self.bold else text


def terminal_of(stream: TextIO | None, environment: Mapping[str, str]) -> Terminal:
    """What this stream can show.

    Args:
        stream: a file, a pipe, a terminal, or None where there is none.
        environment: `TERM`, `NO_COLOR` (no-color.org) and `COLUMNS` are looked at.
    """
    if stream is None or stream.closed or not stream.isatty():
        return Terminal()
    dumb = is_dumb(environment)
    # Without TERM it is a console of Windows, which may not know of bold, but of a carriage return.
    bold = bool(environment.get("TERM")) and not dumb and not environment.get("NO_COLOR")
    return Terminal(width_of(stream, environment), bold, not dumb)


def is_dumb(environment: Mapping[str, str]) -> bool:
    """Whether a terminal takes no control sequence."""
    return environment.get("TERM", "").lower() in ("dumb", "unknown")


def width_of(stream: TextIO, environment: Mapping[str, str]) -> int:
    """The columns of a terminal.

    Args:
        stream: the terminal; as `shutil.get_terminal_size` has it, which asks stdout alone.
        environment: `COLUMNS` counts more.
    """
    told = environment.get("COLUMNS", "")
    if told.isascii() and told.isdigit() and int(told) > 0:
        return max(int(told), _NARROWEST)
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(columns, _NARROWEST) if columns else _WIDTH


def tell(stream: TextIO | None, text: str, end: str = "\n") -> OSError | None:
    """Write a text, whatever the stream can take, and return why that was not possible.

    If it was not, all that is written later goes nowhere: who does not listen, or has no room, ends nothing.

    Args:
        stream: None: there is none, and nothing is written.
        text: what is written.
        end: what follows it.
    """
    if stream is None:
        return None
    known = stream.encoding or "ascii"
    try:
        print(text.encode(known, "backslashreplace").decode(known), end=end, file=stream, flush=True)
    except OSError as error:
        with suppress(OSError, ValueError):
            # The interpreter would complain at its end of what is left in the buffer.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
