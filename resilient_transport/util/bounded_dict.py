"""Dictionaries that do not grow for ever, without a lock: each step is one operation of a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import count
from typing import Any, Final, Protocol, TypeVar


class Remembered(Protocol):
    """What a dictionary forgets when it was not used for longest."""

    #: Grows with each use; whoever uses it sets it.
    used_at: float

    def is_needed(self) -> bool:
        """Whether it must not be forgotten as long as something else can be."""


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Remembered)

#: The next use of anything.
_uses: Final = count(1)


def keep_newest(entries: dict[Any, Any], most: int) -> None:
    """Forget all but so many; what was put in first goes first."""
    # A list, since other threads add entries meanwhile.
    for oldest in list(entries)[:-most]:
        entries.pop(oldest, None)


def keep_used(entries: dict[K, V], most: int, newest: K, spare: int = 0) -> None:
    """Forget what was not used for longest, once there are more than so many.

    What is needed goes only if there is nothing else.

    Args:
        entries: what is remembered.
        most: how many are remembered.
        newest: the key that was just put in, which stays.
        spare: how many more are forgotten at once, so that not every new entry takes a search.
    """
    surplus = len(entries) - most
    if surplus <= 0:
        return
    # A copy, which is one step: other threads add entries meanwhile.
    known = entries.copy()
    known.pop(newest, None)
    needed = {key for key, value in known.items() if value.is_needed()}
    order = sorted(known, key=lambda key: (key in needed, known[key].used_at))
    free = len(known) - len(needed)
    for key in order[: max(surplus, min(surplus + spare, free))]:
        entries.pop(key, None)


class BoundedDict(dict[K, V]):
    """Has what it is asked for: it is made the first time, and then the same for all threads.

    Args:
        make: makes the value of a key.
        most: how many are remembered; of more, those that were not used for longest are forgotten.
    """

    def __init__(self, make: Callable[[K], V], most: int) -> None:
        super().__init__()
        self._make = make
        self._most = most

    def __missing__(self, key: K) -> V:
        made = self._make(key)
        made.used_at = next(_uses)
        value = self.setdefault(key, made)
        keep_used(self, self._most, key, spare=self._most // 16)
        return value

    def used(self, key: K) -> V:
        """The value of a key, which counts as used now."""
        value, now = self[key], next(_uses)
        # A thread that was not scheduled for a while must not make it older than others have.
        if value.used_at < now:
            value.used_at = now
        return value
