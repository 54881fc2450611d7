"""What happened in a call: its attempts, as frozen values that hold no secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


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
    #: The response's status; None when none came.
    status: int | None
    #: Bytes of the request handed to the socket, headers and framing included, TLS not.
    bytes_out: int
    #: Bytes of the response's body that came, as encoded on the wire.
    bytes_in: int
    #: Whether the connection had carried a request before.
    reused: bool
    #: Whether its TLS session was resumed.
    resumed: bool
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

    def __str__(self) -> str:
        outcome = self.error or f"status {self.status}"
        how = "reused" if self.reused else "resumed" if self.resumed else "new"
        return (
            f"attempt {self.number}: {outcome} at stage {self.stage} after {self.seconds:.3f} s "
            f"({how} connection, {self.bytes_out} bytes out, {self.bytes_in} in); {self.decision}"
        )


@dataclass(frozen=True, slots=True)
class Warmed:
    """A connection that `ResilientAdapter.warm` has found or made."""

    #: "TLSv1.3" and the like; None without TLS, and for one that was there already.
    tls_version: str | None
    #: Whether its TLS session was resumed.
    resumed: bool
    #: Whether it was there already.
    reused: bool
    #: Seconds from the start to the ready connection, repetitions and their pauses included.
    seconds: float
    #: How it came about.
    attempts: Attempts


class Attempts(tuple[Attempt, ...]):
    """The attempts of a call in their order; its `str` tells the story, a line each.

    Of more than a hundred, as a body of gigabytes may take, the first and the last fifty are kept.
    """

    __slots__ = ()

    def __str__(self) -> str:
        told, before = [], 0
        for attempt in self:
            if attempt.number > before + 1:
                told.append(f"... {attempt.number - before - 1} attempts more ...")
            told.append(str(attempt))
            before = attempt.number
        return "\n".join(told)


def attempts_of(outcome: Any) -> Attempts:
    """The attempts of the call that an exception or a response came from.

    Args:
        outcome: a `requests.Response` or an exception.

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
    return Attempts()
