"""`doctor`: its arguments, what it says before it begins, and its exit status."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from typing import Final, TextIO, TypeVar

from urllib3.exceptions import InsecureRequestWarning

from ...settings.environment import of_terminal
from ..command import FAILED, INTERRUPTED, OK, UNUSABLE, Command
from .doctor_options import Options
from .examination import Report, examine
from .finding import Level
from .interrupts import Interrupts
from .output.files import Unwritable, Wanted, wanted_files
from .output.machine import as_json
from .output.outlet import Outlet
from .output.printable import printable
from .output.printer import Printer
from .sections import SECTIONS
from .target import UnusableTarget
from .visit import Visit

T = TypeVar("T")

#: The most cold calls at once, each of which is made in three ways; the most pages for `--sizes`; and the
#: longest hold, in seconds.
MOST_AT_ONCE: Final = 16
MOST_PAGES: Final = 6
LONGEST_HOLD: Final = 600.0


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `doctor`."""
    parser.description = (
        "Say what is wrong between this machine and a server. At most 200 requests, GET and HEAD only. "
        "Exit status: 0 nothing is wrong, or only warnings; 1 something does not work; 2 wrong arguments; "
        "130 interrupted."
    )
    parser.add_argument("url", nargs="?", help="the page, such as https://host/path")
    asked = parser.add_argument_group("how the page is asked for")
    asked.add_argument("--cert", metavar="FILE", help="the client certificate, in PEM")
    asked.add_argument("--key", metavar="FILE", help="its key, where that is in another file")
    asked.add_argument("--ca", metavar="PATH", help="trusted certificates: a file or a folder")
    asked.add_argument("--proxy", metavar="URL", help="a proxy; an empty value: none")
    asked.add_argument(
        "--session", metavar="MODULE:FACTORY", help="what makes your program's requests.Session"
    )
    asked.add_argument("--timeout", metavar="SECONDS", type=_seconds, default=5.0, help="for each step (5)")
    wanted = parser.add_argument_group("what is done")
    wanted.add_argument(
        "--burst", metavar="N", type=_count(MOST_AT_ONCE), nargs="?", const=4, default=0,
        help="make N calls at once (4), each on a new connection",
    )  # fmt: skip
    wanted.add_argument(
        "--sizes", metavar="URL", nargs="+", default=[], help="pages of several sizes of the same server"
    )
    wanted.add_argument(
        "--hold",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="hold a connection idle for so long, then use it",
    )
    wanted.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="a section or check, such as tls"
    )
    wanted.add_argument(
        "--skip", metavar="NAME", action="append", default=[], help="leave a section or check out"
    )
    wanted.add_argument("--list", action="store_true", help="print every section and check, and do nothing")
    wanted.add_argument("--yes", action="store_true", help="do not ask before --burst and --sizes")
    told = parser.add_argument_group("what is printed")
    told.add_argument("-o", "--output", choices=("table", "json"), default="table", help="(table)")
    told.add_argument("--json", dest="output", action="store_const", const="json", help="the same as -o json")
    told.add_argument("--html", metavar="FILE", help="write a page with all findings and the waterfall")
    told.add_argument("--har", metavar="FILE", help="write a HAR 1.2 file, for developer tools of browsers")
    told.add_argument(
        "--fail-on",
        choices=("failure", "warning"),
        default="failure",
        help="what gives exit status 1 (failure)",
    )


def run(arguments: Namespace) -> int:
    """Examine the page, and return the exit status."""
    machine = Outlet(sys.stdout, of_terminal()) if arguments.output == "json" else None
    outlet = Outlet(sys.stderr if machine else sys.stdout, of_terminal())
    if arguments.list:
        Printer(outlet).catalogue(SECTIONS)
        return _written(OK, outlet)
    # What the program's own factory prints is none of ours.
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureRequestWarning)
        try:
            files = wanted_files(arguments.html, arguments.har)
            visit = Visit(_options(arguments))
            for file in files:
                file.probe()
        except (UnusableTarget, Unwritable) as error:
            return _refuse(error)
        return _examined(visit, arguments, outlet, machine, files)


