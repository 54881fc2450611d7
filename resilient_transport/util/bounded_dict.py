"""Dictionaries that do not grow for ever: what was put in first is forgotten first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

#: How many origins the process remembers something of.
ORIGINS: Final = 1024


def keep_newest(entries: dict[Any, Any], most: int) -> None:
    """Forget all but so many."""
    # A list, since other threads add entries meanwhile.
    for oldest in list(entries)[:-most]:
        entries.pop(oldest, None)


class Remembered(dict[K, V]):
    """Has what it is asked for: it is made the first time, and then the same for all threads.

    Args:
        make: makes the value of a key.
        most: how many are remembered.
    """

    def __init__(self, make: Callable[[K], V], most: int = ORIGINS) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: K) -> V:
        value = self.setdefault(key, self._make(key))
        keep_newest(self, self._most)
        return value
