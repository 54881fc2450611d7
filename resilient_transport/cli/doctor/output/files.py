"""`--html` and `--har`: files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ....util.whole_file import probe, write_whole
from ....waterfall.har import har
from ....waterfall.page import Table, page
from ..examination import Report
from ..finding import Finding, Level

_COLUMNS: Final = ("check", "found", "measured", "what to do")


class Unwritable(Exception):
    """A file cannot be written; the text names the option and says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that was asked for."""

    #: The option: "--html".
    option: str
    #: The path as it was given.
    path: str
    #: What goes into it.
    content: Callable[[Report], str]

    def probe(self) -> None:
        """Find out whether it can be written, and leave nothing behind.

        Raises:
            Unwritable: it cannot.
        """
        try:
            probe(self.path)
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from error

    def write(self, report: Report) -> None:
        """Write it whole, or leave what is there.

        Raises:
            Unwritable: it cannot be written any more.
        """
        try:
            write_whole(self.path, self.content(report))
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> Unwritable:
        reason = getattr(error, "strerror", None) or error
        return Unwritable(f"{self.option} {self.path!r} cannot be written: {reason}")


def wanted_files(html: str | None, har: str | None) -> tuple[Wanted, ...]:
    """The files that were asked for.

    Raises:
        Unwritable: both are one.
    """
    asked = (("--html", html, as_html), ("--har", har, as_har))
    found = tuple(Wanted(option, path, content) for option, path, content in asked if path is not None)
    if len({_place(one.path) for one in found}) < len(found):
        raise Unwritable("--html and --har name the same file")
    return found


def as_html(report: Report) -> str:
    """The page: the verdict, what to do, a table for each section, the waterfall of all that was done."""
    verdict = report.verdict
    told = " ".join(text for text in (verdict.whole, verdict.also) if text)
    tables = [_typed(report), *_tables(report)]
    return page(
        f"Doctor: {report.page}", report.charts, verdict=told, verdict_level=str(verdict.level),
        tables=[table for table in tables if table.rows],
    )  # fmt: skip


def as_har(report: Report) -> str:
    """What was asked, as developer tools of browsers take it."""
    return json.dumps(report.secrets.out_of_all(har(report.charts)), indent=1) + "\n"


def _tables(report: Report) -> Iterator[Table]:
    """A table for each section that has run, and one of those that have not, and why."""
    missing = []
    for name, title in report.titles:
        found = [finding for finding in report.findings if finding.section == name]
        if found and all(finding.level is Level.SKIPPED for finding in found):
            missing.append((title, ", ".join(dict.fromkeys(finding.text for finding in found))))
        else:
            yield _table(title, found)
    yield Table("Not looked at", ("section", "why"), tuple(missing))


def _table(title: str, found: Sequence[Finding]) -> Table:
    """The findings of a section, without columns that are empty."""
    rows = [(one.check, one.text, one.value, one.hint) for one in found]
    kept = [at for at in range(len(_COLUMNS)) if any(row[at] for row in rows)]
    return Table(
        title,
        tuple(_COLUMNS[at] for at in kept),
        tuple(tuple(row[at] for at in kept) for row in rows),
        tuple(str(finding.level) for finding in found),
    )


def _typed(report: Report) -> Table:
    """What can be typed or done next."""
    rows = (
        ("to do first", report.verdict.hint),
        ("the same request with curl", report.curl),
        ("to find out more", report.again),
    )
    return Table("What to do next", ("what", "how"), tuple(row for row in rows if row[1]))


def _place(path: str) -> Path:
    """Where a path leads: what a link points to is written, and the link stays."""
    return Path(os.path.realpath(path))
