"""A page of charts: one HTML file that loads nothing, runs no script, and shows what it is given as text.

Bars are SVG with attributes for their places, so that the content security policy allows no style of an
element. Where a bar failed, it is hatched and has a cross at its end; the words are in the row's outcome.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from ..util.frozen import dataclass, replace
from .chart import Bar, Chart, Phase, Row
from .scale import share, span, ticks
from .stylesheet import STYLESHEET, class_of

#: Rows of one chart, and of all charts, that a page shows. A browser lays out so many in about a second.
MOST_ROWS_OF_CHART: Final = 250
MOST_ROWS: Final = 1000

#: What stands for a level, and is read aloud.
_MARKS: Final = {"ok": ("\u2713", "ok"), "warn": ("!", "warning"), "fail": ("\u2715", "failed")}
_MARKS_OF_ROWS: Final = {**_MARKS, "skipped": ("\u2013", "skipped"), "": ("", "")}
#: Where a bar stands in its row, in per cent from the top, and how high it is: a pause is slim, a connection
#: being made is half as high, and a request is full.
_SLIM, _HALF, _FULL = (35, 30), (20, 60), (0, 100)
_HEIGHTS: Final = {
    Phase.WAIT: _SLIM,
    Phase.PAUSE: _SLIM,
    Phase.FIRST_BYTE: _FULL,
    Phase.BODY: _FULL,
    Phase.CALL: _FULL,
}
#: The least width of a bar, in per cent: so that it can be seen.
_LEAST: Final = 0.4
#: What no page may have in it: control characters, and halves of surrogate pairs.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page."""

    #: What stands above it.
    title: str
    #: The heads of its columns.
    columns: tuple[str, ...]
    #: Its cells, row by row.
    rows: tuple[tuple[str, ...], ...]
    #: One a row: "ok", "warn", "fail", "skipped" or empty; empty: none has one.
    levels: tuple[str, ...] = ()


def page(
    title: str,
    charts: Sequence[Chart],
    *,
    verdict: str = "",
    verdict_level: str = "ok",
    tables: Sequence[Table] = (),
    overview: Chart | None = None,
) -> str:
    """A page, as the text of an HTML file.

    Args:
        title: what stands above all.
        charts: in their order; side by side where there is room.
        verdict: what it comes to, in a sentence or two.
        verdict_level: "ok", "warn" or "fail".
        tables: what stands below the verdict.
        overview: a chart that is as wide as the page, before the others; None: there is none.
    """
    shown, left_out = _bounded(charts)
    body = [f"<h1>{_text(title)}</h1>"]
    if verdict:
        mark = _mark(verdict_level, _MARKS)
        body.append(f'<p class="verdict {_text(verdict_level)}">{mark} {_text(verdict)}</p>')
    body += [_table(table) for table in tables]
    if overview is not None or shown:
        body.append(_legend([*charts, *([overview] if overview else [])]))
    if overview is not None:
        body.append(f'<div class="wide">{_chart(*_cut(overview))}</div>')
    if shown:
        cards = "\n".join(_chart(chart, more) for chart, more in shown)
        body.append(f'<div class="charts">\n{cards}\n</div>')
    if left_out:
        body.append(f'<p class="quiet">{_text(left_out)}</p>')
    return "\n".join([_head(title), "<body>", "<main>", _PATTERN, *body, "</main>", "</body>", "</html>", ""])


def _head(title: str) -> str:
    digest = base64.b64encode(hashlib.sha256(STYLESHEET.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{_text(title)}</title>",
            f"<style>{STYLESHEET}</style>",
            "</head>",
        ]
    )


#: The hatching of what has failed.
_PATTERN: Final = (
    '<svg class="unseen" aria-hidden="true"><defs><pattern id="hatch" width="8" height="8" '
    'patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line class="hatching" x1="0" y1="0" '
    'x2="0" y2="8"/></pattern></defs></svg>'
)


def _text(text: str) -> str:
    """A text as HTML shows it, in an element or an attribute."""
    return escape(_UNPRINTABLE.sub("\ufffd", text))


