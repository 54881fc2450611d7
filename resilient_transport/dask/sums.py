"""What the workers of a cluster have counted, together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any, Final
from uuid import uuid4

from distributed import Client

from ..telemetry.stats import Stats, stats

#: Of this process and what it forks. A process identifier alone may come twice, on two machines of one name.
_PROCESS: Final = uuid4().hex

Process = tuple[str, int]


class ClusterStats(Stats):
    """The `stats()` of the processes of a cluster's workers, added up; and which workers have told none."""

    def __init__(self, total: Stats, processes: int, missing: Mapping[str, str]) -> None:
        super().__init__(total, total.left_alone, total.certificates)
        #: How many processes have told theirs. Workers that share one have one `stats()`, which counts once.
        self.processes = processes
        #: Workers that have not told theirs, because they have ended meanwhile or cannot be reached, by their
        #: address, and why. What a worker counted before it ended is gone with it.
        self.missing = dict(missing)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, processes: {self.processes}, missing: {self.missing!r}>"

    def __str__(self) -> str:
        """A table as that of `stats()`, and the workers that are missing from it."""
        return "\n".join(
            [super().__str__(), *(f"missing: {who}: {why}" for who, why in self.missing.items())]
        )


def cluster_stats(client: Client) -> ClusterStats:
    """Ask every worker of a cluster for its `stats()`, and add them up.

    Counters, histograms and times are added origin by origin, and so are connections, open and idle. Workers
    that share a process count once. Calls that the client's own process has made are not asked for, unless
    workers live in it.

    Args:
        client: of `distributed`; if it is an asynchronous one, what is returned has to be awaited.

    Returns:
        The sum, with the workers that are missing from it.
    """
    return client.sync(_cluster_stats, client)  # type: ignore[no-any-return,no-untyped-call,unused-ignore]


async def _cluster_stats(client: Client) -> ClusterStats:
    told: Any = client.run(_here, on_error="return")
    return _together(await told)


def _here() -> tuple[Process, Stats]:
    """Which process this is, and what it has counted. Called on each worker."""
    return (_PROCESS, os.getpid()), stats()


def _together(told: Mapping[str, tuple[Process, Stats] | Exception]) -> ClusterStats:
    """What the workers have told, by their address, in one."""
    missing = {who: _why(one) for who, one in told.items() if isinstance(one, Exception)}
    processes = dict(one for one in told.values() if not isinstance(one, Exception))
    total = reduce(add, processes.values(), Stats({}))
    return ClusterStats(total, len(processes), missing)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
