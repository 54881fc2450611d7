"""What a waterfall shows, as frozen values: charts of rows of bars."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ..util.frozen import dataclass, replace


class Phase(str, Enum):
    """What an attempt is busy with, in the order in which the phases follow one another."""

    #: Waits for a connection of the pool, or for leave to open one.
    WAIT = "wait"
    #: Asks for the addresses of a name.
    NAME = "name"
    #: Opens the TCP connection.
    DIAL = "dial"
    #: Talks to the proxy: TLS with it, and its answer to CONNECT.
    TUNNEL = "tunnel"
    #: TLS with the server.
    HANDSHAKE = "handshake"
    #: Waits for the server's first flight after a handshake of TLS 1.3.
    CONFIRM = "confirm"
    #: From the first byte sent to the response's head.
    FIRST_BYTE = "first byte"
    #: From the response's head to the last byte of its body.
    BODY = "body"
    #: Waits before the next attempt.
    PAUSE = "pause"
    #: All of a call, of which nobody tells more.
    CALL = "whole call"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Bar:
    """One phase of a row."""

    #: What it was busy with.
    phase: Phase
    #: When it began, in seconds since the chart began.
    began: float
    #: How many seconds it took.
    seconds: float
    #: Whether the row failed in this phase.
    failed: bool = False
    #: What else there is to say about it.
    note: str = ""

    @property
    def ended(self) -> float:
        """When it ended, in seconds since the chart began."""
        return self.began + self.seconds


@dataclass(frozen=True, slots=True)
class Row:
    """One attempt, or one connection that was made by hand."""

    #: What it is, such as "attempt 2".
    title: str
    #: Its phases in their order.
    bars: tuple[Bar, ...]
    #: What came of it, such as "status 200".
    outcome: str = ""
    #: Whether it has failed.
    failed: bool = False
    #: Sentences for who wants to know more.
    details: tuple[str, ...] = ()
    #: The request's method; empty: there is no request.
    method: str = ""
    #: Its URL, without query and userinfo.
    url: str = ""
    #: The response's status; None: there is no response.
    status: int | None = None
    #: Where the connection leads: "192.0.2.1:443", "[2001:db8::1]:443"; None: nobody knows.
    address: str | None = None
    #: Bytes that were sent, headers included.
    bytes_out: int = 0
    #: Bytes of the body that came, as encoded on the wire.
    bytes_in: int = 0
    #: "TLSv1.3" and the like; None without TLS, and where nobody knows.
    tls_version: str | None = None
    #: Whether the connection had carried a request before.
    reused: bool = False
    #: A word or two that set it apart from others, such as the name of a thread.
    label: str = ""

    @property
    def ended(self) -> float:
        """When its last bar ended, in seconds since the chart began."""
        return max((bar.ended for bar in self.bars), default=0.0)


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows on one time axis, such as the attempts of a call."""

    #: What it shows, such as "GET https://api.example/words".
    title: str
    #: From top to bottom.
    rows: tuple[Row, ...]
    #: When it began, as POSIX has it; 0: nobody knows.
    began_at: float = 0.0
    #: A sentence below the title.
    caption: str = ""

    @property
    def seconds(self) -> float:
        """How long it is: until the last bar of all its rows has ended."""
        return max((row.ended for row in self.rows), default=0.0)

    @property
    def failed(self) -> bool:
        """Whether it shows anything that has failed."""
        return any(row.failed for row in self.rows)


def overview_of(charts: Sequence[Chart], title: str) -> Chart:
    """All charts on one time axis: a row for each, with the bars of all its rows.

    Args:
        charts: each with the time at which it began.
        title: that of the new chart.
    """
    began_at = min((chart.began_at for chart in charts), default=0.0)
    rows = [_as_row(chart, chart.began_at - began_at) for chart in charts]
    return Chart(title, tuple(rows), began_at)


def _as_row(chart: Chart, later: float) -> Row:
    """A chart as one row of another, which has begun so many seconds before it."""
    bars = (replace(bar, began=bar.began + later) for row in chart.rows for bar in row.bars)
    last = chart.rows[-1] if chart.rows else Row("", ())
    return replace(
        last,
        title=chart.title,
        bars=tuple(sorted(bars, key=lambda bar: bar.began)),
        details=(chart.caption,) if chart.caption else (),
    )
