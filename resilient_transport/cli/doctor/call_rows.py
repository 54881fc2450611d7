"""Calls as rows of a waterfall: by the adapter a row for each attempt, by stock one bar. Pure."""

from __future__ import annotations

from dataclasses import replace

from ...events.attempt import Attempts
from ...waterfall.chart import Bar, Phase, Row
from ...waterfall.rows import rows_of


def attempt_rows(title: str, attempts: Attempts, later: float) -> tuple[Row, ...]:
    """A row for each attempt of a call.

    Args:
        title: the call's.
        attempts: in their order.
        later: seconds from the chart's beginning to the call's.
    """
    many = len(attempts) > 1
    return tuple(
        replace(
            row,
            title=f"{title}, {row.title}" if many else title,
            bars=tuple(replace(bar, began=bar.began + later) for bar in row.bars),
        )
        for row in rows_of(attempts)
    )


def whole_row(title: str, later: float, seconds: float, phase: Phase, error: str | None) -> Row:
    """A call of which no more is known than how long it took.

    Args:
        title: the call's.
        later: seconds from the chart's beginning to the call's.
        seconds: that it took.
        phase: where it has failed, or spent its time.
        error: why it has failed; None: it has not.
    """
    bar = Bar(phase, later, seconds, error is not None, error or "")
    return Row(title, (bar,), error or "", error is not None)
