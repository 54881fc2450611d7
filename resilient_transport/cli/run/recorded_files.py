"""`--html` and `--har`: what is written when a program that `run` has started ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from ...waterfall.recorder import begin
from .report import Speaker, write


def writer(words: set[str], html: str | None, har: str | None) -> Callable[[], None]:
    """Record the calls of this process from now on; return what writes the files when it ends.

    Args:
        words: what `run` has told.
        html, har: where they are written; None: nobody wants it.
    """
    speaker = Speaker(words)
    record = begin()
    files = {record.html: html, record.har: har}

    def write_files() -> None:
        """Write them; whatever stands in the way, the program ends as it would have ended."""
        if not (record.total or speaker.is_main):
            return
        for make, path in files.items():
            if path is None:
                continue
            if "children" in words or not speaker.is_main:
                path = _with_number(path)
            try:
                make(path)
            except Exception as error:
                why = getattr(error, "strerror", None) or type(error).__name__
                with suppress(Exception):
                    write(f"{speaker.name}: {path} cannot be written: {why}\n")

    return write_files


def _with_number(path: str) -> str:
    """A path with the number of this process before its suffix."""
    stem, suffix = os.path.splitext(path)
    return f"{stem}.{os.getpid()}{suffix}"
