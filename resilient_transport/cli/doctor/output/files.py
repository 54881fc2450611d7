"""`--html` and `--har`: files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ....util.whole_file import write_whole
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
            if _is_special(self.path):
                return
            place = _place(self.path)
            if place.exists() and not os.access(place, os.W_OK):
                raise PermissionError(None, "it may not be written to")
            beside = _beside(place)
            beside.open("xb").close()
            beside.unlink()
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
    """The page: the verdict, a table for each section, the waterfall of all that was done."""
    verdict = report.verdict
    level = str(verdict.level) if verdict.level is not Level.SKIPPED else "warn"
    told = " ".join(text for text in (verdict.whole, verdict.also) if text)
    tables = [_table(report, name, title) for name, title in report.titles]
    shown = [table for table in tables if table.rows]
    return page(
        f"Doctor: {report.page}",
        report.charts,
        verdict=told,
        verdict_level=level,
        tables=(*shown, _typed(report)),
    )


def as_har(report: Report) -> str:
    """What was asked, as developer tools of browsers take it."""
    return json.dumps(report.secrets.out_of_all(har(report.charts)), indent=1) + "\n"


def _table(report: Report, name: str, title: str) -> Table:
    found = [finding for finding in report.findings if finding.section == name]
    return Table(title, _COLUMNS, tuple(map(_row, found)), tuple(str(finding.level) for finding in found))


def _row(finding: Finding) -> tuple[str, ...]:
    return (finding.check, finding.text, finding.value, finding.hint)


def _typed(report: Report) -> Table:
    """What can be typed or done next."""
    rows = (
        ("to do first", report.verdict.hint),
        ("the same request by curl", report.curl),
        ("what would tell more", report.again),
        ("through the proxy", report.proxy or ""),
    )
    return Table("What to do next", ("", "line"), tuple(row for row in rows if row[1]))


def _place(path: str) -> Path:
    """Where a path leads: what a link points to is written, and the link stays."""
    return Path(os.path.realpath(path))


def _is_special(path: str) -> bool:
    """Whether it is a terminal, a pipe or a device, which cannot be replaced; a folder is an error.

    Raises:
        OSError: it is a folder.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(None, "it is a folder")
    return not stat.S_ISREG(mode)


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name[:100]}.{os.urandom(4).hex()}")
