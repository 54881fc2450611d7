"""`stats()`: what was counted, and what is open, per origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .counters import Counters, Counts


@dataclass(frozen=True, slots=True)
class OriginStats(Counts):
    """What was counted for one origin, and the connections that it has now."""

    #: Connections that are open, idle ones included.
    live: int = 0
    #: Those that are idle.
    idle: int = 0


class Stats(Mapping[str, OriginStats]):
    """A snapshot: figures by origin (`scheme://host:port`)."""

    def __init__(self, origins: Mapping[str, OriginStats]) -> None:
        self._origins = dict(origins)

    def __getitem__(self, origin: str) -> OriginStats:
        return self._origins[origin]

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)

    def __repr__(self) -> str:
        return f"<Stats {self._origins!r}>"

    def prometheus(self) -> str:
        """The same in Prometheus' text format, as `prometheus_client` writes it.

        Raises:
            ImportError: prometheus_client is not installed.
        """
        from .prometheus import exposition

        return exposition(self)


#: Says what is counted of each origin. Set by `call/origin_state.py`.
_counters: Callable[[], Mapping[str, Counters]] = dict


def read_counters_of(source: Callable[[], Mapping[str, Counters]]) -> None:
    """Ask this for the counters of each origin."""
    global _counters
    _counters = source


#: Says how many connections each origin has, and how many of them are idle. Set by the registry.
_connections: Callable[[], Mapping[str, tuple[int, int]]] = dict


def count_connections_by(source: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
    """Ask this for the connections of each origin: how many are open, and how many of them are idle."""
    global _connections
    _connections = source


def stats() -> Stats:
    """What was counted for each origin since the process began (or forked), and what is open now."""
    counted = {origin: counters.counts() for origin, counters in _counters().items()}
    connections = _connections()
    origins = {}
    for origin in sorted(counted.keys() | connections.keys()):
        live, idle = connections.get(origin, (0, 0))
        origins[origin] = OriginStats(**_fields(counted.get(origin, Counts())), live=live, idle=idle)
    return Stats(origins)


def _fields(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in Counts.__dataclass_fields__}
