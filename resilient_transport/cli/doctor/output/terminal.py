"""The table in the terminal, written while the examination goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TextIO

from ..examination import Report
from ..finding import Finding
from ..section import Section
from ..visit import Visit


class Printer:
    """Writes what is found as it is found.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def catalogue(self, sections: Iterable[Section]) -> None:
        """Every section and its checks."""
        for section in sections:
            self._say(f"{section.name}: {section.title}")
            for check in section.checks:
                self._say(f"  {check.name:32} {check.about}")

    def announce(self, visit: Visit, sections: Iterable[Section]) -> None:
        """What will be done."""
        most = sum(one.requests(visit.options) for one in sections if visit.options.wants(one.name))
        self._say(f"Examines {visit.target.shown}, with at most {most} requests (GET and HEAD).")

    def begins(self, section: Section) -> None:
        """A section begins to measure."""

    def ends(self, section: Section, findings: Sequence[Finding]) -> None:
        """A section has ended, or was skipped."""
        if not findings:
            return
        self._say(f"\n{section.title}")
        for finding in findings:
            value = f" [{finding.value}]" if finding.value else ""
            self._say(f"  {finding.level!s:8} {finding.check}: {finding.text}{value}")
            if finding.hint:
                self._say(f"           {finding.hint}")

    def conclude(self, report: Report) -> None:
        """The verdict."""
        verdict = report.verdict
        self._say(f"\n{verdict.sentence}")
        for more in (verdict.compared, verdict.hint):
            if more:
                self._say(more)

    def _say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
