"""From arguments to a subcommand and its exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .. import __version__
from .command import INTERRUPTED, Command
from .run.launcher import RUN, apart


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the arguments name, and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == [RUN.name]:
        # Nothing of the others is imported before the program; and how that ends is its own affair.
        ours, program = apart(given[1:])
        return RUN.run(parser([RUN]).parse_args([RUN.name, *ours], argparse.Namespace(program=program)))
    chosen = parser(commands()).parse_args(given)
    command: Command = chosen.command
    try:
        return command.run(chosen)
    except KeyboardInterrupt:
        return INTERRUPTED


def commands() -> tuple[Command, ...]:
    """Every subcommand, in the order of `--help`."""
    from .demo.subcommand import DEMO
    from .doctor.doctor import DOCTOR
    from .show_settings import SHOW

    return (RUN, DOCTOR, DEMO, SHOW)


def parser(offered: Sequence[Command]) -> argparse.ArgumentParser:
    """The parser with these subcommands."""
    top = argparse.ArgumentParser(
        prog="python -m resilient_transport",
        description="A transport adapter for requests that survives connection resets.",
    )
    top.add_argument("--version", action="version", version=f"resilient_transport {__version__}")
    choices = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in offered:
        own = choices.add_parser(command.name, help=command.summary, description=command.summary)
        own.set_defaults(command=command)
        command.configure(own)
    return top
