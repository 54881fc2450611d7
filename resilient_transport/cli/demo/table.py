"""The result for people: a table, and what is to be said of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from .transports import OURS
from .verdict import Cell

if TYPE_CHECKING:
    from rich.table import Table

#: Every column after the first two holds numbers.
HEADER: Final = (
    "scenario",
    "transport",
    "starts failed",
    "requests failed",
    "lost",
    "connections",
    "run twice",
    "median start",
)
_WORDS: Final = 2
_LEGEND: Final = """\
A start is a fresh process that sends four requests at once (2 GET, 2 POST); it failed if one of them did.
Lost: failed requests that might have been sent again without risk, namely every GET, and each POST that had
not reached the server. A POST whose response is cut has been executed: nobody may send it again unasked.
Run twice: POSTs that the server executed more than once."""


def rows(cells: Iterable[Cell]) -> list[tuple[str, ...]]:
    """The cells as text, in the order of `HEADER`."""
    return [
        (
            cell.scenario.title,
            cell.transport,
            f"{cell.failed_starts}/{len(cell.starts)}",
            str(len(cell.failed)),
            str(len(cell.lost)),
            str(cell.connections),
            str(len(cell.doubled)),
            f"{cell.median * 1000:.0f} ms",
        )
        for cell in cells
    ]


def plain(cells: Sequence[Cell]) -> str:
    """The table as aligned text, with a blank line between scenarios."""
    told = rows(cells)
    widths = [max(map(len, column)) for column in zip(HEADER, *told, strict=True)]
    lines = [_aligned(HEADER, widths), "  ".join("-" * width for width in widths)]
    before = None
    for row in told:
        if before is not None and row[0] != before:
            lines.append("")
        lines.append(_aligned(("" if row[0] == before else row[0], *row[1:]), widths))
        before = row[0]
    return "\n".join(lines)


def rich_table(cells: Sequence[Cell]) -> Table:
    """The table for `rich`, ours in bold."""
    from rich import box
    from rich.table import Table

    # Without padding, and with a word of a title on each line, it fits into 80 columns.
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for number, title in enumerate(HEADER):
        is_text = number < _WORDS
        table.add_column(title.replace(" ", "\n"), justify="left" if is_text else "right", no_wrap=is_text)
    before = None
    for row in rows(cells):
        if before is not None and row[0] != before:
            table.add_section()
        shown = "" if row[0] == before else row[0]
        table.add_row(shown, *row[1:], style="bold" if row[1] == OURS else None)
        before = row[0]
    return table


def closing(promises: Sequence[str], seconds: float) -> str:
    """What is said below the table."""
    told = [f"FAILED: {OURS} {promise}." for promise in promises]
    told = told or [f"{OURS} lost no request that it may repeat, and ran no POST twice."]
    return "\n".join([_LEGEND, "", *told, f"It took {seconds:.0f} s."])


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        text.ljust(width) if number < _WORDS else text.rjust(width)
        for number, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
