"""A file that is written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from threading import get_ident


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a file: who reads it meanwhile finds what was there before, or all of the new text.

    Args:
        path: where; a link stays one, and a pipe or a terminal is written to.
        text: what is written, as UTF-8.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}.{get_ident()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
