"""`doctor`: its arguments, what it says before it begins, and its exit status."""

from __future__ import annotations

import argparse
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Final

from ..command import FAILED, INTERRUPTED, OK, UNUSABLE, Command
from .examination import Report, examine
from .finding import Level
from .options import Options
from .output.files import write_files
from .output.machine import as_json
from .output.terminal import Printer
from .sections import SECTIONS
from .target import UnusableTarget
from .visit import Visit

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
        help="make N cold calls at once (4), as a program does at its start",
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
    printer = Printer(sys.stderr if arguments.output == "json" else sys.stdout)
    if arguments.list:
        printer.catalogue(SECTIONS)
        return OK
    try:
        options = _options(arguments)
        visit = Visit(options)
    except UnusableTarget as error:
        print(f"doctor: {error}", file=sys.stderr)
        return UNUSABLE
    printer.announce(visit, SECTIONS)
    if not arguments.yes and not _agreed(options):
        options = visit.options = _without_load(options)
    report = examine(visit, SECTIONS, printer)
    if arguments.output == "json":
        print(as_json(report))
    printer.conclude(report)
    if not write_files(report, arguments.html, arguments.har):
        return UNUSABLE
    return _status(report, arguments.fail_on)


def _status(report: Report, fail_on: str) -> int:
    if report.is_interrupted:
        return INTERRUPTED
    bad = (Level.FAIL, Level.WARN) if fail_on == "warning" else (Level.FAIL,)
    return FAILED if report.has(*bad) else OK


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
    """Whether the person agrees to what may be a load; where nobody sits, the option is enough."""
    asked = [f"{options.burst} cold calls at once"] if options.burst else []
    asked += [f"{len(options.sizes)} pages a few times each"] if options.sizes else []
    if not asked or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    print(f"doctor: make {' and '.join(asked)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _without_load(options: Options) -> Options:
    from dataclasses import replace

    return replace(options, burst=0, sizes=())


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 3600:
        raise argparse.ArgumentTypeError(f"more than 0 and at most 3600 seconds, not {text}")
    return number


def _count(most: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        number = int(text)
        if not 1 <= number <= most:
            raise argparse.ArgumentTypeError(f"1 to {most}, not {text}")
        return number

    return count


DOCTOR: Final = Command("doctor", "say what is wrong between this machine and a server", configure, run)
