"""`settings`: what each setting is, and where that came from."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any, Final

from ..settings.environment import SETTINGS, told, warn_of_unknown
from .command import OK, UNUSABLE, Command


def configure(parser: ArgumentParser) -> None:
    """`settings` takes no arguments."""


def run(arguments: Namespace) -> int:
    """Print the settings that a program started here would have, unless its code says otherwise."""
    rows, wrong = [], []
    for setting in SETTINGS:
        try:
            value, is_told = told(setting.name)
        except ValueError as error:
            wrong.append(str(error))
            continue
        source = "environment" if is_told else "default"
        rows.append((setting.variable, shown(value), source, setting.about))
    for row in rows:
        print(_line(row, rows))
    warn_of_unknown()
    for message in wrong:
        print(message, file=sys.stderr)
    return UNUSABLE if wrong else OK


def _line(row: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return "  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + [row[-1]])


def shown(value: Any) -> str:
    """A value as it is spelled in the environment."""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


SHOW: Final = Command("settings", "print each setting, its value, and where it came from", configure, run)
