"""What happened in a call: its attempts, as frozen values that hold no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from ..util.frozen import dataclass


class Attempt(NamedTuple):
    """One attempt of a call: how far it got, what it moved, and what was decided after it.

    It holds no URL, no header value and no key material, so it may be logged and pickled.
    """

    # A tuple, since every call makes one: a frozen dataclass takes four times as long to make.

    #: 1 for the first attempt.
    number: int
    #: How far it got (a `Stage`): "done" when its response was handed to the caller.
    stage: str
    #: The type and reason of the failure; None when a response came.
    error: str | None
    #: The response's status; None when none came, as when `warm` only connects.
    status: int | None
    #: Bytes of the request handed to the socket, headers and framing included, TLS not.
    bytes_out: int
    #: Bytes of the response's body that came, as encoded on the wire.
    bytes_in: int
    #: Whether the connection had carried a request before.
    reused: bool
    #: Whether its connection resumed a TLS session.
    tls_resumed: bool
    #: Whether it went on with a body that was cut, instead of asking for all of it.
    body_resumed: bool
    #: Whether it opened nothing, and shared the failure of another call that was connecting.
    shared: bool
    #: Seconds from the start of the call to the start of this attempt.
    started: float
    #: Seconds that the attempt took, without the pause after it.
    seconds: float
    #: Seconds that the connection took to be made (waiting, TCP, proxy, TLS, proof); 0 when it was reused.
    connecting: float
    #: Seconds waited before the next attempt; None when none followed.
    delay: float | None
    #: What was decided after it, and why.
    decision: str
    #: Where its connection leads, or was tried to last: "192.0.2.1:443", "[2001:db8::1]:443"; the proxy's, if
    #: there is one. None: it had none, or somebody else has made it.
    address: str | None = None
    #: When each stage began that takes time (up to "body"), in seconds from the attempt's start; empty where
    #: nobody listened.
    stages: tuple[tuple[str, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Its fields by name, in types that JSON has."""
        stages = [[stage, began] for stage, began in self.stages]
        return {**self._asdict(), "stage": str(self.stage), "stages": stages}

    def __str__(self) -> str:
        return f"{self._outcome()}; {self.decision}"

    def _outcome(self) -> str:
        outcome = self.error or outcome_of(self.status)
        return (
            f"attempt {self.number}: {outcome} at stage {self.stage} after {self.seconds:.3f} s "
            f"({self._connection()}, {self.bytes_out} bytes out, {self.bytes_in} in)"
        )

    def _connection(self) -> str:
        if self.shared:
            return "no connection of its own: another call's failure"
        where = f" to {self.address}" if self.address else ""
        if self.reused:
            return f"reused connection{where}"
        return f"new connection{where}{', TLS session resumed' if self.tls_resumed else ''}"

    def _kind(self) -> tuple[Any, ...]:
        """What it has in common with others like it: all but its number, its times and its bytes."""
        alike = (self.stage, self.error, self.status, self.reused, self.tls_resumed, self.shared)
        return (*alike, self.address, _NUMBER.sub("", self.decision))


#: What differs between decisions that are otherwise alike: seconds, and places in a body.
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


def outcome_of(status: int | None) -> str:
    """What came of what has not failed; where there is no status, nothing was asked."""
    return "connected" if status is None else f"status {status}"


@dataclass(frozen=True, slots=True)
class Warmed:
    """A connection that `ResilientAdapter.warm` has found or made."""

    #: "TLSv1.3" and the like; None without TLS, and for one that was there already.
    tls_version: str | None
    #: Whether its TLS session was resumed.
    tls_resumed: bool
    #: Whether it was there already.
    reused: bool
    #: Seconds from the start to the ready connection, repetitions and their pauses included.
    seconds: float
    #: How it came about.
    attempts: Attempts


class Attempts(tuple[Attempt, ...]):
    """The attempts of a call in their order.

    Its `str` tells the story: a line that sums it up, then each attempt, with those that are alike folded. Of
    more than a hundred, as a body of gigabytes may take, the first and the last fifty are kept.
    """

    __slots__ = ()

    def as_dicts(self) -> list[dict[str, Any]]:
        """The fields of each attempt by name, in types that JSON has."""
        return [attempt.as_dict() for attempt in self]

    def summary(self) -> str:
        """The story in one line."""
        if not self:
            return "no attempt"
        last = self[-1]
        many = "1 attempt" if last.number == 1 else f"{last.number} attempts"
        seconds = last.started + last.seconds - self[0].started
        outcome = last.error or last.status or "connected"
        return f"{many} in {seconds:.3f} s, the last at stage {last.stage}: {outcome}"

    def __str__(self) -> str:
        lines = [_shortened(self.summary())] if self else []
        before = 0
        for alike in _folded(self):
            first, last = alike[0], alike[-1]
            if first.number > before + 1:
                lines.append(f"... {first.number - before - 1} attempts more ...")
            lines += [*_wrapped(f"{first._outcome()};"), *_wrapped(first.decision, "    ")]
            if len(alike) == 2:
                lines.append(f"attempt {last.number}: alike")
            elif len(alike) > 2:
                lines.append(f"attempts {alike[1].number}\u2013{last.number}: alike")
            before = last.number
        return "\n".join(lines)


#: The longest line of a story.
_WIDTH: Final = 118


def _folded(attempts: Iterable[Attempt]) -> list[list[Attempt]]:
    """Attempts that follow one another and are alike, together."""
    groups: list[list[Attempt]] = []
    for attempt in attempts:
        latest = groups[-1][-1] if groups else None
        follows = latest is not None and attempt.number == latest.number + 1
        if latest is not None and follows and attempt._kind() == latest._kind():
            groups[-1].append(attempt)
        else:
            groups.append([attempt])
    return groups


def _shortened(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."


def _wrapped(text: str, indent: str = "") -> list[str]:
    """A text in lines of bearable length; a word that is longer than that is cut."""
    # Not by `textwrap`: it is not imported otherwise, and no import may follow a failure.
    lines, (first, *words) = [], text.split(" ")
    line = indent + first
    for word in words:
        if len(line) + 1 + len(word) > _WIDTH:
            lines.append(line)
            line = f"    {word}"
        else:
            line = f"{line} {word}"
    return [*map(_shortened, [*lines, line])]


def attempts_of(outcome: Any) -> Attempts:
    """The attempts of the call that an exception or a response came from.

    Args:
        outcome: a `requests.Response` or an exception; that of `raise_for_status` has its response's.

    Returns:
        The attempts, oldest first; empty when this transport did not make it.
    """
    seen: set[int] = set()
    ahead = [outcome]
    while ahead:
        found = ahead.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        told = getattr(found, "attempts", ())
        if isinstance(told, Attempts):
            return told
        if isinstance(found, BaseException):
            # What requests makes of an error in a body has that error in it.
            inner = (*found.args, found.__cause__, found.__context__)
            ahead += [one for one in inner if isinstance(one, BaseException)]
            ahead.append(getattr(found, "response", None))
    return Attempts()