def _mark(level: str, marks: dict[str, tuple[str, str]]) -> str:
    """What stands for a level: a sign for the eye, and a word for a reader."""
    sign, word = marks[level]
    if not sign:
        return ""
    return (
        f'<span class="mark {level}"><span aria-hidden="true">{sign}</span>'
        f'<span class="unseen">{word}:</span></span>'
    )


def _bounded(charts: Sequence[Chart]) -> tuple[list[tuple[Chart, str]], str]:
    """The charts that a page has room for, what each leaves out, and what is left out of all.

    Charts in which something failed come first, if there is no room for all.
    """
    cut = [_cut(chart) for chart in charts]
    kept, room = set(), MOST_ROWS
    for at in sorted(range(len(cut)), key=lambda at: not cut[at][0].failed):
        rows = max(1, len(cut[at][0].rows))
        if rows <= room:
            kept.add(at)
            room -= rows
    missing = [chart for at, (chart, _) in enumerate(cut) if at not in kept]
    failed = sum(chart.failed for chart in missing)
    which = f"in {failed:,} of them something failed" if failed else "nothing failed in them"
    said = f"There is no room for {len(missing):,} more charts; {which}." if missing else ""
    return [one for at, one in enumerate(cut) if at in kept], said


def _cut(chart: Chart) -> tuple[Chart, str]:
    """A chart of as many rows as there is room for, the failed ones first, and what it leaves out."""
    if len(chart.rows) <= MOST_ROWS_OF_CHART:
        return chart, ""
    order = sorted(range(len(chart.rows)), key=lambda at: not chart.rows[at].failed)
    kept = sorted(order[:MOST_ROWS_OF_CHART])
    failed = sum(chart.rows[at].failed for at in order[MOST_ROWS_OF_CHART:])
    which = f"{failed:,} of them failed" if failed else "none of them failed"
    more = f"{len(chart.rows) - len(kept):,} more rows are not shown; {which}."
    return replace(chart, rows=tuple(chart.rows[at] for at in kept)), more


def _legend(charts: Sequence[Chart]) -> str:
    """What each colour means; that of calls of which nobody tells more only where there are any."""
    used = {bar.phase for chart in charts for row in chart.rows for bar in row.bars}
    samples = [
        f'<li><svg aria-hidden="true">{_rect(phase, 0, 100)}</svg>{_text(phase.value)}</li>'
        for phase in Phase
        if phase is not Phase.CALL or phase in used
    ]
    failed = f'<li><svg aria-hidden="true">{_failed(20, 60, 0, 70)}</svg>failed here</li>'
    return f'<ul class="legend" aria-label="Phases">{"".join(samples)}{failed}</ul>'


def _table(table: Table) -> str:
    levels = table.levels or ("",) * len(table.rows)
    heads = "".join(f'<th scope="col">{_text(column)}</th>' for column in table.columns)
    rows = "\n".join(
        _table_row(table.columns, cells, level) for cells, level in zip(table.rows, levels, strict=True)
    )
    return (
        f"<table><caption>{_text(table.title)}</caption><thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody></table>"
    )


def _table_row(columns: Sequence[str], cells: Sequence[str], level: str) -> str:
    mark = _mark(level, _MARKS_OF_ROWS)
    texts = [f"{mark} {_text(cell)}" if mark and not at else _text(cell) for at, cell in enumerate(cells)]
    shown = "".join(
        f'<td data-column="{_text(column)}">{text}</td>' for column, text in zip(columns, texts, strict=True)
    )
    return f"<tr>{shown}</tr>"


def _chart(chart: Chart, more: str) -> str:
    whole = chart.seconds
    lines = [f"<h2>{_text(chart.title)}</h2>"]
    lines += [f'<p class="quiet">{_text(told)}</p>' for told in (chart.caption, more) if told]
    rows = "\n".join(_row(row, whole) for row in chart.rows)
    lines += [f"<ol>\n{rows}\n</ol>", _axis(whole)]
    return '<section class="chart">\n' + "\n".join(lines) + "\n</section>"


