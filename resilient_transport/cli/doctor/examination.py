"""The sections, run in their order, and what came of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, Protocol

from ...telemetry.dispatch import last_line
from ...waterfall.chart import Chart
from .allowance import BudgetSpent
from .commands import again_line, curl_line
from .diagnosis import Verdict, verdict_of
from .doctor_options import Options
from .finding import Finding, Level, skipped, warn
from .secrets import Secrets
from .section import Section
from .visit import Visit

#: Why a check has not run that Ctrl-C came before.
_INTERRUPTED: Final = "interrupted"
#: Windows looks after signals only between two waits, of so many seconds.
_LOOK: Final = 0.5
#: What an examination is told: it is over, or somebody wants it to be.
OVER, INTERRUPTED = False, True
#: Says that an examination is over (False) or has to end (True). A signal handler may put into it.
News = SimpleQueue[bool]


class Listener(Protocol):
    """Is told how far the examination is, by one thread at a time."""

    def begins(self, section: Section) -> None:
        """A section begins to measure."""

    def ends(self, section: Section, findings: Sequence[Finding]) -> None:
        """A section has ended; if it never began, it was skipped."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an examination has found, without secrets."""

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
    #: Connections that were opened by hand.
    connections: int = 0
    #: The sections that there are, by name and title.
    titles: tuple[tuple[str, str], ...] = ()
    #: The same request by curl; and the same examination with what would tell more, empty: nothing would.
    curl: str = ""
    again: str = ""
    #: Whether a thread of it still waits for the network.
    is_left_behind: bool = False
    #: Takes them out of what is measured.
    secrets: Secrets = field(default_factory=Secrets, repr=False)

    def has(self, *levels: Level) -> bool:
        """Whether there is a finding as bad as one of these."""
        return any(finding.level in levels for finding in self.findings)


def examine(
    visit: Visit, sections: Iterable[Section], listener: Listener, news: News | None = None
) -> Report:
    """Run the sections, and make a report of what they found; Ctrl-C ends it with what it has.

    They run in a thread of their own, so that an interrupt strikes none of them in its midst, and none of
    their threads has to be waited for.

    Args:
        visit: what they are given.
        sections: in their order.
        listener: is told of each.
        news: takes `INTERRUPTED` from whoever wants it to end; None: nobody does, but by KeyboardInterrupt.
    """
    work = _Work(visit, tuple(sections), listener, SimpleQueue() if news is None else news)
    thread = threading.Thread(target=work.run, name="doctor", daemon=True)
    thread.start()
    try:
        is_interrupted = work.is_interrupted()
    except KeyboardInterrupt:
        is_interrupted = True
    if is_interrupted:
        work.stop()
    if work.error is not None:
        raise work.error
    return work.report(is_interrupted, is_left_behind=thread.is_alive() and is_interrupted)


