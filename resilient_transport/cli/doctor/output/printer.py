"""What people read, written while the examination goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..allowance import MOST_REQUESTS
from ..diagnosis import COMPARING
from ..doctor_options import Options
from ..examination import Report, is_wanted, needed
from ..finding import Finding
from ..section import Section
from ..visit import Visit
from .layout import conclusion, findings_lines, heading, listed, sentences, skipped_lines
from .outlet import Outlet


class Printer:
    """Writes what is found as it is found.

    Args:
        outlet: where to.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        #: The sections that are wanted; of the others only failures are told.
        self._wanted: frozenset[str] = frozenset()
        #: Whether the section that is told of has its heading, and whether the last one has needed none.
        self._has_heading = self._was_skipped = False

    def catalogue(self, sections: Iterable[Section]) -> None:
        """Every section and its checks."""
        look = self._outlet.look
        for section in sections:
            self._outlet.text(look.shown(f"{section.name}: {section.title}"))
            for check in section.checks:
                self._outlet.write(listed(check.name, check.about, look))

    def announce(self, visit: Visit, sections: Sequence[Section]) -> None:
        """What will be done."""
        self._wanted = frozenset(one.name for one in sections if is_wanted(visit.options, one))
        self._outlet.write(sentences(plan(visit, sections), self._outlet.look))

    def begins(self, section: Section) -> None:
        """A section begins to measure."""
        if section.name in self._wanted:
            self._head(section)
        self._outlet.doing(section.title)

    def ends(self, section: Section, findings: Sequence[Finding]) -> None:
        """A section has ended; if it never began, it was skipped."""
        look = self._outlet.look
        if not self._has_heading:
            if lines := skipped_lines(section, findings, look):
                self._outlet.write(lines if self._was_skipped else [(), *lines])
                self._was_skipped = True
                return
            if findings:
                self._head(section)
        self._has_heading = False
        self._outlet.write(findings_lines(findings, look))

    def _head(self, section: Section) -> None:
        self._outlet.write(heading(section, self._outlet.look))
        self._has_heading, self._was_skipped = True, False

    def conclude(self, report: Report) -> None:
        """The verdict."""
        self._outlet.done()
        self._outlet.write(conclusion(report, self._outlet.look))


def plan(visit: Visit, sections: Sequence[Section]) -> list[str]:
    """What will be done, in a few sentences."""
    options, target = visit.options, visit.target
    meant = [one for one in sections if is_wanted(options, one) or one.name in needed(options, sections)]
    told = [f"Examines {target.shown}"]
    if target.proxy_shown:
        told.append(f"through the proxy {target.proxy_shown}")
    if target.is_tls and target.cert:
        certificate = target.cert if isinstance(target.cert, str) else target.cert[0]
        told.append(f"with the client certificate {certificate}")
    if target.is_tls and target.verify is not True:
        told.append(
            f"trusting the authorities in {target.verify}"
            if target.verify
            else "without checking the server's certificate"
        )
    told.append(f"looking at {', '.join(one.name for one in meant) or 'nothing'}")
    repeats = any(one.name in COMPARING and one.requests(options) for one in meant)
    return [*told, _bounds(options, most_requests(visit, sections), repeats)]


def most_requests(visit: Visit, sections: Sequence[Section]) -> int:
    """The most requests of all sections that will run, what the adapter repeats not counted."""
    options = visit.options
    among = needed(options, sections)
    asked = sum(one.requests(options) for one in sections if is_wanted(options, one) or one.name in among)
    return min(asked, MOST_REQUESTS)


def _bounds(options: Options, most: int, repeats: bool) -> str:
    count = {0: "without a request", 1: "with 1 request (GET or HEAD)"}.get(
        most, f"with at most {most} requests (GET and HEAD)"
    )
    if repeats and most < MOST_REQUESTS:
        count += f", or {MOST_REQUESTS} if some are repeated"
    return f"{count}, and {options.timeout:g} s for each step. Ctrl-C ends it, and shows what it has found."
