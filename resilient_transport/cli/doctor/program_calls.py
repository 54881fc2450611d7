"""Calls as programs make them: by the session as it is, and with the adapter mounted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final

import requests

from ...adapter.adapter import ResilientAdapter
from ...call.redaction import describe
from ...events import AttemptFailed, AttemptStarted, Event, subscribe, unsubscribe
from ...events.attempt import Attempt, Attempts, attempts_of
from ...pool.registry import registry
from ...retry.causes import Cause, classify
from ...retry.policy import STATUSES
from ...settings.override import override
from ...util.origin import origin_at, path_at
from ...waterfall.chart import Phase, Row
from ...waterfall.recorder import recording
from .call_rows import attempt_rows, whole_row
from .failed_at import innermost, phase_by_attempts, phase_by_traceback
from .line import MOST_BYTES
from .visit import Visit

#: The session as it is, which is stock requests unless the program's own has something mounted; and ours.
STOCK: Final = "stock requests"
OURS: Final = "this adapter"

#: After so many calls that were silent one after the other, and nothing else, no more are made in a row: each
#: takes as long as a step may.
SILENT: Final = 2
#: So many times as long as a step may take, a call by the adapter may take, its repetitions included.
_STEPS: Final = 4
#: In a row no further call is made when those before have taken so many times as long as a step may.
_ROW: Final = 2
#: Requests that are left for the sections that follow, whatever the adapter would repeat.
_LEFT: Final = 60
#: Bytes of a body that are read at once: a body that comes slowly is looked at often.
_PIECE: Final = 4096


@dataclass(frozen=True, slots=True)
class Call:
    """What came of one call."""

    #: `STOCK` or `OURS`.
    transport: str
    #: The response's status; None: it has failed.
    status: int | None
    #: Why it has failed, by type and reason; None: it has not.
    error: str | None
    #: What the adapter would call that.
    cause: Cause | None
    #: Its attempts; empty for stock, which does not tell.
    attempts: Attempts
    #: Seconds that it took.
    seconds: float
    #: Bytes of the decoded body.
    body_bytes: int = 0
    #: The response's header, by names in lower case. No value of it is ever shown.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: The step at which it has failed; None: it has not.
    phase: Phase | None = None
    #: Whether the doctor has ended it, since no further request may be sent: what would have come is unknown.
    is_ended: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether it has failed because nothing came."""
        return self.cause is Cause.TIMEOUT


def calls(
    visit: Visit,
    transport: str,
    count: int,
    *,
    together: bool = False,
    url: str | None = None,
) -> tuple[Call, ...]:
    """Make cold calls, each on a session of its own, one after the other or all at once.

    What the adapter's pools remember is forgotten first, so that it starts as cold as stock does. In a row,
    fewer are made if nothing but silence comes. A call that has to be ended, because no further request may
    be sent, is none of those that are returned.

    Args:
        visit: what they are part of; it grants as many requests.
        transport: `STOCK` or `OURS`.
        count: how many.
        together: whether they begin at once, each in a thread of its own.
        url: None: the target's.
    """
    visit.budget.request(count)
    if transport == OURS:
        registry.clear()
    asked = url or visit.target.url

    def one(number: int, most: int) -> Call:
        began = monotonic()
        made = _made(visit, transport, asked, most)
        for row in _rows(visit, f"GET by {transport}, call {number}", began, made, asked):
            visit.add(row)
        return made

    # While somebody records, attempts say when each of their stages began.
    with recording() if transport == OURS else nullcontext():
        if not together:
            return _in_a_row(visit, one, count)
        most = _spare(visit) // count
        made = _together(lambda number: one(number, most), count)
    visit.budget.told(sum(map(_repeated, made)))
    return tuple(call for call in made if not call.is_ended)


