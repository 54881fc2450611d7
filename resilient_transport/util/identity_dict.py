"""What is known of objects by their identity, for as long as they live.

A `WeakKeyDictionary` asks an object for its hash and its equality, which may be anybody's code, and cannot be
iterated over while another thread adds to it. Here the keys are numbers, so each step is one operation of a
dictionary that calls nobody: no lock is taken, and a finaliser or a signal handler can do no harm.
"""

from __future__ import annotations

import weakref
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class IdentityDict(Generic[V]):
    """Values of objects that can be referred to weakly; an object's value goes when the object does."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], V]] = {}

    def put(self, key: Any, value: V) -> None:
        """Set the value of an object.

        Raises:
            TypeError: it cannot be referred to weakly.
        """
        self._entries[id(key)] = self._entry(key, value)

    def put_first(self, key: Any, value: V) -> None:
        """Set the value of an object that has none.

        Raises:
            TypeError: it cannot be referred to weakly.
        """
        self._entries.setdefault(id(key), self._entry(key, value))

    def get(self, key: Any, default: V) -> V:
        """The value of an object."""
        found = self._entries.get(id(key))
        return default if found is None or found[0]() is not key else found[1]

    def values(self) -> list[V]:
        """The values of all objects that live."""
        return [value for _, value in list(self._entries.values())]

    def _entry(self, key: Any, value: V) -> tuple[weakref.ref[Any], V]:
        entries, number = self._entries, id(key)

        def forget(_: object) -> None:
            # It is called before another object can have the same number.
            entries.pop(number, None)

        return weakref.ref(key, forget), value
