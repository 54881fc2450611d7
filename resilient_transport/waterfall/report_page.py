"""The page of a recording: what its calls come to, all of them on one axis, and each one on its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from .chart import Chart, overview_of
from .page import Table, page

_ORIGIN: Final = re.compile(r"[^/ ]*://[^/]+")
_COLUMNS: Final = ("origin", "calls", "with failed attempts", "attempts")


def report_page(charts: Sequence[Chart], total: int) -> str:
    """The page, as the text of an HTML file.

    Args:
        charts: one a call.
        total: how many calls there were.
    """
    troubled = sum(_has_failures(chart) for chart in charts)
    failed = sum(_has_failed(chart) for chart in charts)
    overview = overview_of(charts, "All calls") if len(charts) > 1 else None
    return page(
        "Waterfall",
        charts,
        verdict=_verdict(len(charts), troubled, failed, total),
        verdict_level="fail" if failed else "warn" if troubled else "ok",
        tables=_tables(charts),
        overview=overview,
    )


def _verdict(kept: int, troubled: int, failed: int, total: int) -> str:
    told = f"{kept:,} {'call' if kept == 1 else 'calls'}"
    if troubled:
        told += f": in {troubled:,} an attempt failed, and {failed:,} of these ended so"
    elif kept:
        told += ", and no attempt failed"
    if total > kept:
        told += f". {total - kept:,} more were made; those were kept that are newest, or had failures"
    return told + "."


def _has_failures(chart: Chart) -> bool:
    return chart.failed or not chart.rows


def _has_failed(chart: Chart) -> bool:
    """Whether its last attempt has failed, or there was none."""
    return not chart.rows or chart.rows[-1].failed


def _tables(charts: Sequence[Chart]) -> tuple[Table, ...]:
    """What became of the calls to each origin."""
    groups: dict[str, list[Chart]] = {}
    for chart in charts:
        groups.setdefault(_origin(chart), []).append(chart)
    if not groups:
        return ()
    rows, levels = [], []
    for origin, found in sorted(groups.items()):
        troubled = sum(map(_has_failures, found))
        attempts = sum(len(chart.rows) for chart in found)
        rows.append((origin, f"{len(found):,}", f"{troubled:,}", f"{attempts:,}"))
        levels.append("fail" if any(map(_has_failed, found)) else "warn" if troubled else "ok")
    return (Table("Origins", _COLUMNS, tuple(rows), tuple(levels)),)


def _origin(chart: Chart) -> str:
    """The origin of a call: that of its URL, or what its title ends with."""
    url = next((row.url for row in chart.rows if row.url), chart.title.partition(" ")[2])
    # Not by `urlsplit`, which raises at some of what was never sent.
    found = _ORIGIN.match(url)
    return found[0] if found else "an unnamed origin"
