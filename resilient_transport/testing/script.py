"""What a fault server does wrong, and when: frozen data, nothing that acts.

A `Script` is a tuple of rules. A `Rule` says which accepted connections it hits, a `Fault` says at which
`Moment` of such a connection the server breaks it, and `How`. What is random is drawn from the seed, the rule
and the number of the accept, so the same script over the same accepts repeats exactly.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Moment(str, Enum):
    """The point of a connection or request at which a fault strikes."""

    #: Right after accept, nothing read. A client may learn of it while it still waits for its connect.
    ACCEPT = "accept"
    #: The ClientHello was read completely, nothing was answered.
    CLIENT_HELLO = "client-hello"
    #: The server's side of the handshake is over (in TLS 1.3 the client's Finished was read); no ticket was
    #: sent and nothing of the request was read.
    HANDSHAKE = "handshake"
    #: A CONNECT head was read, not answered.
    TUNNEL = "tunnel"
    #: The request head and `after_bytes` bytes of its body were read; not executed.
    UPLOAD = "upload"
    #: The request was read completely; not executed.
    REQUEST = "request"
    #: The request was executed and counted; no byte of the response was sent.
    EXECUTED = "executed"
    #: Half of the response head was sent.
    HEAD = "head"
    #: The response head and `after_bytes` bytes of the encoded body were sent (chunk framing not counted). A
    #: response without a body, as to HEAD, never comes to it.
    BODY = "body"


class How(str, Enum):
    """The way in which the server breaks the connection."""

    #: A TCP reset. What was sent before has reached the client's kernel by then.
    RST = "rst"
    #: A TCP FIN without a TLS close_notify: what a truncation looks like.
    FIN = "fin"
    #: A clean TLS close (close_notify), then FIN; without TLS the same as FIN.
    CLOSE_NOTIFY = "close-notify"
    #: Open and silent for `seconds` (60 at most), then closed; earlier when the client leaves.
    STALL = "stall"
    #: The client's certificate, or its absence, is refused; the fatal alert saying so comes `seconds` late.
    ALERT = "alert"
    #: A TLS record whose ciphertext was tampered with, then FIN.
    CORRUPT = "corrupt"


#: The moments of a request: only there can `Rule.on_request` and `Rule.path` choose.
REQUEST_MOMENTS = frozenset(
    {Moment.TUNNEL, Moment.UPLOAD, Moment.REQUEST, Moment.EXECUTED, Moment.HEAD, Moment.BODY}
)
_CORRUPTIBLE = frozenset({Moment.HANDSHAKE, Moment.REQUEST, Moment.EXECUTED, Moment.BODY})
_TLS_MOMENTS = frozenset({Moment.CLIENT_HELLO, Moment.HANDSHAKE})
_TLS_WAYS = frozenset({How.ALERT, How.CORRUPT})


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break a connection at one moment.

    Raises `ValueError` when the combination cannot happen on a wire.
    """

    #: When it strikes.
    at: Moment
    #: What it does.
    how: How = How.RST
    #: Bytes of a body that pass first: of the response's for BODY, of the request's for UPLOAD. A shorter
    #: body passes unharmed.
    after_bytes: int = 0
    #: BODY only, instead of `after_bytes`: the cut is drawn anew for each response from an exponential
    #: distribution with this mean, in bytes. A response that ends before its cut passes unharmed.
    mean_bytes: float | None = None
    #: Seconds a STALL lasts, or an ALERT is held back.
    seconds: float = 30.0

    def __post_init__(self) -> None:
        """Refuse what cannot happen."""
        object.__setattr__(self, "at", Moment(self.at))
        object.__setattr__(self, "how", How(self.how))
        at, mean = self.at.name, self.mean_bytes
        _refuse(
            (self.after_bytes < 0, f"after_bytes must not be negative, got {self.after_bytes}"),
            (
                bool(self.after_bytes) and self.at not in (Moment.BODY, Moment.UPLOAD),
                f"after_bytes counts bytes of a body: use it at BODY or UPLOAD, not at {at}",
            ),
            (
                mean is not None and self.at is not Moment.BODY,
                f"mean_bytes cuts response bodies: not at {at}",
            ),
            (mean is not None and mean <= 0, f"mean_bytes must be positive, got {mean}"),
            (mean is not None and self.after_bytes > 0, "give after_bytes or mean_bytes, not both"),
            (self.seconds < 0, f"seconds must not be negative, got {self.seconds}"),
            (
                self.how is How.ALERT and self.at is not Moment.HANDSHAKE,
                f"ALERT refuses a client certificate: use it at HANDSHAKE, not at {at}",
            ),
            (
                self.how is How.CORRUPT and self.at not in _CORRUPTIBLE,
                f"CORRUPT spoils a record: use it at HANDSHAKE, REQUEST, EXECUTED or BODY, not at {at}",
            ),
        )

    @property
    def needs_tls(self) -> bool:
        """Whether it can strike only a server that speaks TLS."""
        return self.at in _TLS_MOMENTS or self.how in _TLS_WAYS