def _in_a_row(visit: Visit, one: Callable[[int, int], Call], count: int) -> tuple[Call, ...]:
    made: list[Call] = []
    until = monotonic() + _ROW * visit.options.timeout
    while len(made) < count and not (made and _is_enough(made, until)):
        made.append(one(len(made) + 1, _spare(visit)))
        visit.budget.told(_repeated(made[-1]))
    visit.budget.told(len(made) - count)
    return tuple(call for call in made if not call.is_ended)


def _is_enough(made: Sequence[Call], until: float) -> bool:
    """Whether further calls would tell nothing more, or would take too long."""
    if made[-1].is_ended:
        return True
    return are_silent(made) or is_refused(made) or (len(made) >= SILENT and monotonic() > until)


def _spare(visit: Visit) -> int:
    """How many repetitions there may be."""
    return max(0, visit.budget.left - _LEFT)


def _repeated(call: Call) -> int:
    """How many requests the adapter has sent besides the first one."""
    return max(0, sum(attempt.bytes_out > 0 for attempt in call.attempts) - 1)


def _together(one: Callable[[int], Call], count: int) -> tuple[Call, ...]:
    """Make calls at once. The threads are daemons, so that Ctrl-C waits for none of them."""
    line = threading.Barrier(count)
    made: list[Call | None] = [None] * count
    errors: list[BaseException] = []

    def run(place: int) -> None:
        try:
            line.wait(60)
            made[place] = one(place + 1)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return tuple(call for call in made if call is not None)


def is_refused(made: Sequence[Call]) -> bool:
    """Whether a call was repeated, and got a status such as 429 all the same: more calls make that worse."""
    return any(call.status in STATUSES and _repeated(call) for call in made)


def are_silent(made: Sequence[Call]) -> bool:
    """Whether nothing but silence has come, often enough to say so."""
    return len(made) >= SILENT and all(call.is_silent for call in made)


def takes_long(stock: Sequence[Call]) -> bool:
    """Whether each call by the adapter would wait, since it repeats what stock has got each time."""
    return all(call.is_silent for call in stock) or all(call.status in STATUSES for call in stock)


def failed(made: Sequence[Call]) -> list[Call]:
    """Those that have failed."""
    return [call for call in made if call.error is not None]


def hollow(stock: Sequence[Call], ours: Sequence[Call]) -> list[Call]:
    """Those by stock whose body is empty, and by the adapter none is.

    `http.client` takes an end of file for the end of a head, so the rest of it and the body are lost unseen.
    """
    whole = [call.body_bytes > 0 for call in ours if call.error is None]
    if not whole or not all(whole):
        return []
    return [call for call in stock if call.error is None and not call.body_bytes]


def usual(made: Sequence[Call]) -> tuple[Phase, Cause, str]:
    """The step and the cause at which most of these have failed, and an error of them.

    Args:
        made: calls of which at least one has failed.
    """
    told = [(call.phase, call.cause, call.error) for call in made if call.phase and call.cause and call.error]
    (phase, cause), _ = Counter((phase, cause) for phase, cause, _ in told).most_common(1)[0]
    return phase, cause, next(error for at, why, error in told if (at, why) == (phase, cause))


def compared(stock: Sequence[Call], ours: Sequence[Call], how: str = "") -> str:
    """How calls by both went, in two sentences.

    Args:
        stock, ours: the calls.
        how: follows the number of those by stock, such as ", 4 at once".
    """
    counted = ((stock, len(failed(stock)) + len(hollow(stock, ours))), (ours, len(failed(ours))))
    return " ".join(
        f"{made[0].transport[:1].upper()}{made[0].transport[1:]}: {lost} of {len(made)} calls failed{how}."
        for made, lost in counted
        if made
    )


class _Enough(BaseException):
    """A call has sent as many requests as it may; an Exception that a hook raises would not end it."""


