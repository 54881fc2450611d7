"""`demo`: arguments in, a verdict, a table and an exit status out."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final

from ...settings.environment import clean_environment
from ...util.whole_file import probe, write_whole
from ..command import FAILED, OK, UNUSABLE, Command
from ..terminal import tell, terminal_of
from .cell import Cell
from .lane import NotTrustworthy
from .progress import shown
from .scenarios import SCENARIOS, Scenario
from .side_by_side import play
from .table import WIDTH, report
from .transports import TRANSPORTS
from .verdict import Verdict, verdict

#: Enough to tell the three apart, and done in ten seconds on two idle cores.
ROUNDS: Final = 10
_ABOUT: Final = (
    "A program starts, and sends four requests at once (2 GET, 2 POST) over mutual TLS. The server fails on "
    "purpose. Who loses requests: stock requests, requests with Retry(3), or requests with this package?"
)
_MISSING: Final = (
    "the demo needs a server that fails, and trustme for its certificates: "
    "run pip install '.[demo]' in a clone of the project"
)
_STATUS: Final = (
    "The exit status is 0 if this package lost no request that it may send again and ran no POST twice, 1 if "
    "it did, 2 if the demo cannot run, 130 after Ctrl-C."
)
_JSON: Final = """\
--json prints one object: "ok" (whether the exit status is 0), "verdict" (sentences), "broken_promises" (what
this package did that it never may), "seed", "rounds", "seconds", and "cells", one for each scenario and
transport: "requests", "lost" and "lost_needlessly" (lost though it was safe to send them again) by method,
"lost_posts_that_had_run", "posts_run_twice", "starts", "starts_failed", "connections", "median_seconds" (of
starts that lost nothing; null if there are none) and "errors" (how often each)."""


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `demo`."""
    names = [scenario.name for scenario in SCENARIOS]
    parser.description = _ABOUT
    parser.epilog = f"{_STATUS} {_JSON}"
    parser.add_argument(
        "--rounds",
        type=_positive,
        default=ROUNDS,
        metavar="N",
        help="starts with each transport in each scenario (%(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of the server's random draws (%(default)s)"
    )
    parser.add_argument(
        "--scenario",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"only this one; may be given again: {', '.join(names)}",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="write a page, too, with a start of stock requests beside one of this package",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the verdict and the table")


def run(arguments: Namespace) -> int:
    """Play the scenarios, print what came of them, and say whether the adapter kept its promise."""
    began = monotonic()
    chosen = [each for each in SCENARIOS if not arguments.scenario or each.name in arguments.scenario]
    if arguments.html is not None and (why := _unwritable(arguments.html)):
        return _unusable(why)
    try:
        cells = _played(chosen, arguments)
    except ImportError:
        return _unusable(_MISSING)
    except (NotTrustworthy, OSError, RuntimeError) as error:
        # No room for a file or a process, or a server that has ended.
        return _unusable(str(error))
    said = verdict(cells)
    seconds = monotonic() - began
    if arguments.json:
        text = json.dumps(summary(cells, said, seconds, arguments), indent=2)
    else:
        terminal = terminal_of(sys.stdout, clean_environment())
        text = report(cells, said, seconds, terminal.width, terminal.emphasis)
    trouble = tell(sys.stdout, text)
    if arguments.html and (why := _written(arguments.html, cells, said)):
        return _unusable(why)
    if trouble is not None and not isinstance(trouble, BrokenPipeError):
        return _unusable(f"the result cannot be written: {trouble.strerror}")
    return OK if said.ok else FAILED


def summary(cells: Sequence[Cell], said: Verdict, seconds: float, arguments: Namespace) -> dict[str, Any]:
    """What `--json` prints; `--help` says what is in it."""
    return {
        "ok": said.ok,
        "verdict": list(said.sentences),
        "broken_promises": list(said.broken),
        "seed": arguments.seed,
        "rounds": arguments.rounds,
        "seconds": round(seconds, 1),
        "cells": [cell.to_plain() for cell in cells],
    }


def _played(scenarios: Sequence[Scenario], arguments: Namespace) -> list[Cell]:
    """Play them, and show on stderr how far that is."""
    rounds: int = arguments.rounds
    stream = sys.stderr
    terminal = terminal_of(stream, clean_environment())
    _say(textwrap.fill(_ABOUT, min(terminal.width, WIDTH)))
    cells = play(
        scenarios,
        rounds,
        arguments.seed,
        lambda scenario: shown(scenario.name, rounds * len(TRANSPORTS), stream, terminal),
        in_detail=bool(arguments.html),
    )
    _say("")
    return cells


def _unwritable(path: str) -> str | None:
    """Why no page can be written there, if that is known before anything is played."""
    try:
        probe(path)
    except (OSError, ValueError) as error:
        return f"--html {path}: {getattr(error, 'strerror', None) or error}"
    return None


def _written(path: str, cells: Sequence[Cell], said: Verdict) -> str | None:
    """Write the page, and return why not, if it cannot be written."""
    from .comparison import comparison

    try:
        write_whole(path, comparison(cells, said))
    except OSError as error:
        return f"--html {path}: {error.strerror}"
    _say(f"The page is in {path}")
    return None


def _say(text: str) -> None:
    """Say something that is not the result."""
    tell(sys.stderr, text)


def _unusable(why: str) -> int:
    _say(f"demo: {why}")
    return UNUSABLE


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"1 or more, not {number}")
    return number


DEMO: Final = Command(
    "demo", "see who loses requests on resets: stock requests, Retry(3), or this package", configure, run
)
