"""Rows of attempts, and charts of calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ..events.attempt import Attempt, Attempts, outcome_of
from ..retry.stages import Stage
from ..util.frozen import replace
from .call_notes import CallNotes
from .chart import Bar, Chart, Phase, Row
from .scale import span

#: What a stage of an attempt is on a chart.
PHASES: Final = {
    Stage.QUEUE: Phase.WAIT,
    Stage.RESOLVE: Phase.NAME,
    Stage.CONNECT: Phase.DIAL,
    Stage.TUNNEL: Phase.TUNNEL,
    Stage.HANDSHAKE: Phase.HANDSHAKE,
    Stage.CONFIRM: Phase.CONFIRM,
    Stage.REQUEST: Phase.FIRST_BYTE,
    Stage.BODY: Phase.BODY,
}
#: What each attempt passes through, though most have nothing to do there; and a handshake without TLS.
_OFTEN_EMPTY: Final = (Phase.WAIT, Phase.HANDSHAKE)
#: In seconds: what takes less time there is not shown.
_NOTHING: Final = 0.0001


def rows_of(
    attempts: Sequence[Attempt],
    method: str = "",
    url: str = "",
    tls_versions: Mapping[int, str | None] | None = None,
) -> tuple[Row, ...]:
    """A row for each attempt of a call, on an axis that begins with the call.

    Args:
        attempts: in their order, as `attempts_of` has them.
        method: the request's; empty: they ask nothing.
        url: the request's, without query and userinfo.
        tls_versions: by the number of the attempt that has made a connection, as far as they are known.
    """
    versions = tls_versions or {}
    rows = []
    for at, attempt in enumerate(attempts):
        follower = attempts[at + 1] if at + 1 < len(attempts) else None
        row = _row(attempt, follower)
        rows.append(replace(row, method=method, url=url, tls_version=versions.get(attempt.number)))
    return tuple(rows)


def _row(attempt: Attempt, follower: Attempt | None) -> Row:
    return Row(
        f"attempt {attempt.number}",
        (*_bars(attempt), *_pause(attempt, follower)),
        attempt.error or outcome_of(attempt.status),
        has_failed(attempt),
        tuple(_details(attempt)),
        status=attempt.status,
        address=attempt.address,
        bytes_out=attempt.bytes_out,
        bytes_in=attempt.bytes_in,
        reused=attempt.reused,
    )


def has_failed(attempt: Attempt) -> bool:
    """Whether an attempt has failed, on the wire or by its status."""
    return attempt.error is not None or attempt.stage == Stage.STATUS


def _details(attempt: Attempt) -> Iterator[str]:
    if attempt.shared:
        yield "it opened nothing, and shared the failure of another call that was connecting"
    if attempt.tls_resumed:
        yield "the TLS session was resumed"
    if attempt.body_resumed:
        yield "it went on with the body of an attempt before it"
    yield attempt.decision


def _bars(attempt: Attempt) -> list[Bar]:
    """The bars of an attempt; the last one is where it failed, if it did on the wire."""
    began = _beginnings(attempt)
    ends = [*(moment for _, moment in began[1:]), attempt.seconds]
    bars = [
        Bar(phase, attempt.started + moment, max(end - moment, 0.0))
        for (phase, moment), end in zip(began, ends, strict=True)
    ]
    last = bars.pop()
    kept = [bar for bar in bars if bar.phase not in _OFTEN_EMPTY or bar.seconds >= _NOTHING]
    return [*kept, replace(last, failed=attempt.error is not None, note=_note(attempt))]


def _note(attempt: Attempt) -> str:
    return f"another call's failure at stage {attempt.stage}" if attempt.shared else ""


def _beginnings(attempt: Attempt) -> list[tuple[Phase, float]]:
    """When each phase began, in seconds since the attempt's start; as far as is known if nobody listened."""
    if attempt.shared:
        return [(Phase.WAIT, 0.0)]
    if attempt.stages:
        return [(PHASES[Stage(stage)], moment) for stage, moment in attempt.stages]
    if attempt.connecting and attempt.connecting < attempt.seconds:
        return [(Phase.DIAL, 0.0), (Phase.FIRST_BYTE, attempt.connecting)]
    stage = Stage(attempt.stage)
    return [(PHASES.get(stage, Phase.FIRST_BYTE), 0.0)]


def _pause(attempt: Attempt, follower: Attempt | None) -> Iterator[Bar]:
    """The pause after an attempt: until the next one began, or as long as it was to be."""
    if not attempt.delay:
        return
    ended = attempt.started + attempt.seconds
    follows = follower is not None and follower.number == attempt.number + 1
    seconds = follower.started - ended if follower is not None and follows else attempt.delay
    yield Bar(Phase.PAUSE, ended, max(seconds, 0.0))


def chart_of(notes: CallNotes) -> Chart:
    """The chart of a call, as far as it has got."""
    attempts = [one for _, one in sorted(notes.attempts.copy().items())]
    method = "" if notes.warming else notes.method
    url = notes.origin + notes.path
    rows = rows_of(attempts, method, url, notes.tls_versions.copy())
    if (unfinished := notes.under_way) is not None:
        rows += (_unfinished(notes, *unfinished),)
    rows = tuple(replace(row, method=method, url=url, label=notes.thread) for row in rows)
    title = f"connect to {notes.origin}" if notes.warming else f"{notes.method} {url}"
    return Chart(title, rows, notes.began_at, _caption(notes, attempts))


def _unfinished(notes: CallNotes, number: int, began: float) -> Row:
    """The row of an attempt of which only the beginning was told."""
    outcome = notes.error or "under way"
    details = (f"it began {span(began)} after the call",)
    return Row(f"attempt {number}", (), outcome, notes.error is not None, details)


def _caption(notes: CallNotes, attempts: Sequence[Attempt]) -> str:
    none = "no attempt was made" if notes.under_way is None else "the first attempt has begun"
    told = Attempts(attempts).summary() if attempts else none
    if notes.error is not None:
        told = f"{told}; it has failed: {notes.error}"
    elif not notes.has_ended:
        told = f"{told}; it has not ended"
    missing = attempts[-1].number - len(attempts) if attempts else 0
    return f"{told}; {missing} attempts are not shown" if missing > 0 else told