class _Leash:
    """Listens to the call of this thread, and ends it when it would send more than it may.

    Args:
        most: repetitions.
    """

    def __init__(self, most: int) -> None:
        self._most, self._thread = most, threading.get_ident()
        #: The attempts that have failed.
        self.attempts: list[Attempt] = []

    def __call__(self, event: Event) -> None:
        """Is the hook."""
        if threading.get_ident() != self._thread:
            return
        if isinstance(event, AttemptFailed):
            self.attempts.append(event.attempt)
        elif (
            isinstance(event, AttemptStarted) and sum(one.bytes_out > 0 for one in self.attempts) > self._most
        ):
            raise _Enough

    def ended(self, transport: str, seconds: float) -> Call:
        """The call that it has ended."""
        attempts = Attempts(self.attempts)
        last = attempts[-1]
        if last.error is None:
            return Call(transport, last.status, None, None, attempts, seconds)
        why = f"{last.error}; ended, since no further request may be sent"
        phase = phase_by_attempts(attempts) or Phase.FIRST_BYTE
        return Call(transport, None, why, Cause.RESET, attempts, seconds, phase=phase, is_ended=True)


@contextmanager
def _leash(most: int) -> Iterator[_Leash]:
    hook = _Leash(most)
    subscribe(hook)
    try:
        yield hook
    finally:
        unsubscribe(hook)


def _made(visit: Visit, transport: str, url: str, most: int) -> Call:
    began, options, target = monotonic(), visit.options, visit.target
    timeout, is_ours = (visit.connect_timeout, options.timeout), transport == OURS
    with visit.new_session() as session, _bounded(options.timeout) if is_ours else nullcontext():
        if is_ours:
            adapter = ResilientAdapter()
            session.mount("https://", adapter)
            session.mount("http://", adapter)
        # They are in the URL already.
        session.params = {}
        repeats = isinstance(session.get_adapter(url), ResilientAdapter)
        with _leash(most) as leash:
            try:
                answer = session.get(
                    url, timeout=timeout, allow_redirects=False,
                    verify=target.verify, proxies=target.proxies,
                    # Where it repeats, it repeats more if it has the whole body before the caller has it.
                    stream=not repeats or url in visit.long,
                )  # fmt: skip
                size = _read(visit, url, answer)
            except _Enough:
                return leash.ended(transport, monotonic() - began)
            except (requests.RequestException, ValueError, OSError) as error:
                return _failure(transport, error, monotonic() - began)
        return Call(
            transport, answer.status_code, None, None, attempts_of(answer), monotonic() - began, size,
            {name.lower(): text for name, text in answer.headers.items()},
        )  # fmt: skip


def _read(visit: Visit, url: str, answer: requests.Response) -> int:
    """Read a body, or so much of it as is enough; return how many bytes came."""
    count = 0
    until = monotonic() + visit.options.timeout
    for piece in answer.iter_content(_PIECE):
        count += len(piece)
        if count >= MOST_BYTES or monotonic() > until:
            visit.long.add(url)
            break
    return count


def _bounded(timeout: float) -> Any:
    """A block in which a call by the adapter ends in time, whatever it is told to wait for."""
    return override(deadline=_STEPS * timeout)


def _failure(transport: str, error: Exception, seconds: float) -> Call:
    root, attempts = innermost(error), attempts_of(error)
    why = next((one.error for one in reversed(attempts) if one.error), None) or describe(root)
    phase = phase_by_attempts(attempts) or phase_by_traceback(error)
    return Call(transport, None, why, classify(root), attempts, seconds, phase=phase)


def _rows(visit: Visit, title: str, began: float, call: Call, url: str) -> Iterator[Row]:
    """A call as rows: the adapter tells of each attempt, of stock it is known how long it took."""
    later = began - visit.began
    outcome = call.error or f"status {call.status}"
    rows = attempt_rows(title, call.attempts, later)
    if not rows:
        whole = whole_row(title, later, call.seconds, call.phase or Phase.FIRST_BYTE, call.error)
        rows = (replace(whole, outcome=outcome, status=call.status, bytes_in=call.body_bytes),)
    for row in rows:
        yield replace(row, method="GET", url=origin_at(url) + path_at(url), label=call.transport)
