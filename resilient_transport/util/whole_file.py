"""A file that is written whole or not at all."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from errno import EACCES, EISDIR


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a file: who reads it meanwhile finds what was there before, or all of the new text.

    Args:
        path: where; a link stays one, and a pipe or a terminal is written to. Who may read a file that is
            there already stays as it is.
        text: what is written, as UTF-8.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    if _is_special(path):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return
    target = os.path.realpath(path)
    temporary = _beside(target)
    try:
        with open(temporary, "x", encoding="utf-8") as file:
            with suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            file.write(text)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def probe(path: str | os.PathLike[str]) -> None:
    """Find out whether a file can be written so, and leave nothing behind.

    Raises:
        OSError: it cannot.
        ValueError: the path is none.
    """
    if _is_special(path):
        return
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise PermissionError(EACCES, "it may not be written to", target)
    beside = _beside(target)
    open(beside, "x").close()
    os.unlink(beside)


def _is_special(path: str | os.PathLike[str]) -> bool:
    """Whether it is a terminal, a pipe or a device, which cannot be replaced; a folder is an error.

    Raises:
        OSError: it is a folder.
    """
    try:
        mode = os.stat(path or os.curdir).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(EISDIR, "it is a folder", path)
    return not stat.S_ISREG(mode)


def _beside(target: str) -> str:
    """A name in the same folder that nobody has, or can guess; no longer than a name may be."""
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name[:40]}.{os.urandom(8).hex()}.tmp")
