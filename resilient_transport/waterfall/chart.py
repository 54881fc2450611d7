"""What a waterfall shows: frozen values, whoever has measured them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Phase(str, Enum):
    """What a stretch of time was spent on."""

    WAIT = "wait"
    NAME = "name"
    DIAL = "dial"
    TUNNEL = "tunnel"
    HANDSHAKE = "handshake"
    CONFIRM = "confirm"
    #: From the first byte of the request to the response's head.
    FIRST_BYTE = "first byte"
    BODY = "body"
    PAUSE = "pause"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of time."""

    #: What it was spent on.
    phase: Phase
    #: Seconds since its chart began, and seconds that it took.
    began: float
    seconds: float
    #: Whether it ended in a failure, and what is to be said of it.
    failed: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt of a call, or a connection that was made by hand."""

    #: What it is.
    title: str
    #: Its stretches of time, in their order.
    bars: tuple[Bar, ...]
    #: What came of it, and whether that was a failure.
    outcome: str = ""
    failed: bool = False
    #: More lines about it.
    details: tuple[str, ...] = ()
    #: The request's method, and its URL without query and credentials.
    method: str = ""
    url: str = ""
    #: The response's status; None: there was none.
    status: int | None = None
    #: Where its connection leads.
    address: str | None = None
    #: Bytes of the request, and of the response's body.
    bytes_out: int = 0
    bytes_in: int = 0
    #: "TLSv1.3" and the like; None: none, or nobody knows.
    tls_version: str | None = None
    #: Whether its connection had carried a request before.
    reused: bool = False
    #: A word that tells rows apart, such as the name of the transport.
    label: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows that share an axis of time."""

    #: Its heading.
    title: str
    #: The rows, in their order.
    rows: tuple[Row, ...]
    #: When it began, as POSIX has it.
    began_at: float = 0.0
    #: A sentence below the heading.
    caption: str = ""

    @property
    def seconds(self) -> float:
        """When its last bar ends, in seconds since it began."""
        return max((bar.began + bar.seconds for row in self.rows for bar in row.bars), default=0.0)
