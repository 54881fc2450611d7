"""From arguments to a subcommand and its exit status."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

from .. import __version__
from .command import INTERRUPTED, Command
from .demo.subcommand import DEMO
from .show_settings import SHOW

#: In the order of `--help`.
COMMANDS: Final[tuple[Command, ...]] = (DEMO, SHOW)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the arguments name, and return its exit status."""
    chosen = parser().parse_args(arguments)
    run: Command = chosen.command
    try:
        return run.run(chosen)
    except KeyboardInterrupt:
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """The parser with every subcommand."""
    top = argparse.ArgumentParser(
        prog="python -m resilient_transport",
        description="A transport adapter for requests that survives connection resets.",
    )
    top.add_argument("--version", action="version", version=f"resilient_transport {__version__}")
    choices = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        own = choices.add_parser(command.name, help=command.summary, description=command.summary)
        own.set_defaults(command=command)
        command.configure(own)
    return top
