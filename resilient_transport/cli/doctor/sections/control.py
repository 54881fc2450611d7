"""The control, which tells whether it is the network or the client.

The same page is asked for with `socket` and `ssl` by hand, by the session as it is, and by the adapter. Where
the first works and the second does not, the network is fine, and the client is not.
"""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ....retry.causes import Cause
from ....waterfall.chart import Phase
from ..calls import OURS, STOCK, Call, calls
from ..finding import Finding, fail, ok, warn
from ..line import Trouble
from ..root import Root
from ..section import Check, Section
from ..visit import Visit

#: How often each way is tried: of calls of which a third fails, all eight work once in 25 times.
TRIALS: Final = 8
#: After so many that were silent one after the other, and nothing else, it stops: more would take minutes.
_SILENT: Final = 2


@dataclass(frozen=True, slots=True)
class ByHand:
    """What came of one request by hand."""

    #: The response's status; None: there was none.
    status: int | None
    #: What was met; None: nothing.
    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class Measured:
    """The same page, asked for in three ways."""

    #: With `socket` and `ssl` alone.
    by_hand: tuple[ByHand, ...]
    #: By the session as it is, and by the adapter.
    stock: tuple[Call, ...]
    ours: tuple[Call, ...]

    def compare(self) -> str:
        """How the calls went, in one sentence."""
        return f"{_failed(self.stock)} {_failed(self.ours)}"


def measure(visit: Visit) -> Measured:
    """Ask for the page a few times in each way, each time on a new connection."""
    by_hand: list[ByHand] = []
    while len(by_hand) < TRIALS and not _is_silent(by_hand):
        by_hand.append(_by_hand(visit, len(by_hand) + 1))
    count = len(by_hand)
    return Measured(tuple(by_hand), calls(visit, STOCK, count), calls(visit, OURS, count))


def _is_silent(made: list[ByHand]) -> bool:
    """Whether all were silent, and enough of them were made to say so."""
    silent = [one for one in made if one.trouble is not None and one.trouble.cause is Cause.TIMEOUT]
    return len(silent) == len(made) >= _SILENT


def _by_hand(visit: Visit, number: int) -> ByHand:
    with visit.kept(visit.line(), f"GET by hand, call {number}") as line:
        try:
            line.dial()
            line.tunnel()
            line.shake_hands(visit.context())
            answer = line.ask()
        except (OSError, http.client.HTTPException, ValueError):
            return ByHand(None, line.trouble)
        return ByHand(answer.status, answer.cut)


def judge(measured: Measured) -> Iterator[Finding]:
    """Say which of the three works."""
    troubles = [one.trouble for one in measured.by_hand if one.trouble is not None]
    yield _of_network(troubles, len(measured.by_hand))
    yield _of_client("control.stock", measured.stock, troubles)
    yield _of_client("control.adapter", measured.ours, troubles)
    yield _of_statuses(measured)


def _of_network(troubles: list[Trouble], tried: int) -> Finding:
    value = f"{tried - len(troubles)} of {tried} whole"
    if not troubles:
        return ok("control.by-hand", "the page comes whole by socket and ssl alone", value)
    (phase, cause), _ = Counter((one.phase, one.cause) for one in troubles).most_common(1)[0]
    told = next(one.error for one in troubles if (one.phase, one.cause) == (phase, cause))
    return fail(
        "control.by-hand",
        f"by socket and ssl alone, {len(troubles)} of {tried} requests fail at {phase.value} ({told})",
        "have who runs the server, or what stands before it, look for why it ends connections",
        value,
        root_of(phase, cause),
    )


def root_of(phase: Phase, cause: Cause) -> Root:
    """What a trouble at a step comes from, where nothing more is known."""
    if cause is Cause.DAMAGED:
        return Root.DAMAGED
    if cause is Cause.UNPARSABLE:
        return Root.GARBLED
    silent = cause is Cause.TIMEOUT
    if phase in (Phase.HANDSHAKE, Phase.CONFIRM):
        return Root.HANDSHAKE_SILENT if silent else Root.HANDSHAKE_RESET
    if phase is Phase.BODY:
        return Root.SILENT if silent else Root.CUT_BODY
    return Root.SILENT if silent else Root.REQUEST_RESET


def _of_client(check: str, made: tuple[Call, ...], troubles: list[Trouble]) -> Finding:
    failed = [call for call in made if call.error is not None]
    who, value = made[0].transport, f"{len(made) - len(failed)} of {len(made)} answered"
    if not failed:
        return ok(check, f"{who} gets the page", value)
    if troubles:
        return warn(
            check, f"{who} fails as well ({failed[0].error})", "see control.by-hand", value, Root.OTHER
        )
    return fail(
        check, f"the network is fine, and {who} fails ({failed[0].error})",
        "see the settings above, and the attempts in --json", value, Root.REQUEST_RESET,
    )  # fmt: skip


def _of_statuses(measured: Measured) -> Finding:
    groups = (
        [one.status for one in measured.by_hand],
        [one.status for one in measured.stock],
        [one.status for one in measured.ours],
    )
    statuses = Counter(status for group in groups for status in group if status is not None)
    value = ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))
    if bad := [status for status in statuses if status >= 400]:
        text = f"the server answers with status {bad[0]}"
        return warn(
            "control.status",
            text,
            "check the path and what the page wants (a token, a login)",
            value,
            Root.STATUS,
        )
    return ok("control.status", "no answer is an error", value)


def _failed(made: tuple[Call, ...]) -> str:
    failed = sum(call.error is not None for call in made)
    return f"{made[0].transport[:1].upper()}{made[0].transport[1:]}: {failed} of {len(made)} calls failed."


CONTROL: Final = Section(
    "control",
    "Control",
    (
        Check("control.by-hand", "whether the page comes by socket and ssl alone"),
        Check("control.stock", "whether the session as it is gets the page"),
        Check("control.adapter", "whether the adapter gets the page"),
        Check("control.status", "which statuses came"),
    ),
    measure,
    judge,
    needs=("settings", "name", "connect", "proxy", "tls", "server-certificate", "client-certificate"),
    requests=lambda _: 3 * TRIALS,
)
