"""Keep-alive: what the server says of its connections, and what it does with them.

RFC 9112 section 9.3 (Connection), RFC 2068 section 19.7.1.1 (Keep-Alive: timeout, max). A server that closes
each connection is set so, and that is no fault. To say that it keeps one, and to close it, is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ....connection.keepalive import SPARE, hints
from ....retry.causes import Cause
from ..finding import Finding, fail, ok, skipped, warn
from ..line import FAILURES, Ended, Line, Trouble
from ..root import Root
from ..section import Check, Section
from ..visit import Visit

#: Requests on a connection, and connections: one that fails by chance is no proof.
REQUESTS: Final = 3
LINES: Final = 2
#: Seconds for which the end of a connection is waited for that the server has announced, or denied.
_MOMENT: Final = 0.15
#: The longest time-out of a server's that is waited for, in seconds.
_SHORT: Final = 3.0
#: Seconds by which a server may close sooner than it says.
_EARLY: Final = 0.5
#: A body of more bytes is not asked for again: HEAD is, instead.
_LARGE: Final = 1_000_000
_CLOSES: Final = (
    'ask the operator of the server to send "Connection: close" with the last response on a connection'
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One request on a connection that is kept."""

    #: The response's status; None: there was none.
    status: int | None
    #: 10 for HTTP/1.0, 11 for HTTP/1.1.
    version: int
    #: Whether the server says that it keeps the connection.
    keeps: bool
    #: Its `Keep-Alive`: seconds, and how many more requests.
    timeout: float | None
    most: int | None
    #: The connection's end, as far as it was watched right after the response; None: it is still open.
    ended: Ended | None
    #: What was met; None: nothing.
    trouble: Trouble | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nothing has come."""
        return self.status is None and self.trouble is not None and self.trouble.cause is Cause.TIMEOUT


@dataclass(frozen=True, slots=True)
class Measured:
    """Connections that were used for several requests, until the server ended them."""

    #: The requests of each.
    lines: tuple[tuple[Turn, ...], ...]
    #: Whether it was waited for what the server says, and the end that was met; None: it stayed open.
    waited: bool = False
    ended: Ended | None = None

    @property
    def first(self) -> Turn | None:
        """The first response; None: there was none."""
        return next((line[0] for line in self.lines if line[0].status is not None), None)

    @property
    def is_silent(self) -> bool:
        """Whether the server says nothing at all."""
        return all(line[0].is_silent for line in self.lines)

    @property
    def broken(self) -> tuple[Turn, ...]:
        """Of each connection that was to be kept and was not, how it ended."""
        return tuple(line[-1] for line in self.lines if _is_broken(line))


def _is_broken(line: tuple[Turn, ...]) -> bool:
    """Whether the server has ended a connection that it said it keeps."""
    if line[0].status is None:
        return False
    last = line[-1]
    if not last.keeps or last.most == 0:
        return False
    return last.ended is not None or (last.status is None and len(line) > 1)


def measure(visit: Visit) -> Measured:
    """Use a connection three times, and another one if the first was not kept as it was said."""
    lines: list[tuple[Turn, ...]] = []
    waited, ended = False, None
    while len(lines) < LINES and (not lines or _is_worth_another(lines[-1])):
        with visit.kept(visit.line(), f"kept by hand, connection {len(lines) + 1}") as line:
            turns = _turns(visit, line)
            lines.append(turns)
            seconds = _worth_waiting(visit, turns)
            if seconds:
                waited, ended = True, line.end_within(seconds)
    return Measured(tuple(lines), waited, ended)


def _is_worth_another(line: tuple[Turn, ...]) -> bool:
    """Whether what a connection has shown may be chance; to wait for a silent server again takes too long."""
    return _is_broken(line) or (line[-1].trouble is not None and not line[0].is_silent)


def _turns(visit: Visit, line: Line) -> tuple[Turn, ...]:
    """Use a connection until its end, or often enough."""
    turns: list[Turn] = []
    try:
        visit.connect(line)
        large = False
        while len(turns) < REQUESTS and (not turns or _goes_on(turns[-1])):
            turn, large = _turn(line, large)
            turns.append(turn)
            if line.answer is not None and line.answer.is_left:
                # Its body is not read to its end, so that nothing else can be asked for there.
                turns.clear()
                line.close()
                visit.connect(line)
    except FAILURES:
        # What was said of the connection before is what this one has relied on.
        keeps = not turns or turns[-1].keeps
        turns.append(Turn(None, 11, keeps, None, None, None, line.trouble))
    return tuple(turns)


def _goes_on(turn: Turn) -> bool:
    return turn.keeps and turn.ended is None and turn.trouble is None


def _turn(line: Line, large: bool) -> tuple[Turn, bool]:
    answer = line.ask("HEAD" if large else "GET")
    timeout, most = hints(answer.headers.get("keep-alive", ""))
    ended = None if answer.cut or answer.is_left else line.end_within(_MOMENT)
    turn = Turn(answer.status, answer.version, answer.keeps, timeout, most, ended, answer.cut)
    return turn, large or answer.is_left or answer.body_bytes > _LARGE


def _worth_waiting(visit: Visit, turns: tuple[Turn, ...]) -> float:
    """For how many seconds it is worth to wait for the server's end of the connection; 0: not at all."""
    said = turns[-1].timeout
    if not _goes_on(turns[-1]) or said is None or said > min(_SHORT, visit.options.timeout):
        return 0.0
    return said + _EARLY


