"""The result for people: the verdict, a table, and what its words mean, for any width. Pure.

All of it is ASCII, so that any terminal and any file can take it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from .cell import KINDS, Cell, by_method
from .transports import ABOUT, OURS
from .verdict import Verdict

#: The widest that anything is: what every terminal has.
WIDTH: Final = 80
_GAP: Final = "  "
#: Wraps a line in what makes it stand out.
Style = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of numbers."""

    #: Its title, in two lines.
    title: tuple[str, str]
    #: What it says of a cell.
    text: Callable[[Cell], str]
    #: What it means.
    about: str

    @property
    def name(self) -> str:
        """Its title in one line."""
        return " ".join(self.title)


def _lost(method: str) -> Callable[[Cell], str]:
    return lambda cell: f"{by_method(cell.lost)[method]}/{by_method(cell.outcomes)[method]}"


def _milliseconds(cell: Cell) -> str:
    return "-" if cell.median is None else f"{cell.median * 1000:.0f}"


#: The first are those that matter most: a narrow table has only them.
COLUMNS: Final = (
    *(
        Column(("lost", kind), _lost(kind), f"{kind}s without a whole and right answer, of all {kind}s")
        for kind in KINDS
    ),
    Column(
        ("had", "run"),
        lambda cell: str(len(cell.had_run)),
        "lost POSTs that the server had run: to send them again would run them twice",
    ),
    Column(("ran", "twice"), lambda cell: str(len(cell.run_twice)), "POSTs that the server ran twice"),
    Column(
        ("starts", "failed"),
        lambda cell: f"{cell.failed_starts}/{len(cell.starts)}",
        "starts of the program that lost a request, of all starts",
    ),
    Column(("conns", "opened"), lambda cell: str(cell.connections), "connections that the server accepted"),
    Column(("median", "ms"), _milliseconds, "milliseconds that a start took, of those that lost no request"),
)


def report(cells: Sequence[Cell], said: Verdict, seconds: float, width: int, bold: Style = str) -> str:
    """All that is printed.

    Args:
        cells: what was played.
        said: what is to be said of it.
        seconds: how long it took.
        width: of the terminal, in columns.
        bold: makes the verdict and the adapter's rows stand out.
    """
    width = min(width, WIDTH)
    verdict = [bold(line) for paragraph in said.paragraphs for line in textwrap.wrap(paragraph, width)]
    columns = fitting(cells, width)
    parts = (verdict, table(cells, columns, width, bold), legend(cells, columns, seconds, width))
    return "\n\n".join("\n".join(lines) for lines in parts)


def fitting(cells: Sequence[Cell], width: int) -> tuple[Column, ...]:
    """The columns for which there is room, but at least the first."""
    columns = COLUMNS
    while len(columns) > 1 and len(_lines(cells, columns)[0]) > width:
        columns = columns[:-1]
    return columns


def table(cells: Sequence[Cell], columns: Sequence[Column], width: int, bold: Style = str) -> list[str]:
    """The lines of the table; each scenario stands above its rows, as `--scenario` takes it."""
    first, second, *rows = _lines(cells, columns)
    lines = [first, second, "-" * len(second)]
    for scenario, pairs in groupby(zip(cells, rows, strict=True), lambda pair: pair[0].scenario):
        lines += _wrapped(f"{scenario.name}: {scenario.about}", width)
        lines += [bold(row) if cell.transport == OURS else row for cell, row in pairs]
        lines.append("")
    return lines[:-1]


def legend(cells: Sequence[Cell], columns: Sequence[Column], seconds: float, width: int) -> list[str]:
    """What the words of the table mean, and what else there is."""
    told = [f"{name}: {ABOUT[name]}" for name in dict.fromkeys(cell.transport for cell in cells)]
    told += [f"{column.name}: {column.about}" for column in columns]
    missing = ", ".join(column.name for column in COLUMNS[len(columns) :])
    if missing:
        told.append(f"For a wider terminal there is more: {missing}.")
    told.append(f"It took {seconds:.0f} s. More starts, or one scenario alone: --help says how.")
    return [line for text in told for line in _wrapped(text, width)]


def _lines(cells: Sequence[Cell], columns: Sequence[Column]) -> list[str]:
    """Two lines of titles, and one for each cell."""
    texts = [["", *(column.title[0] for column in columns)]]
    texts += [["transport", *(column.title[1] for column in columns)]]
    texts += [[cell.transport, *(column.text(cell) for column in columns)] for cell in cells]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        _GAP.join([name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])]) for name, *numbers in texts
    ]


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent=_GAP, break_on_hyphens=False)
