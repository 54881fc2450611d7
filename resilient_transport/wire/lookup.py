"""From what a call names (origin, certificates, proxy) to its pool, without parsing anything twice.

An entry is used as it is for a second; then `stat` says whether a file of its identity was replaced.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from time import monotonic
from typing import Any, Final

from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import PoolManager

from .identity import fingerprint
from .registry import registry

#: Seconds between two looks at the files of an identity.
_LOOK_EVERY: Final = 1.0


class Entry:
    """A pool, and what must not have changed for it to be the right one still."""

    __slots__ = ("_files", "_looked_at", "_manager", "_paths", "_settings", "pool")

    def __init__(
        self, pool: HTTPConnectionPool, manager: PoolManager, paths: tuple[Any, ...], files: Any
    ) -> None:
        self.pool = pool
        self._manager = manager
        self._settings = dict(manager.connection_pool_kw)
        self._paths = paths
        self._files = files
        self._looked_at = monotonic()

    def is_current(self, manager: PoolManager | None) -> bool:
        """Whether the manager is the same, with the same settings, and no file was replaced."""
        if manager is not self._manager or manager.connection_pool_kw != self._settings:
            return False
        now = monotonic()
        if now - self._looked_at > _LOOK_EVERY:
            if fingerprint(self._paths) != self._files:
                return False
            self._looked_at = now
        return True

    def keep(self) -> None:
        """Use it for another second although its files have changed: they are being replaced."""
        self._looked_at = monotonic()


class Lookup:
    """The newest entries, at most `size` of them.

    Args:
        size: how many are remembered.
    """

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._entries: dict[Hashable, Entry] = {}
        #: The registry's; entries from before a fork are not used after it.
        self.generation = registry.generation

    def get(self, key: Hashable) -> Entry | None:
        """The entry of a key, current or not."""
        return self._entries.get(key)

    def put(self, key: Hashable, entry: Entry) -> None:
        """Remember an entry; the oldest makes room for it."""
        self._entries[key] = entry
        # A list, since other threads add entries meanwhile.
        for oldest in list(self._entries)[: -self._size]:
            self._entries.pop(oldest, None)

    def clear(self) -> None:
        """Forget every entry."""
        self._entries.clear()


#: The origin of a URL as requests prepares it: lower case, nothing that takes a parser to tell.
_ORIGIN: Final = re.compile(r"(https?://[^/?#@\\]+)/")


def origin_of(url: str) -> str | None:
    """`scheme://host:port` of a URL as requests prepares it; None when it takes a parser to tell."""
    found = _ORIGIN.match(url)
    return found[1] if found else None
