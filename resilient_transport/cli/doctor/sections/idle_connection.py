"""Idle: a connection is held for `--hold` seconds without a word, and then used again.

There are four ends. It works. The server has closed it, and said so by a FIN. It is reset when it is used. Or
nothing comes back: something on the way, such as a firewall, has forgotten it and tells nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from ....connection.keepalive import hints
from ....retry.causes import Cause
from ....settings import environment
from ..finding import Finding, fail, ok, skipped, warn
from ..hints import MOUNT
from ..line import FAILURES, Answer, Ended, Line, Trouble
from ..root import Root
from ..section import Check, Section
from ..visit import Visit

_CHECK: Final = "idle.line"
#: The share of the time after which a server was seen to close that is told as safe.
_SAFE: Final = 0.8
#: Seconds by which a server may close sooner than it says.
_EARLY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a connection that was held."""

    #: Seconds for which it was to be held.
    hold: float
    #: Seconds for which the adapter keeps an idle connection.
    idle_timeout: float
    #: Why it could not be held, such as a request before that has failed; None: it was.
    unheld: str | None = None
    #: Seconds for which the server says that it keeps one; None: it does not say.
    told: float | None = None
    #: Its end while it was held; None: it stayed open.
    ended: Ended | None = None
    #: What the request afterwards has met; None: nothing, or none was made.
    trouble: Trouble | None = None


def measure(visit: Visit) -> Measured:
    """Use a connection twice, hold it, and use it once more."""
    measured = Measured(visit.options.hold, idle_timeout_in_force())
    with visit.kept(visit.line(), "held by hand") as line:
        try:
            visit.connect(line)
            if (why := _unheld(line.ask())) or (why := _unheld(answer := line.ask())):
                return replace(measured, unheld=why)
        except FAILURES:
            return replace(measured, unheld=_told_of(line.trouble))
        told, _ = hints(answer.headers.get("keep-alive", ""))
        return _held(visit, line, replace(measured, told=told))


def _unheld(answer: Answer) -> str | None:
    if answer.cut is not None:
        return f"a body was cut before, {answer.cut.error}"
    if answer.is_left:
        return "the page is too large, or never ends: name another one"
    return None if answer.keeps else "the server keeps no connection"


def _told_of(trouble: Trouble | None) -> str:
    return f"a request failed before, {trouble.error}" if trouble else "a request failed before"


def _held(visit: Visit, line: Line, measured: Measured) -> Measured:
    hold = measured.hold
    ended = line.end_within(hold, lambda passed: visit.progress(f"held idle for {passed:.0f} of {hold:g} s"))
    if ended is not None:
        return replace(measured, ended=ended)
    try:
        return replace(measured, trouble=line.ask().cut)
    except FAILURES:
        return replace(measured, trouble=line.trouble)


def idle_timeout_in_force() -> float:
    """Seconds for which the adapter keeps an idle connection, unless its constructor says otherwise."""
    try:
        return float(environment.value("idle_timeout"))
    except ValueError:
        # Another section tells of it.
        return float(environment.default("idle_timeout"))


def judge(measured: Measured) -> Iterator[Finding]:
    """Say what becomes of an idle connection, and what that means for the next request."""
    if measured.unheld is not None:
        yield skipped(_CHECK, measured.unheld)
    elif measured.ended is not None:
        yield _closed(measured, measured.ended)
    elif measured.trouble is not None:
        yield _dead(measured, measured.trouble)
    else:
        yield ok(_CHECK, "a connection that was idle still works", f"{measured.hold:g} s")


def _closed(measured: Measured, ended: Ended) -> Finding:
    """The client can see it before it sends; what crosses the end on its way is lost all the same."""
    value = f"closed after {ended.seconds:.1f} s, {ended.how}"
    if measured.told is not None and ended.seconds >= measured.told - _EARLY:
        return ok(
            _CHECK, f"the server closes an idle connection after {measured.told:g} s, as it says", value
        )
    if ended.seconds >= measured.idle_timeout:
        text = f"the adapter closes an idle connection before the server does ({measured.idle_timeout:g} s)"
        return ok(_CHECK, text, value)
    said = "before it says" if measured.told is not None else "and does not say when"
    text = f"the server closes an idle connection {said}: a POST that is sent just then is lost"
    return warn(_CHECK, text, _shorter(ended.seconds * _SAFE), value, Root.IDLE_CLOSED)


def _dead(measured: Measured, trouble: Trouble) -> Finding:
    """Nobody can see it before something is sent."""
    silent = trouble.cause is Cause.TIMEOUT
    what = "nothing comes back" if silent else f"it fails ({trouble.error})"
    text = f"a connection that was idle is dead, and only its use shows that: {what}"
    value, hint = f"held for {measured.hold:g} s", _shorter(measured.hold / 2)
    if measured.hold >= measured.idle_timeout:
        text = f"{text}. The adapter uses no connection that was idle for {measured.idle_timeout:g} s"
        hint = MOUNT
        return warn(_CHECK, text, hint, value, Root.IDLE_CLOSED)
    return fail(_CHECK, text, hint, value, Root.IDLE_CLOSED, blocks=False)


def _shorter(seconds: float) -> str:
    return f"export RESILIENT_TRANSPORT_IDLE_TIMEOUT={max(0.1, round(seconds, 1)):g}"


IDLE: Final = Section(
    "idle",
    "Idle connections",
    (Check(_CHECK, "whether a connection that was idle for --hold seconds can be used"),),
    measure,
    judge,
    needs=("name", "connect", "proxy", "tls", "server-certificate", "client-certificate"),
    requests=lambda options: 3 if options.hold else 0,
    idle_because=lambda visit: visit.why_mute() if visit.options.hold else "not asked for: --hold",
)
