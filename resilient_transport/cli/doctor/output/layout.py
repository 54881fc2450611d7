"""The lines that an examination is told in: what stands on them, where they break, how they are drawn. Pure.

Sentences are wrapped where there is a width. What is to be copied never is.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..commands import QUERY
from ..examination import Report
from ..finding import Finding, Level
from ..section import Section
from .printable import can_show, printable


class Style(str, Enum):
    """What a piece of a line is; its value is how `rich` draws it."""

    PLAIN = ""
    HEADING = "bold"
    OK = "green"
    WARN = "yellow"
    FAIL = "bold red"
    SKIPPED = "dim"
    #: To be copied.
    COMMAND = "cyan"

    __str__ = str.__str__


#: A line: pieces of text, each with its style.
Line = tuple[tuple[str, Style], ...]

#: A sign for each level, and words where there is no such character.
_SIGNS: Final = {Level.OK: "√", Level.WARN: "‼", Level.FAIL: "×", Level.SKIPPED: "-"}
_WORDS: Final = {Level.OK: "ok  ", Level.WARN: "WARN", Level.FAIL: "FAIL", Level.SKIPPED: "skip"}
_STYLES: Final = {
    Level.OK: Style.OK,
    Level.WARN: Style.WARN,
    Level.FAIL: Style.FAIL,
    Level.SKIPPED: Style.SKIPPED,
}
#: The least room for a sentence.
_LEAST: Final = 24


@dataclass(frozen=True, slots=True)
class Look:
    """What the place that is written to can show."""

    #: Columns; None: a line may be as long as it wants, as in a file.
    width: int | None = None
    #: What its characters are encoded in.
    encoding: str = "utf-8"
    #: Whether it shows no more than ASCII, whatever the encoding says.
    is_dumb: bool = False

    @property
    def marks(self) -> Mapping[Level, str]:
        """What stands for each level."""
        has_signs = not self.is_dumb and can_show("".join(_SIGNS.values()), self.encoding)
        return _SIGNS if has_signs else _WORDS

    def shown(self, text: str) -> str:
        """A text as this place can show it."""
        return printable(text, "ascii" if self.is_dumb else self.encoding)


def heading(section: Section, look: Look) -> list[Line]:
    """A blank line, and the title."""
    return [(), ((look.shown(section.title), Style.HEADING),)]


def skipped_lines(section: Section, findings: Sequence[Finding], look: Look) -> list[Line]:
    """A section of which nothing has run, and why: without a heading; none: something has run."""
    reasons = {finding.text for finding in findings}
    if len(reasons) != 1 or findings[0].level is not Level.SKIPPED:
        return []
    return list(_marked(Level.SKIPPED, f"{section.name}: {reasons.pop()}", look, 0))


def findings_lines(findings: Sequence[Finding], look: Look) -> Iterator[Line]:
    """What a section has found: a line for each check, and below it what to do."""
    for finding in findings:
        yield from _marked(finding.level, _told(finding), look)
        if finding.hint:
            yield _command(finding.hint, look, len(look.marks[finding.level]) + 5)


def conclusion(report: Report, look: Look) -> Iterator[Line]:
    """The verdict, how the calls went, and what can be typed next."""
    verdict = report.verdict
    yield ()
    yield from _sentence(f"Verdict: {verdict.whole}", look, _STYLES[verdict.level])
    if verdict.also:
        yield from _sentence(verdict.also, look)
    for lead, command in _commands(report):
        if command:
            yield from _sentence(lead, look)
            yield _command(command, look, 4)
    if report.is_interrupted and (missing := _not_looked_at(report.findings)):
        yield from _sentence(f"Not looked at: {', '.join(missing)}.", look)
    yield from _sentence(tally(report), look, Style.SKIPPED)


def _commands(report: Report) -> Iterator[tuple[str, str]]:
    """What can be typed or done, each with the words before it."""
    yield "To do first:", report.verdict.hint
    stands = " (QUERY stands for its query)" if QUERY in report.curl else ""
    yield f"The same request with curl{stands}:", report.curl
    yield "To find out more:", report.again


def tally(report: Report) -> str:
    """How many checks came to what, and what that took."""
    counts = {level: sum(one.level is level for one in report.findings) for level in Level}
    words = {Level.OK: "ok", Level.WARN: "warned", Level.FAIL: "failed", Level.SKIPPED: "skipped"}
    told = ", ".join(f"{count} {words[level]}" for level, count in counts.items() if count) or "none"
    requests = "1 request" if report.requests == 1 else f"{report.requests} requests"
    return f"Checks: {told}; {requests} in {report.seconds:.1f} s."


def _not_looked_at(findings: Iterable[Finding]) -> list[str]:
    return list(dict.fromkeys(one.section for one in findings if one.text == "skipped (interrupted)"))


def listed(name: str, about: str, look: Look) -> Iterator[Line]:
    """A section or a check of `--list`, and what it asks."""
    yield from _sentence(f"  {name:30}  {about}", look, hanging=34)


def sentences(texts: Iterable[str], look: Look) -> Iterator[Line]:
    """Sentences, each on a line of its own; all but the first are indented."""
    for number, text in enumerate(texts):
        yield from _sentence(f"  {text}" if number else text, look, hanging=4 if number else 2)


def _told(finding: Finding) -> str:
    """The check, the sentence, and what was measured, unless the sentence says that."""
    value = f" [{finding.value}]" if finding.value not in finding.text else ""
    return f"{finding.check}: {finding.text}{value}"


def _marked(level: Level, text: str, look: Look, indent: int = 2) -> Iterator[Line]:
    mark = look.marks[level]
    deep = indent + len(mark) + 1
    room = None if look.width is None else look.width - deep
    style = Style.SKIPPED if level is Level.SKIPPED else Style.PLAIN
    for number, line in enumerate(_wrapped(look.shown(text), room)):
        before = (" " * deep, Style.PLAIN) if number else (f"{' ' * indent}{mark} ", _STYLES[level])
        yield (before, (line, style))


def _command(text: str, look: Look, indent: int) -> Line:
    """What is to be copied: on one line, whatever the width."""
    return ((" " * indent, Style.PLAIN), (look.shown(text), Style.COMMAND))


def _sentence(text: str, look: Look, style: Style = Style.PLAIN, hanging: int = 2) -> Iterator[Line]:
    for line in _wrapped(look.shown(text), look.width, " " * hanging):
        yield ((line, style),)


def _wrapped(text: str, width: int | None, hanging: str = "") -> list[str]:
    if width is None:
        return [text]
    room = max(width, _LEAST + len(hanging))
    lines = textwrap.wrap(
        text, room, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )
    return lines or [""]
