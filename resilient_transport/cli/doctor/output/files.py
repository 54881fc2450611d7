"""`--html` and `--har`."""

from __future__ import annotations

from ..examination import Report


def write_files(report: Report, html: str | None, har: str | None) -> bool:
    """Write what was asked for; whether that was possible, which is told otherwise."""
    return True