def _examined(
    visit: Visit, arguments: Namespace, outlet: Outlet, machine: Outlet | None, files: Sequence[Wanted]
) -> int:
    """Say what will be done, do it, and tell what came of it wherever that was asked for."""
    printer = Printer(outlet)
    printer.announce(visit, SECTIONS)
    if not arguments.yes and not _agreed(visit.options):
        visit.options = replace(visit.options, burst=0, sizes=())
    visit.progress = outlet.doing
    with Interrupts(outlet.restore) as interrupts:
        report = examine(visit, SECTIONS, printer, interrupts.news)
        printer.conclude(report)
        status = _written(_status(report, arguments.fail_on), outlet)
        if machine is not None:
            machine.text(as_json(report))
            status = _written(status, machine)
        return _left(report, _with_files(status, report, files))


def _refuse(why: Exception) -> int:
    print(f"doctor: {printable(str(why))}", file=sys.stderr)
    return UNUSABLE


def _status(report: Report, fail_on: str) -> int:
    if report.is_interrupted:
        return INTERRUPTED
    bad = (Level.FAIL, Level.WARN) if fail_on == "warning" else (Level.FAIL,)
    return FAILED if report.has(*bad) else OK


def _with_files(status: int, report: Report, files: Sequence[Wanted]) -> int:
    """Write the files, and return the exit status: if one cannot be written, it is not 0."""
    for file in files:
        try:
            file.write(report)
        except Unwritable as error:
            status = status or _refuse(error)
    return status


def _written(status: int, outlet: Outlet) -> int:
    """The exit status: not 0 if what was found could not be printed; that a reader has left is no error."""
    trouble = outlet.trouble
    if trouble is None or isinstance(trouble, BrokenPipeError):
        return status
    return status or _refuse(trouble)


def _left(report: Report, status: int) -> int:
    """Return the exit status; or end with it at once, if a thread still waits for the network.

    Python would wait for the threads of a pool before it ends.
    """
    if report.is_left_behind:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(status)
    return status


def _options(arguments: Namespace) -> Options:
    if not arguments.url:
        raise UnusableTarget("name a page, such as https://host/path")
    if arguments.key and not arguments.cert:
        raise UnusableTarget("--key belongs to a --cert")
    if len(arguments.sizes) > MOST_PAGES:
        raise UnusableTarget(f"--sizes takes at most {MOST_PAGES} pages")
    if arguments.hold > LONGEST_HOLD:
        raise UnusableTarget(f"--hold takes at most {LONGEST_HOLD:g} seconds")
    _refuse_unknown([*arguments.only, *arguments.skip])
    return Options(
        url=arguments.url,
        cert=arguments.cert,
        key=arguments.key,
        ca=arguments.ca,
        proxy=arguments.proxy,
        session=arguments.session,
        burst=arguments.burst,
        sizes=tuple(arguments.sizes),
        hold=arguments.hold,
        timeout=arguments.timeout,
        only=tuple(arguments.only),
        skip=tuple(arguments.skip),
    )


def _refuse_unknown(names: Sequence[str]) -> None:
    known = {
        name for section in SECTIONS for name in (section.name, *(check.name for check in section.checks))
    }
    for name in names:
        if name not in known:
            raise UnusableTarget(f"there is no section or check {name!r}; --list names them")


def _agreed(options: Options) -> bool:
    """Whether the person at the terminal agrees to a load; where nobody is, the option is enough."""
    asked = [f"{options.burst} calls at once"] if options.burst and options.wants("burst") else []
    asked += [_pages(len(options.sizes))] if options.sizes and options.wants("sizes") else []
    if not asked or not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        return True
    print(f"doctor: make {' and '.join(asked)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _pages(count: int) -> str:
    return f"a few requests for {'one page' if count == 1 else f'each of {count} pages'}"


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _seconds(text: str) -> float:
    number = _number(text, float)
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"more than 0 and at most 3600 seconds, not {text}")
    return number


def _number(text: str, kind: Callable[[str], T]) -> T:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number, not {text}") from None


def _count(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        number = _number(text, int)
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"1 to {most}, not {text}")
        return number

    return count


DOCTOR: Final = Command("doctor", "say what is wrong between this machine and a server", configure, run)
