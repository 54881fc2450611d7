"""`demo`: arguments in, a table and an exit status out."""

from __future__ import annotations

import argparse
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic
from typing import Any, Final

from ...testing import Authority
from ..command import FAILED, OK, UNUSABLE, Command
from . import table
from .lane import Lane, NotTrustworthy
from .progress import has_rich, shown
from .scenarios import SCENARIOS, Scenario
from .transports import TRANSPORTS
from .verdict import Cell, broken_promises

#: Enough to tell the three apart, and done in half a minute.
ROUNDS: Final = 25
_MISSING: Final = (
    "the demo needs a server that fails, and trustme for its certificates: "
    "run pip install '.[cli,testing]' in a clone of the project"
)
#: The width of the table, when no terminal says how much room there is.
_WIDTH: Final = 120


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `demo`."""
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument(
        "--rounds", type=_positive, default=ROUNDS, help="starts of each transport (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the server's random draws (%(default)s)")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"only this one: {', '.join(names)}",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: Namespace) -> int:
    """Play the scenarios, print what came of them, and say whether the adapter kept its promise."""
    began = monotonic()
    chosen = [each for each in SCENARIOS if not arguments.scenario or each.name in arguments.scenario]
    try:
        authority = Authority()
    except ImportError:
        return _unusable(_MISSING)
    try:
        cells = play(chosen, arguments.rounds, arguments.seed, authority)
    except NotTrustworthy as error:
        return _unusable(str(error))
    promises = broken_promises(cells)
    seconds = monotonic() - began
    if arguments.json:
        print(json.dumps(summary(cells, promises, seconds, arguments.seed), indent=2))
    else:
        _print_table(cells)
        print()
        print(table.closing(promises, seconds))
    return FAILED if promises else OK


def play(scenarios: Sequence[Scenario], rounds: int, seed: int, authority: Authority) -> list[Cell]:
    """Play each scenario with every transport, these side by side.

    Raises:
        NotTrustworthy: calls failed although nothing was made to fail.
    """
    cells: list[Cell] = []
    with ExitStack() as stack:
        lanes = [stack.enter_context(Lane(transport, authority)) for transport in TRANSPORTS]
        threads = stack.enter_context(ThreadPoolExecutor(len(lanes)))
        for lane in lanes:
            # However this ends: the threads are waited for before the lanes are closed.
            stack.callback(lane.stop)
        for scenario in scenarios:
            digest = lanes[0].reference(scenario)
            with shown(scenario.title, rounds * len(lanes)) as tick:
                jobs = [threads.submit(lane.play, scenario, rounds, seed, digest, tick) for lane in lanes]
                cells += [job.result() for job in jobs]
    return cells


def summary(cells: Sequence[Cell], promises: Sequence[str], seconds: float, seed: int) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "ok": not promises,
        "broken_promises": list(promises),
        "seed": seed,
        "seconds": round(seconds, 1),
        "cells": [cell.to_plain() for cell in cells],
    }


def _print_table(cells: Sequence[Cell]) -> None:
    if not has_rich():
        print(table.plain(cells))
        return
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(table.rich_table(cells))


def _unusable(why: str) -> int:
    print(f"demo: {why}", file=sys.stderr)
    return UNUSABLE


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"1 or more, not {number}")
    return number


DEMO: Final = Command(
    "demo", "replay a report of resets at start: stock requests, Retry(3), this adapter", configure, run
)
