"""`stats()`: what was counted, and what is open, per origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from ..util.frozen import dataclass, names_of
from .counters import Counters, Counts, Durations, added
from .left_alone import left_alone, lines


@dataclass(frozen=True, slots=True)
class OriginStats(Counts):
    """What was counted for one origin, and the connections that it has now."""

    #: Connections that are open, idle ones included.
    live: int = 0
    #: Those that are idle.
    idle: int = 0


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate that is in use. Of those in its file it is the one that expires first."""

    #: Whose it is, such as "CN=client, O=Example".
    subject: str
    #: The first second in which it is valid, in seconds since 1970, as `time.time()` has them.
    not_before: float
    #: The last second in which it is valid.
    not_after: float


#: The heads of the columns of `str(stats())`, and what stands below each of them.
_COLUMNS: Final[tuple[tuple[str, Callable[[OriginStats], str]], ...]] = (
    ("calls", lambda one: _short(one.calls)),
    ("failed", lambda one: _short(sum(one.failed_calls.values()))),
    *(
        (kind, lambda one, kind=kind: _short(one.responses.get(kind, 0)))
        for kind in ("2xx", "3xx", "4xx", "5xx")
    ),
    ("mean", lambda one: _mean(one.response_times)),
    ("retries", lambda one: _short(one.retries)),
    ("not made", lambda one: _short(sum(one.repetitions_not_made.values()))),
    ("shared", lambda one: _short(sum(one.shared_failures.values()))),
    ("TLS", lambda one: _short(one.handshakes_full + one.handshakes_resumed)),
    ("open", lambda one: _short(one.live)),
)
#: The most characters of a line of that table.
_WIDTH: Final = 119


def table(origins: Mapping[str, OriginStats]) -> str:
    """A table with a line for each origin.

    "mean" is the mean time to a response, "not made" are repetitions, "shared" are failures of other calls,
    "TLS" are handshakes, and "open" are connections. An origin that is too long loses its middle.
    """
    if not origins:
        return "no calls yet"
    rows = [
        [head for head, _ in _COLUMNS],
        *([cell(one) for _, cell in _COLUMNS] for one in origins.values()),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = _WIDTH - sum(widths) - 2 * len(widths)
    names = ["origin", *(_cut(origin, room) for origin in origins)]
    longest = max(map(len, names))
    return "\n".join(
        "  ".join([name.ljust(longest), *map(str.rjust, cells, widths)])
        for name, cells in zip(names, rows, strict=True)
    )


def _cut(origin: str, room: int) -> str:
    """An origin in as many characters as there are."""
    half = (room - 3) // 2
    return origin if len(origin) <= room else f"{origin[:half]}...{origin[-half:]}"


def _short(number: float) -> str:
    """A count in at most five characters, as long as it is below a quadrillion."""
    for unit in ("", "k", "M", "G", "T"):
        if number < (100_000 if not unit else 1000):
            return f"{int(number)}{unit}"
        number /= 1000
    return f"{int(number)}P"


def _mean(times: Durations) -> str:
    if not times.count:
        return "-"
    seconds = times.seconds / times.count
    return f"{seconds * 1000:.1f}ms" if seconds < 1 else f"{seconds:.1f}s"


class Stats(Mapping[str, OriginStats]):
    """A snapshot: figures by origin (`scheme://host:port`)."""

    def __init__(
        self,
        origins: Mapping[str, OriginStats],
        left_alone: Mapping[str, int] = MappingProxyType({}),
        certificates: Mapping[str, ClientCertificate] = MappingProxyType({}),
    ) -> None:
        self._origins = dict(origins)
        #: Adapters that were mounted while `install` was in force, and were left as they are, so that these
        #: settings do not hold for their calls: how many of each class, by its full name. Of
        #: `requests.adapters.HTTPAdapter` are those that `install` says it leaves.
        self.left_alone = dict(left_alone)
        #: The client certificates that calls have shown within the last day, by the file that each comes from
        #: (empty: from none). A file that was replaced has the new one. What a program has loaded into a
        #: context of its own (`ssl_context=`) cannot be read.
        self.certificates = dict(certificates)

    def __getitem__(self, origin: str) -> OriginStats:
        return self._origins[origin]

    def __iter__(self) -> Iterator[str]:
        return iter(self._origins)

    def __len__(self) -> int:
        return len(self._origins)

    def __add__(self, other: Stats) -> Stats:
        """Both together, origin by origin: the figures of two processes.

        Of two certificates that come from files of one name, it has the one that expires first.
        """
        origins = {
            origin: self.get(origin, OriginStats()) + other.get(origin, OriginStats())
            for origin in sorted({*self, *other})
        }
        shown = [*self.certificates.items(), *other.certificates.items()]
        # What comes later wins.
        shown.sort(key=lambda found: -found[1].not_after)
        return Stats(origins, added(self.left_alone, other.left_alone), dict(shown))

    def __repr__(self) -> str:
        others = f", left alone: {self.left_alone!r}" if self.left_alone else ""
        shown = f", certificates: {self.certificates!r}" if self.certificates else ""
        return f"<Stats {self._origins!r}{others}{shown}>"

    def __str__(self) -> str:
        """A table with a line for each origin, and what was left alone; `repr` has all the numbers."""
        return "\n".join([table(self._origins), *lines(self.left_alone)])

    def prometheus(self) -> str:
        """The same in Prometheus' text format, as `prometheus_client` writes it.

        All names begin with `resilient_transport_`. All have the label `origin`, but for the gauge
        `client_certificate_expiry_timestamp_seconds`, whose labels are `file` and `subject`: the last second
        in which a client certificate that is in use is valid. Counters: `calls_total`,
        `failed_calls_total` (label `error`: the exception's type), `responses_total` (`status`: "2xx" and so
        on), `retries_total`, `recovered_calls_total`, `failures_total` and `shared_failures_total` (`stage`),
        `repetitions_not_made_total` (`reason`), `certificate_refusals_total`, `handshakes_total` (`kind`:
        "full", "resumed"), `resumes_total`, `resumed_bytes_total`. Histograms: `response_seconds`,
        `gate_wait_seconds`. Gauge: `connections` (`state`: "idle", "active").

        Raises:
            ImportError: prometheus_client is not installed.
        """
        from .prometheus import exposition

        return exposition(self, self.certificates)


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


#: Says which client certificates are in use, by their files. Set by the registry.
_certificates: Callable[[], Mapping[str, ClientCertificate]] = dict


def read_certificates_of(source: Callable[[], Mapping[str, ClientCertificate]]) -> None:
    """Ask this for the client certificates that are in use."""
    global _certificates
    _certificates = source


def stats() -> Stats:
    """What was counted for each origin since the process began (or forked), and what is open now."""
    counted = {origin: counters.counts() for origin, counters in _counters().items()}
    connections = _connections()
    origins = {}
    for origin in sorted(counted.keys() | connections.keys()):
        live, idle = connections.get(origin, (0, 0))
        origins[origin] = OriginStats(**_fields(counted.get(origin, Counts())), live=live, idle=idle)
    return Stats(origins, left_alone(), _certificates())


def _fields(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in names_of(counts)}