@dataclass(frozen=True, slots=True)
class Rule:
    """Which accepts (numbered from 1 since the script began) a fault hits; at most one of three choices.

    With no choice given it hits every accept after `skip`. The first rule that fits at a moment wins.
    Raises `ValueError` for choices that contradict each other or the fault.
    """

    #: The fault.
    fault: Fault
    #: Choice: only the first so many accepts (after `skip`).
    first: int | None = None
    #: Choice: each accept with this probability, 0 to 1.
    probability: float | None = None
    #: Choice: connections during whose handshake more than this many handshakes were in flight, their own
    #: included; everyone who overlapped is hit. For faults up to HANDSHAKE the overlap counts until the
    #: ClientHello is answered.
    in_flight_over: int | None = None
    #: For faults of a request: only the nth request on its connection, from 1; `None` is every request.
    on_request: int | None = 1
    #: So many accepts are spared first.
    skip: int = 0
    #: For faults of a request: only requests whose path begins so; at TUNNEL, the `host:port` asked for.
    path: str | None = None

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        self._check_choice()
        at = self.fault.at
        early = f"but {at.name} comes before any request"
        _refuse(
            (
                self.on_request is not None and self.on_request < 1,
                f"on_request counts from 1, got {self.on_request}",
            ),
            (self.skip < 0, f"skip must not be negative, got {self.skip}"),
            (
                at not in REQUEST_MOMENTS and self.on_request not in (None, 1),
                f"on_request chooses a request, {early}",
            ),
            (at not in REQUEST_MOMENTS and self.path is not None, f"path chooses a request, {early}"),
        )

    def _check_choice(self) -> None:
        first, chance, crowd = self.first, self.probability, self.in_flight_over
        given = [choice for choice in (first, chance, crowd) if choice is not None]
        _refuse(
            (len(given) > 1, "give at most one of first, probability and in_flight_over"),
            (first is not None and first < 0, f"first must not be negative, got {first}"),
            (
                chance is not None and not 0 <= chance <= 1,
                f"probability must be between 0 and 1, got {chance}",
            ),
            (crowd is not None and crowd < 0, f"in_flight_over must not be negative, got {crowd}"),
            (
                crowd is not None and self.fault.at is Moment.ACCEPT,
                "in_flight_over counts handshakes, but ACCEPT comes before any: use CLIENT_HELLO",
            ),
        )


@dataclass(frozen=True, slots=True)
class Script:
    """Everything a server does wrong until the next script; an empty one does nothing wrong."""

    #: The rules, first match wins.
    rules: tuple[Rule, ...] = ()
    #: Where the random draws begin.
    seed: int = 0
    #: Seconds between reading a ClientHello and answering it, so that handshakes really overlap.
    handshake_delay: float = 0.0
    #: Seconds between executing a request and answering it.
    response_delay: float = 0.0

    def __post_init__(self) -> None:
        """Refuse negative delays."""
        object.__setattr__(self, "rules", tuple(self.rules))
        _refuse(
            (self.handshake_delay < 0, f"handshake_delay must not be negative, got {self.handshake_delay}"),
            (self.response_delay < 0, f"response_delay must not be negative, got {self.response_delay}"),
        )

    def to_plain(self) -> dict[str, Any]:
        """Return what `json.dumps` can write."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Script:
        """Read back what `to_plain` returned."""
        rules = tuple(Rule(**{**rule, "fault": Fault(**rule["fault"])}) for rule in plain["rules"])
        return cls(**{**plain, "rules": rules})


def _refuse(*faulty: tuple[bool, str]) -> None:
    """Raise `ValueError` with the first message whose condition holds."""
    for broken, message in faulty:
        if broken:
            raise ValueError(message)


#: A server that does nothing wrong.
FAULTLESS = Script()
