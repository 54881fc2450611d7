"""`stats()`: what was counted, and what is open, per origin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .tally import Counts, tallies
from .wire.registry import registry


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
        from .exposition import exposed

        return exposed(self)


def stats() -> Stats:
    """What was counted for each origin since the process began (or forked), and what is open now."""
    counted = {origin: tally.counts() for origin, tally in tallies().items()}
    connections = registry.connections()
    origins = {}
    for origin in sorted(counted.keys() | connections.keys()):
        live, idle = connections.get(origin, (0, 0))
        origins[origin] = OriginStats(**_fields(counted.get(origin, Counts())), live=live, idle=idle)
    return Stats(origins)


def _fields(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in Counts.__dataclass_fields__}
