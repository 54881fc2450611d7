"""Adapters that a program has mounted and that no installation has taken over: how many of which class."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from urllib3.util import Retry

from ..util import atomic
from ..util.bounded_dict import keep_newest
from ..util.identity_dict import IdentityDict

#: How many classes are remembered.
_MOST: Final = 100

#: How many adapters of a class. A forked child keeps them, since it keeps the sessions.
_counts: Final[dict[str, int]] = {}
#: Those that were counted: most are mounted twice, for https and for http.
_counted: Final[IdentityDict[bool]] = IdentityDict()


def note(adapter: Any) -> None:
    """Count an adapter that keeps what it is, once."""
    if _counted.get(adapter, False):
        return
    name = _name(adapter)
    with suppress(TypeError):
        # What cannot be referred to weakly counts each time that it is mounted.
        _counted.put(adapter, True)
    with atomic.lock:
        _counts[name] = _counts.get(name, 0) + 1
    keep_newest(_counts, _MOST)


def _name(adapter: Any) -> str:
    """Its class in full; and that of a `Retry` of the program's own, which may be why it was left."""
    retries = type(getattr(adapter, "__dict__", {}).get("max_retries"))
    told = f"(max_retries={_full(retries)})" if issubclass(retries, Retry) and retries is not Retry else ""
    return f"{_full(type(adapter))}{told}"


def _full(kind: type) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}"
    # A program may call a class anything, and this goes to terminals.
    return name if name.isprintable() else repr(name)


def left_alone() -> dict[str, int]:
    """How many adapters there were of each class, by its full name."""
    return dict(sorted(_counts.copy().items()))


def lines(counts: dict[str, int]) -> list[str]:
    """The same for people: a line for each class, with a head; nothing, if there is none."""
    told = [f"  {count} x {name}" for name, count in counts.items()]
    return ["mounted adapters that were left as they are, with their own retries:", *told] if told else []


def clear() -> None:
    """Forget all; for tests."""
    _counts.clear()