def judge(measured: Measured) -> Iterator[Finding]:
    """Compare the server's word with what it does."""
    first = measured.first
    if first is None:
        yield from (skipped(check.name, "no response came") for check in CHECKS)
        return
    yield _word(first)
    yield _reuse(measured, first)
    yield _timeout(measured, first)


def _word(first: Turn) -> Finding:
    version = "HTTP/1.0" if first.version == 10 else "HTTP/1.1"
    if not first.keeps:
        text = "the server closes each connection, so each call needs a new one"
        return ok("keep-alive.word", text, version)
    said = [f"timeout {first.timeout:g} s"] if first.timeout is not None else []
    said += [f"max {first.most}"] if first.most is not None else []
    return ok(
        "keep-alive.word", "the server says that it keeps connections open", ", ".join([version, *said])
    )


def _reuse(measured: Measured, first: Turn) -> Finding:
    check = "keep-alive.reuse"
    broken = measured.broken
    kept = max(sum(turn.status is not None for turn in line) for line in measured.lines)
    value = f"{kept} requests on a connection" if kept > 1 else ""
    if len(broken) < LINES:
        if not first.keeps:
            closed = "it does" if first.ended is not None else "it waits for the client to do so"
            return ok(check, f"the server says that it closes the connection, and {closed}")
        return ok(check, "the server keeps a connection open for the next request", value)
    last = broken[0]
    if last.ended is not None:
        text = f"the server says that it keeps the connection, and closes it at once ({last.ended.how})"
        return warn(check, text, _CLOSES, f"after request {kept}", Root.KEEP_ALIVE)
    silent = last.trouble is not None and last.trouble.cause is Cause.TIMEOUT
    told = "is not answered" if silent else f"fails ({last.trouble.error if last.trouble else 'no response'})"
    text = f"the server says that it keeps the connection, and the next request on it {told}"
    return fail(check, text, _CLOSES, f"after request {kept}", Root.KEEP_ALIVE, blocks=False)


def _timeout(measured: Measured, first: Turn) -> Finding:
    check, said = "keep-alive.timeout", first.timeout
    if not first.keeps or measured.broken:
        return skipped(check, "no connection is kept")
    if said is None:
        return ok(
            check, "the server does not say how long it keeps an idle connection; --hold 55 measures it"
        )
    value = f"timeout {said:g} s"
    if not measured.waited:
        return ok(
            check, f"the server says how long it keeps an idle connection; --hold {said:g} checks it", value
        )
    ended = measured.ended
    if ended is None or ended.seconds >= said - _EARLY:
        return ok(check, "the server keeps an idle connection for as long as it says", value)
    text = f"the server says that it keeps an idle connection for {said:g} s, and closes it sooner"
    shorter = max(0.1, round(ended.seconds * 0.8, 1))
    hint = f"export RESILIENT_TRANSPORT_IDLE_TIMEOUT={shorter:g}"
    if ended.seconds >= said - SPARE:
        return ok(check, f"{text}; the adapter does so {SPARE:g} s before", f"{value}, {ended.seconds:.1f} s")
    return warn(check, text, hint, f"{value}, closed after {ended.seconds:.1f} s", Root.KEEP_ALIVE)


CHECKS: Final = (
    Check("keep-alive.word", "what the server says of its connections"),
    Check("keep-alive.reuse", "whether it keeps one for the next request"),
    Check("keep-alive.timeout", "whether it keeps an idle one for as long as it says"),
)

KEEP_ALIVE: Final = Section(
    "keep-alive",
    "Keep-alive",
    CHECKS,
    measure,
    judge,
    needs=("name", "connect", "proxy", "tls", "server-certificate", "client-certificate"),
    # A page that is left before its end is asked for once more, by HEAD.
    requests=lambda _: (REQUESTS + 1) * LINES,
    idle_because=Visit.why_mute,
)
