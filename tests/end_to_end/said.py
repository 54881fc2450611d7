"""What may be said of repetitions, by whom, and what can go wrong: docs/behaviour.md in another hand.

Nothing here comes from the package, so that its mistakes are not repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import requests

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})


class Fault(NamedTuple):
    """How far an attempt gets, why it fails, and what is raised when nothing gets further."""

    stage: str
    cause: str
    error: type[Exception] = requests.ConnectionError


STAGES = ("resolve", "connect", "tunnel", "handshake", "confirm", "request", "body", "status")
FAULTS = {
    "name": Fault("resolve", "name"),
    "refused": Fault("connect", "refused"),
    "late": Fault("connect", "time-out"),
    "accept": Fault("handshake", "reset"),
    "tunnel": Fault("tunnel", "reset"),
    "unable": Fault("tunnel", "unready"),
    "denied": Fault("tunnel", "lasting"),
    "hello": Fault("handshake", "reset"),
    "handshake": Fault("handshake", "reset"),
    "alert": Fault("handshake", "tls alert", requests.exceptions.SSLError),
    "stranger": Fault("handshake", "lasting", requests.exceptions.SSLError),
    "confirm": Fault("confirm", "reset"),
    "request": Fault("request", "reset"),
    "executed": Fault("request", "reset"),
    "head": Fault("request", "reset"),
    "spoilt": Fault("request", "damaged", requests.exceptions.SSLError),
    "silent": Fault("request", "time-out", requests.ReadTimeout),
    **{name: Fault("body", "reset", requests.exceptions.ChunkedEncodingError) for name in ("none", "bare")},
    **{name: Fault("body", "reset", requests.exceptions.ChunkedEncodingError) for name in ("little", "much")},
    **{status: Fault("status", "status") for status in ("408", "413", "429", "500", "502", "503", "504")},
    **{status: Fault("status", "status") for status in ("413+", "429+", "500+", "503+")},
    "421": Fault("status", "misdirected"),
}


def is_early(fault: Fault) -> bool:
    """Whether no byte of the request has left."""
    return STAGES.index(fault.stage) < STAGES.index("request")


class Limit(NamedTuple):
    """So many failures of this kind, and no more."""

    most: int
    covers: Callable[[Fault], bool]


@dataclass
class Said:
    """A policy, as it was said: by whom, and its values.

    Attributes:
        source: "nothing", "max_retries", "RetryPolicy", "Retry" or "environment".
        values: the arguments that it got.
        override: those of `override` around the call.
    """

    source: str
    values: dict[str, Any] = field(default_factory=dict)
    override: dict[str, Any] = field(default_factory=dict)

    def value(self, name: str, default: Any) -> Any:
        """What was said of this, or what holds if nothing was."""
        return self.values.get(name, default)

    def limits(self) -> list[Limit]:
        """The section "How often is a call repeated?" of docs/behaviour.md."""
        together = self.override.get("retries")
        if self.source == "Retry" and together is None:
            return [
                Limit(most or 0, covers)
                for name, covers in OF_RETRY
                if (most := self.values[name]) is not None
            ]
        if together is None and self.source != "Retry":
            together = self.values.get("retries")
        limits, covered = [], []
        for name, most, covers in BY_CAUSE:
            given = None if self.source == "Retry" else self.values.get(name)
            covered.append(covers)
            if given is not None or together is None:
                limits.append(Limit(most if given is None else given, covers))
        if together is not None:
            return [*limits, Limit(together, lambda fault: True)]
        return [*limits, Limit(5, lambda fault: not any(covers(fault) for covers in covered))]

    def has_counts(self) -> bool:
        """Whether anybody has set a number of repetitions."""
        numbers = [value for name, value in self.values.items() if name.endswith("retries")]
        return self.source == "Retry" or any(
            number is not None for number in (*numbers, self.override.get("retries"))
        )

    def repeats(self, method: str, key: bool) -> bool:
        """Whether a request may be sent again once it has left."""
        allowed = self.value("allowed_methods", IDEMPOTENT)
        if self.source == "Retry":
            allowed = allowed or None
        key = key or (bool(self.value("idempotency_key", False)) and method not in IDEMPOTENT)
        opted = key or bool(self.value("retry_non_idempotent", False))
        forced = self.override.get("retry_non_idempotent")
        if forced is False:
            return method in IDEMPOTENT and (allowed is None or method in allowed)
        return opted or bool(forced) or allowed is None or method in allowed

    def repeats_status(self, name: str) -> bool:
        """Whether a status is one of those for which a repetition may help; "503+" has a Retry-After."""
        default = frozenset() if self.source == "Retry" else frozenset({408, 429, 502, 503, 504})
        listed = self.value("status_forcelist", self.value("statuses", default))
        if int(name[:3]) in listed:
            return True
        told = self.source == "Retry" and self.values["respect_retry_after_header"] and self.values["total"]
        return bool(told) and name in ("413+", "429+", "503+")


def _failures(fault: Fault) -> bool:
    return is_early(fault) and fault.cause in ("reset", "damaged")


_SLOWER = (
    ("name_retries", 2, lambda fault: fault.cause == "name"),
    ("refused_retries", 5, lambda fault: fault.cause == "refused"),
    ("timeout_retries", 1, lambda fault: fault.cause == "time-out"),
    ("proxy_retries", 2, lambda fault: fault.cause == "unready"),
    ("other_retries", 1, lambda fault: fault.cause == "tls alert"),
)
BY_CAUSE = (("connect_retries", 12, _failures), *_SLOWER)
OF_RETRY = (
    ("total", lambda fault: True),
    ("connect", is_early),
    ("read", lambda fault: fault.stage in ("request", "body")),
    ("status", lambda fault: fault.stage == "status"),
    ("other", lambda fault: fault.cause in ("tls alert", "damaged")),
)
