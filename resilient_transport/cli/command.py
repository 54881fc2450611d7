"""What a subcommand is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Final

from ..util.frozen import dataclass

#: Exit statuses: all is well; what was looked for was found wanting; it could not be tried at all.
OK: Final = 0
FAILED: Final = 1
UNUSABLE: Final = 2
#: Ended by Ctrl-C: 128 and the number of SIGINT, as shells have it.
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand; `main.commands` lists them all."""

    #: What the user types.
    name: str
    #: One line for `--help`.
    summary: str
    #: Adds its arguments to its parser.
    configure: Callable[[ArgumentParser], None]
    #: Does it, and returns the exit status.
    run: Callable[[Namespace], int]