def _axis(whole: float) -> str:
    """The time axis below the rows. Its words are hidden from readers: the bars say their own times."""
    drawn = []
    for moment in ticks(whole):
        at = share(moment, whole)
        anchor = "start" if at < 5 else "end" if at > 95 else "middle"
        drawn.append(f'<text x="{at:.2f}%" y="1em" text-anchor="{anchor}">{span(moment)}</text>')
    return f'<div class="axis"><svg aria-hidden="true">{"".join(drawn)}</svg></div>'


def _row(row: Row, whole: float) -> str:
    grid = "".join(
        f'<line x1="{at:.2f}%" x2="{at:.2f}%" y1="0" y2="100%"/>'
        for at in (share(moment, whole) for moment in ticks(whole))
    )
    bars = "".join(_bar(bar, whole) for bar in row.bars)
    summary = f"{row.title}: {_in_words(row)}"
    label = f' <span class="quiet">{_text(row.label)}</span>' if row.label else ""
    mark = _mark("fail", _MARKS) if row.failed else ""
    return "\n".join(
        [
            f'<li class="row{" failed" if row.failed else ""}">',
            f"<h3>{_text(row.title)}{label}</h3>",
            f'<div class="track"><svg role="img" aria-label="{_text(summary)}">{grid}{bars}</svg></div>',
            f'<p class="outcome">{mark}{_text(row.outcome)} <span class="quiet">{_taken(row)}</span></p>',
            _details(row),
            "</li>",
        ]
    )


def _taken(row: Row) -> str:
    """How long a row took, without the pause after it."""
    bars = [bar for bar in row.bars if bar.phase is not Phase.PAUSE]
    return span(max(bar.ended for bar in bars) - min(bar.began for bar in bars)) if bars else ""


def _in_words(row: Row) -> str:
    """The bars of a row, one after the other."""
    return ", ".join(_said(bar) for bar in row.bars) or "nothing was measured"


def _said(bar: Bar) -> str:
    failed = ", failed" if bar.failed else ""
    note = f" ({bar.note})" if bar.note else ""
    return f"{bar.phase.value} {span(bar.seconds)} from {span(bar.began)}{failed}{note}"


def _details(row: Row) -> str:
    told = [*(_said(bar) for bar in row.bars), *_facts(row), *row.details]
    items = "".join(f"<li>{_text(line)}</li>" for line in told)
    return f"<details><summary>Details</summary><ul>{items}</ul></details>"


def _facts(row: Row) -> Iterator[str]:
    """What is known of a row besides its times."""
    if row.method or row.url:
        yield f"{row.method} {row.url}".strip()
    if row.address:
        yield f"{'reused connection' if row.reused else 'connection'} to {row.address}"
    if row.tls_version:
        yield row.tls_version
    if row.bytes_out or row.bytes_in:
        yield f"{row.bytes_out:,} bytes out, {row.bytes_in:,} bytes of the body in"


def _rect(phase: Phase, at: float, width: float, inside: str = "") -> str:
    top, height = _HEIGHTS.get(phase, _HALF)
    return (
        f'<rect class="{class_of(phase)}" x="{at:.3f}%" width="{width:.3f}%" y="{top}%" height="{height}%">'
        f"{inside}</rect>"
    )


def _bar(bar: Bar, whole: float) -> str:
    width = max(share(bar.seconds, whole), _LEAST)
    at = min(share(bar.began, whole), 100 - width)
    title = f"<title>{_text(_said(bar))}</title>"
    drawn = _rect(bar.phase, at, width, title)
    if bar.failed:
        drawn += _failed(*_HEIGHTS.get(bar.phase, _HALF), at, width, title)
    return drawn


def _failed(top: float, height: float, at: float, width: float, inside: str = "") -> str:
    """What lies over a bar that has failed: its hatching, and a cross at its end."""
    place = f'x="{at:.3f}%" y="{top}%" width="{width:.3f}%" height="{height}%"'
    cross = f'<svg x="{at + width:.3f}%" y="50%"><path class="cross" d="M-5-5L5 5M-5 5L5-5"/></svg>'
    return f'<rect class="hatch" {place}>{inside}</rect>{cross}'