class _Work:
    """An examination while it runs. What it has found so far can be taken from it at any time."""

    def __init__(self, visit: Visit, sections: Sequence[Section], listener: Listener, news: News) -> None:
        self._visit, self._sections, self._listener, self._news = visit, sections, listener, news
        self._secrets = Secrets(
            visit.options.url, visit.options.proxy, visit.target.url, visit.target.proxy, *visit.options.sizes
        )
        self._needed = needed(visit.options, sections)
        #: Guards what follows, and the listener.
        self._lock = threading.Lock()
        self._findings: list[Finding] = []
        self._told: set[str] = set()
        self._is_stopped = False
        #: The sections that have failed, and those that could not run because of them.
        self._blocked: set[str] = set()
        #: What the listener has raised.
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run all sections; each that ends is told, until somebody has stopped it."""
        try:
            for section in self._sections:
                if self._is_meant(section) and not self._has_run(section):
                    break
        except BaseException as error:
            self.error = error
        finally:
            self._news.put(OVER)

    def is_interrupted(self) -> bool:
        """Wait until it is over, or somebody wants it to be; whether it is the latter."""
        while True:
            try:
                return self._news.get(timeout=_LOOK)
            except Empty:
                continue

    def stop(self) -> None:
        """Nothing is told any more, and nothing is sent but what is on its way."""
        with self._lock:
            self._is_stopped = True
        self._visit.budget.close()

    def report(self, is_interrupted: bool, is_left_behind: bool) -> Report:
        """What was found, and what was not looked at."""
        visit = self._visit
        with self._lock:
            found, told = list(self._findings), set(self._told)
        measured = dict(visit.measured)
        for section in self._sections:
            if section.name not in told and is_wanted(visit.options, section):
                found += self._unasked(section, _INTERRUPTED)
        verdict = self._secrets.out_of_all(verdict_of(found, measured, is_interrupted=is_interrupted))
        again = again_line(visit.options, visit.target, verdict, [one.name for one in self._sections])
        return Report(
            page=visit.target.shown,
            proxy=visit.target.proxy_shown,
            findings=tuple(found),
            verdict=verdict,
            charts=self._secrets.out_of_all(visit.charts()),
            measured=measured,
            requests=visit.budget.requests,
            seconds=monotonic() - visit.began,
            is_interrupted=is_interrupted,
            connections=visit.budget.connections,
            titles=tuple((section.name, section.title) for section in self._sections),
            curl=curl_line(visit.target, visit.options.timeout),
            again="" if is_interrupted else again,
            is_left_behind=is_left_behind,
            secrets=self._secrets,
        )

    def _is_meant(self, section: Section) -> bool:
        return is_wanted(self._visit.options, section) or section.name in self._needed

    def _has_run(self, section: Section) -> bool:
        """Run a section, and tell what it has found; whether nobody has stopped that."""
        found = [self._secrets.out_of_all(one) for one in self._found_by(section)]
        with self._lock:
            if self._is_stopped:
                return False
            self._findings += found
            self._told.add(section.name)
            self._listener.ends(section, found)
        return True

    def _begin(self, section: Section) -> None:
        with self._lock:
            if not self._is_stopped:
                self._listener.begins(section)

    def _found_by(self, section: Section) -> list[Finding]:
        """What a section finds. There are three cases: not applicable, not possible, measured."""
        visit = self._visit
        visit.chart = section.title
        try:
            if why := section.idle_because(visit):
                return self._unasked(section, why)
            if missing := [name for name in section.needs if name in self._blocked]:
                self._blocked.add(section.name)
                return self._unasked(section, f"needs {missing[0]}")
            self._begin(section)
            measured = visit.measured[section.name] = section.measure(visit)
            judged = list(section.judge(measured))
        except BudgetSpent as spent:
            return self._unasked(section, str(spent))
        except (Exception, SystemExit) as error:
            return [_broken(section, error)]
        found = [one for one in judged if self._is_told(section, one)]
        if any(one.blocks for one in found):
            self._blocked.add(section.name)
        return found

    def _is_told(self, section: Section, finding: Finding) -> bool:
        """Whether a finding is told: what was not asked for only if it has failed."""
        options = self._visit.options
        if section.name in options.skip or finding.check in options.skip:
            return False
        return options.wants(section.name, finding.check) or finding.level is Level.FAIL

    def _unasked(self, section: Section, why: str) -> list[Finding]:
        wants = self._visit.options.wants
        return [skipped(one.name, why) for one in section.checks if wants(section.name, one.name)]


def is_wanted(options: Options, section: Section) -> bool:
    """Whether one of its checks is wanted."""
    return any(options.wants(section.name, check.name) for check in section.checks)


def needed(options: Options, sections: Sequence[Section]) -> frozenset[str]:
    """The sections that are not wanted themselves, but that a wanted one needs; what is skipped is not."""
    names = {section.name for section in sections if is_wanted(options, section)}
    found: set[str] = set()
    for section in reversed(sections):
        if section.name in names | found:
            found |= {name for name in section.needs if name not in options.skip}
    return frozenset(found - names)


def _broken(section: Section, error: BaseException) -> Finding:
    """The doctor itself has failed; its other sections go on."""
    text = f"this section could not be measured: {last_line(error)}"
    return warn(section.checks[0].name, text, f"--skip {section.name}, and report this line as a bug")
