"""The result as a page: the verdict, the table, and starts with stock requests beside ours. Pure.

Stock requests tells when a call began and ended, and no more: each of its calls is one bar. The adapter tells
each attempt and its stages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ...util.frozen import replace
from ...waterfall.chart import Bar, Chart, Phase, Row
from ...waterfall.page import Table, page
from ...waterfall.rows import rows_of
from .cell import Cell
from .order import Outcome, Start
from .table import COLUMNS
from .transports import ABOUT, OURS, TRANSPORTS
from .verdict import Verdict

#: Whose starts stand side by side.
_STOCK: Final = next(iter(TRANSPORTS))
_TITLE: Final = "Who loses requests when connections are reset?"
#: Which start of a transport is shown: the one of which this is the most, and what that is called.
_CHOICE: Final[dict[str, tuple[Callable[[Start], int], str]]] = {
    _STOCK: (lambda start: _lost(start), "the one that lost most"),
    OURS: (
        lambda start: sum(outcome.attempts for outcome in start.outcomes),
        "the one that tried most often",
    ),
}


def comparison(cells: Sequence[Cell], said: Verdict) -> str:
    """The page, as the text of an HTML file.

    Args:
        cells: what was played, with each attempt told.
        said: what is to be said of it.
    """
    charts = [_chart(cell) for cell in cells if cell.transport in _CHOICE and cell.starts]
    return page(
        _TITLE,
        charts,
        verdict=" ".join(said.paragraphs),
        verdict_level="ok" if said.ok else "fail",
        tables=(_numbers(cells), _words(cells)),
    )


def _numbers(cells: Sequence[Cell]) -> Table:
    rows = [(_name(cell), *(column.text(cell) for column in COLUMNS)) for cell in cells]
    titles = ("scenario and transport", *(column.name for column in COLUMNS))
    return Table("What came of it", titles, tuple(rows), tuple(_level(cell) for cell in cells))


def _name(cell: Cell) -> str:
    return f"{cell.scenario.name}: {cell.transport}"


def _level(cell: Cell) -> str:
    """How well a transport did: it lost nothing, only what it may not send again, or more."""
    if not cell.lost:
        return "ok"
    return "fail" if cell.needless else "warn"


def _words(cells: Sequence[Cell]) -> Table:
    rows = [
        *((name, ABOUT[name]) for name in dict.fromkeys(cell.transport for cell in cells)),
        *((column.name, column.about) for column in COLUMNS),
    ]
    return Table("What the words mean", ("word", "meaning"), tuple(rows))


def _chart(cell: Cell) -> Chart:
    """The start that tells most."""
    worth, why = _CHOICE[cell.transport]
    number, start = max(enumerate(cell.starts, 1), key=lambda numbered: worth(numbered[1]))
    lost = f"{_lost(start)} of {len(start.outcomes)} requests lost"
    about = cell.scenario.about[0].upper() + cell.scenario.about[1:]
    caption = f"{about}. Start {number} of {len(cell.starts)}, {why}: {lost}."
    return Chart(_name(cell), tuple(_rows(cell, start)), caption=caption)


def _lost(start: Start) -> int:
    return sum(outcome.error is not None for outcome in start.outcomes)


def _rows(cell: Cell, start: Start) -> Iterator[Row]:
    """A row for each request, so that they stand beside those of the other transport."""
    seen: Counter[str] = Counter()
    for outcome in start.outcomes:
        seen[outcome.method] += 1
        failed = outcome.error is not None
        yield Row(
            f"{outcome.method} {seen[outcome.method]}",
            tuple(_attempts(outcome)) or (_whole(outcome),),
            f"lost: {outcome.error}" if failed else "answered",
            failed,
            tuple(map(str, outcome.history)) or ("Nobody tells what happened within the call.",),
            method=outcome.method,
            url=cell.scenario.path,
            bytes_in=outcome.body_bytes,
            label=f"{len(outcome.history)} attempts" if len(outcome.history) > 1 else "",
        )


def _attempts(outcome: Outcome) -> Iterator[Bar]:
    """The stages of all attempts; their times begin with the start of the program, not with the call."""
    for row in rows_of(outcome.history):
        for bar in row.bars:
            note = ", ".join(filter(None, (row.title, bar.note)))
            yield replace(bar, began=bar.began + outcome.began, note=note)


def _whole(outcome: Outcome) -> Bar:
    return Bar(Phase.CALL, outcome.began, outcome.seconds - outcome.began, outcome.error is not None)
