"""The sections, run in their order, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from ...telemetry.dispatch import last_line
from ...waterfall.chart import Chart
from .budget import BudgetSpent
from .finding import Finding, Level, skipped, warn
from .section import Section
from .verdict import Verdict, verdict_of
from .visit import Visit


class Listener(Protocol):
    """Is told how far the examination is."""

    def begins(self, section: Section) -> None:
        """A section begins to measure."""

    def ends(self, section: Section, findings: Sequence[Finding]) -> None:
        """A section has ended, or was skipped."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an examination has found."""

    #: The page, without its query, and the proxy without its credentials; None: there is none.
    page: str
    proxy: str | None
    #: What each check has found, in the order of the sections.
    findings: tuple[Finding, ...]
    #: What all of that comes to.
    verdict: Verdict
    #: What was done, a chart for each section.
    charts: tuple[Chart, ...] = field(repr=False)
    #: What each section has measured, by its name.
    measured: dict[str, Any] = field(repr=False)
    #: Requests that were sent, and seconds that it took.
    requests: int
    seconds: float
    #: Whether it was ended by Ctrl-C.
    is_interrupted: bool = False

    def has(self, *levels: Level) -> bool:
        """Whether there is a finding as bad as one of these."""
        return any(finding.level in levels for finding in self.findings)


def examine(visit: Visit, sections: Iterable[Section], listener: Listener) -> Report:
    """Run the sections, and make a report of what they found; Ctrl-C ends it with what it has."""
    findings: list[Finding] = []
    interrupted = False
    for section in sections:
        if interrupted:
            found = _unasked(visit, section, "interrupted")
        else:
            try:
                listener.begins(section)
                found = _findings_of(visit, section, findings)
            except KeyboardInterrupt:
                interrupted = True
                found = _unasked(visit, section, "interrupted")
        findings += found
        listener.ends(section, found)
    return Report(
        visit.target.shown,
        visit.target.proxy_shown,
        tuple(findings),
        verdict_of(findings, visit.measured),
        visit.charts(),
        dict(visit.measured),
        visit.budget.requests,
        monotonic() - visit.began,
        interrupted,
    )


def _findings_of(visit: Visit, section: Section, before: Sequence[Finding]) -> list[Finding]:
    """What a section finds. There are four cases: not wanted, not possible, not applicable, measured."""
    if not visit.options.wants(section.name):
        return []
    blocked = {finding.section for finding in before if finding.blocks or _is_blocked(finding)}
    if missing := [name for name in section.needs if name in blocked]:
        return _unasked(visit, section, f"needs {missing[0]}")
    if why := section.idle_because(visit):
        return _unasked(visit, section, why)
    visit.chart = section.title
    try:
        measured = section.measure(visit)
    except BudgetSpent as spent:
        return _unasked(visit, section, str(spent))
    except Exception as error:
        return [_broken(section, error)]
    visit.measured[section.name] = measured
    judged = list(section.judge(measured))
    return [one for one in judged if visit.options.wants(section.name, one.check)]


def _is_blocked(finding: Finding) -> bool:
    """Whether its section has not run because another one has failed."""
    return finding.level is Level.SKIPPED and finding.text.startswith("skipped (needs ")


def _unasked(visit: Visit, section: Section, why: str) -> list[Finding]:
    wanted = (check.name for check in section.checks if visit.options.wants(section.name, check.name))
    return [skipped(name, why) for name in wanted]


def _broken(section: Section, error: Exception) -> Finding:
    """The doctor itself has failed; its other sections go on."""
    text = f"this section could not be measured: {last_line(error)}"
    return warn(section.checks[0].name, text, f"--skip {section.name}, and report this line as a bug")
