"""What is asked of a start, and what came of it: frozen data that goes through JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from ...events.attempt import Attempt

#: The error of a response that came, but not whole or not the right one.
WRONG_BODY: Final = "wrong body"


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a start."""

    #: The header X-Request-Id, by which the server counts executions.
    request_id: str
    #: The method.
    method: str
    #: What is asked for.
    path: str
    #: SHA-256 of the right response body, in hex; None: whatever comes is right.
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What one start does."""

    #: The name of the transport.
    transport: str
    #: The server's URL, without a trailing slash.
    url: str
    #: Path of the CA bundle to trust.
    ca_file: str
    #: Paths of the client certificate and its key.
    client: tuple[str, str]
    #: The requests, all at once.
    calls: tuple[Call, ...]
    #: Whether to tell each attempt, with the times of its stages.
    in_detail: bool = False

    def to_plain(self) -> dict[str, Any]:
        """What `json.dumps` can write."""
        return dataclasses.asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Order:
        """Read back what `to_plain` returned."""
        calls = tuple(Call(**call) for call in plain["calls"])
        return cls(**{**plain, "client": tuple(plain["client"]), "calls": calls})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request."""

    #: Its X-Request-Id.
    request_id: str
    #: Its method.
    method: str
    #: None when the right response came, else what went wrong.
    error: str | None = None
    #: The stage in which its last attempt failed, or "done"; None when the transport does not tell.
    stage: str | None = None
    #: How many attempts there were; 0 when the transport does not tell.
    attempts: int = 0
    #: Bytes of the response's body that came.
    body_bytes: int = 0
    #: Their SHA-256, in hex.
    digest: str = ""
    #: Seconds from the beginning of the start to the beginning of this request.
    began: float = 0.0
    #: Seconds from the beginning of the start to the end of this request.
    seconds: float = 0.0
    #: Its attempts, if they were to be told and the transport tells.
    history: tuple[Attempt, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """What `json.dumps` can write."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**plain, "history": [attempt.as_dict() for attempt in self.history]}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Outcome:
        """Read back what `to_plain` returned."""
        return cls(**{**plain, "history": tuple(map(_attempt, plain["history"]))})


def _attempt(plain: dict[str, Any]) -> Attempt:
    stages = tuple((stage, began) for stage, began in plain["stages"])
    return Attempt(**{**plain, "stages": stages})


@dataclass(frozen=True, slots=True)
class Start:
    """What came of one start: a fresh process and its requests."""

    #: One for each call, in their order.
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> bool:
        """Whether any of its requests failed."""
        return any(outcome.error for outcome in self.outcomes)

    @property
    def seconds(self) -> float:
        """How long the slowest request took."""
        return max(outcome.seconds for outcome in self.outcomes)

    def to_plain(self) -> dict[str, Any]:
        """What `json.dumps` can write."""
        return {"outcomes": [outcome.to_plain() for outcome in self.outcomes]}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Start:
        """Read back what `to_plain` returned."""
        return cls(tuple(map(Outcome.from_plain, plain["outcomes"])))
