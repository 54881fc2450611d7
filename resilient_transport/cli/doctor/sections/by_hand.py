"""The control, which tells whether it is the network or the client.

The same page is asked for with `socket` and `ssl` by hand, by the session as it is, and by the adapter. Where
the first works and the second does not, the network is fine, and the client is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Final
from urllib.parse import urljoin

from ....retry.causes import Cause
from ....util.origin import origin_at
from ..chance import leans
from ..finding import Finding, fail, ok, unknown, warn
from ..hints import MOUNT, why_it_ends
from ..line import FAILURES, Trouble
from ..program_calls import OURS, SILENT, STOCK, Call, calls, compared, failed, hollow, takes_long, usual
from ..root import Root
from ..section import Check, Section
from ..trouble import root_at, where
from ..visit import Visit
from .keep_alive import Measured as KeptConnections

#: How often each way is tried: of calls of which a third fails, all eight work once in 25 times.
TRIALS: Final = 8
#: What a page may demand that nobody shows by hand.
_ABOUT_CREDENTIALS: Final = frozenset({401, 403, 407})


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
    #: The page, without its query.
    url: str = ""

    def compare(self) -> str:
        """How the calls went, in a sentence for each."""
        return compared(self.stock, self.ours)


def measure(visit: Visit) -> Measured:
    """Ask for the page a few times in each way, each time on a new connection."""
    before = visit.of("keep-alive", KeptConnections)
    was_silent = before is not None and before.is_silent and not visit.was_answered
    enough = 1 if was_silent or visit.is_mute else SILENT
    by_hand: list[ByHand] = []
    until = monotonic() + 2 * visit.options.timeout
    while len(by_hand) < TRIALS and not _are_silent(by_hand, enough):
        if len(by_hand) >= SILENT and monotonic() > until:
            break
        by_hand.append(_by_hand(visit, len(by_hand) + 1))
    stock = calls(visit, STOCK, 1 if _are_silent(by_hand, enough) else TRIALS)
    ours = calls(visit, OURS, 1 if takes_long(stock) else TRIALS)
    return Measured(tuple(by_hand), stock, ours, visit.target.shown)


def _are_silent(made: list[ByHand], enough: int) -> bool:
    """Whether all were silent, and enough of them were made to say so."""
    silent = [one for one in made if one.trouble is not None and one.trouble.cause is Cause.TIMEOUT]
    return len(silent) == len(made) >= enough


def _by_hand(visit: Visit, number: int) -> ByHand:
    with visit.kept(visit.line(), f"GET by hand, call {number}") as line:
        try:
            visit.connect(line)
            # With TLS 1.3, what goes wrong in the handshake comes to light only here.
            line.confirm()
            answer = line.ask()
        except FAILURES:
            return ByHand(None, line.trouble)
        return ByHand(answer.status, answer.cut)


def judge(measured: Measured) -> Iterator[Finding]:
    """Say which of the three works."""
    troubles = [one.trouble for one in measured.by_hand if one.trouble is not None]
    yield _of_network(measured, troubles)
    yield from _of_stock(measured, troubles)
    yield _of_client("control.adapter", measured, measured.ours, troubles)
    yield _of_statuses(measured)


def _of_network(measured: Measured, troubles: list[Trouble]) -> Finding:
    tried = len(measured.by_hand)
    value = f"{tried - len(troubles)} of {tried} came whole"
    if not troubles:
        return ok("control.by-hand", "socket and ssl alone get the page", value)
    (phase, cause), _ = Counter((one.phase, one.cause) for one in troubles).most_common(1)[0]
    told = next(one.error for one in troubles if (one.phase, one.cause) == (phase, cause))
    return fail(
        "control.by-hand",
        f"socket and ssl alone fail in {len(troubles)} of {tried} requests, {where(phase)} ({told})",
        why_it_ends() if len(troubles) == tried or failed(measured.ours) else MOUNT,
        value,
        root_at(phase, cause),
        blocks=len(troubles) == tried,
    )


def _of_stock(measured: Measured, troubles: list[Trouble]) -> Iterator[Finding]:
    empty = hollow(measured.stock, measured.ours)
    if failed(measured.stock) or not empty:
        yield _of_client("control.stock", measured, measured.stock, troubles)
    if empty:
        yield fail(
            "control.stock",
            "stock requests takes a response whose head was cut for a whole one, and gives an empty body",
            MOUNT,
            f"{len(empty)} of {len(measured.stock)} empty",
            Root.REQUEST_RESET,
            blocks=False,
        )


def _of_adapter(measured: Measured, troubles: list[Trouble]) -> Finding:
    if not measured.ours:
        return unknown("control.adapter")
    return _of_client("control.adapter", measured, measured.ours, troubles)


def _of_client(check: str, measured: Measured, made: tuple[Call, ...], troubles: list[Trouble]) -> Finding:
    """There are four cases: it works, by hand it fails as well, it fails more often, and it fails once."""
    lost = failed(made)
    who, value = made[0].transport, f"{len(made) - len(lost)} of {len(made)} answered"
    if not lost:
        return ok(check, f"{who} gets the page", value)
    phase, cause, told = usual(lost)
    if troubles:
        return warn(check, f"{who} fails, too ({told})", "do what control.by-hand says", value, Root.OTHER)
    hint = "--json > doctor.json   # its section control has each attempt" if failed(measured.ours) else MOUNT
    root, blocks = root_at(phase, cause), False
    if leans(((0, len(measured.by_hand)), (len(lost), len(made)))):
        text = f"the network is fine, but {who} fails {where(phase)} ({told})"
        return fail(check, text, hint, value, root, blocks)
    text = f"{who} fails now and then, {where(phase)} ({told})"
    return fail(check, text, hint, value, root, blocks)


def _of_statuses(measured: Measured) -> Finding:
    by_calls = [call.status for call in (*measured.stock, *measured.ours) if call.status is not None]
    by_hand = [one.status for one in measured.by_hand if one.status is not None]
    if any(status < 400 for status in by_calls):
        # By hand, nothing is shown of what the program's session has: a token, a cookie.
        by_hand = [status for status in by_hand if status not in _ABOUT_CREDENTIALS]
    statuses = Counter(by_calls + by_hand)
    value = ", ".join(f"{count} x status {status}" for status, count in sorted(statuses.items()))
    if not statuses:
        return ok("control.status", "no response came")
    bad = Counter({status: count for status, count in statuses.items() if status >= 400})
    if not bad:
        return ok("control.status", _elsewhere(measured) or "no response is an error", value)
    status = bad.most_common(1)[0][0]
    text = f"the server answers with status {status}"
    return warn("control.status", text, _about_status(status), value, Root.STATUS)


def _elsewhere(measured: Measured) -> str:
    """Where answers lead that are redirections: that page was not looked at. Empty: none does."""
    for call in measured.stock:
        if call.status is not None and 300 <= call.status < 400 and "location" in call.headers:
            to = origin_at(urljoin(measured.url, call.headers["location"]))
            there = "another page of this server" if to == origin_at(measured.url) else to
            return f"each answer leads to {there}, which is not examined here"
    return ""


def _about_status(status: int) -> str:
    if status in _ABOUT_CREDENTIALS:
        return "--session MODULE:FACTORY   # your program's session, with its credentials"
    if status == 429:
        return "wait a minute, and make fewer calls"
    if status >= 500:
        return "ask the operator of the server what its log says"
    return "check the path of the URL"


CONTROL: Final = Section(
    "control",
    "Control",
    (
        Check("control.by-hand", "whether socket and ssl alone get the page"),
        Check("control.stock", "whether the session as it is gets the page"),
        Check("control.adapter", "whether the adapter gets the page"),
        Check("control.status", "which statuses came"),
    ),
    measure,
    judge,
    needs=("settings", "name", "connect", "proxy", "tls", "server-certificate", "client-certificate"),
    requests=lambda _: 3 * TRIALS,
)
