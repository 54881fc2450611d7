"""Attempts become rows, and the events of a call its chart: values in, values out."""

import pytest

from resilient_transport import events
from resilient_transport.events.attempt import Attempt
from resilient_transport.waterfall.call_notes import MOST_ATTEMPTS, CallNotes
from resilient_transport.waterfall.chart import Phase
from resilient_transport.waterfall.rows import chart_of, rows_of

NEW = Attempt(
    1, "done", None, 200, 210, 5000, False, False, False, False, 0.5, 1.0, 0.3, None, "handed out",
    "192.0.2.1:443", (("queue", 0.0), ("resolve", 0.1), ("connect", 0.12), ("tunnel", 0.15),
                      ("handshake", 0.2), ("confirm", 0.25), ("request", 0.3), ("body", 0.6)),
)  # fmt: skip
REUSED = NEW._replace(
    reused=True, connecting=0.0, stages=(("queue", 0.0), ("request", 0.00005), ("body", 0.9))
)
BROKEN = Attempt(
    1, "handshake", "ConnectionResetError: reset", None, 0, 0, False, False, False, False, 0.0, 0.4, 0.4, 0.3,
    "sent again", "192.0.2.1:443", (("queue", 0.0), ("connect", 0.1), ("handshake", 0.2)),
)  # fmt: skip
ABOUT = ("https://a.example", 7, "GET")


def bars(*attempts):
    """The bars of the first row: phase, beginning, length, and whether it failed."""
    return [
        (bar.phase, round(bar.began, 6), round(bar.seconds, 6), bar.failed)
        for bar in rows_of(attempts)[0].bars
    ]


def told(kind, *values):
    """An event of the call."""
    return kind(*ABOUT, *values, path="/words", thread="worker-1")


def chart(*told_events):
    """The chart of a call of which these were told."""
    notes = CallNotes(told_events[0])
    for event in told_events:
        notes.take(event)
    return chart_of(notes)


def test_each_stage_is_a_bar_that_ends_where_the_next_begins():
    """The last ends with the attempt; the axis begins with the call."""
    assert bars(NEW) == [
        (Phase.WAIT, 0.5, 0.1, False),
        (Phase.NAME, 0.6, 0.02, False),
        (Phase.DIAL, 0.62, 0.03, False),
        (Phase.TUNNEL, 0.65, 0.05, False),
        (Phase.HANDSHAKE, 0.7, 0.05, False),
        (Phase.CONFIRM, 0.75, 0.05, False),
        (Phase.FIRST_BYTE, 0.8, 0.3, False),
        (Phase.BODY, 1.1, 0.4, False),
    ]


def test_nobody_has_waited_for_an_idle_connection():
    """A wait of microseconds is no bar; the one in which an attempt failed is, however short."""
    failed = BROKEN._replace(seconds=0.0, stages=(("queue", 0.0),), delay=None)

    assert [phase for phase, *_ in bars(REUSED)] == [Phase.FIRST_BYTE, Phase.BODY]
    assert bars(failed) == [(Phase.WAIT, 0.0, 0.0, True)]


def test_the_bar_in_which_it_failed():
    """It is the last one; then comes the pause, which lasts until the next attempt began."""
    again = NEW._replace(number=2, started=0.75)
    expected = [
        (Phase.WAIT, 0.0, 0.1, False),
        (Phase.DIAL, 0.1, 0.1, False),
        (Phase.HANDSHAKE, 0.2, 0.2, True),
    ]

    assert bars(BROKEN, again) == [*expected, (Phase.PAUSE, 0.4, 0.35, False)]
    assert bars(BROKEN) == [*expected, (Phase.PAUSE, 0.4, 0.3, False)]
    assert bars(BROKEN, again._replace(number=9))[-1] == (Phase.PAUSE, 0.4, 0.3, False)
    assert bars(BROKEN._replace(delay=0.0)) == bars(BROKEN._replace(delay=None)) == expected


def test_a_shared_failure_is_one_wait():
    """It has opened nothing."""
    (row,) = rows_of([BROKEN._replace(shared=True, delay=None)])
    (bar,) = row.bars

    assert (bar.phase, bar.seconds, bar.failed) == (Phase.WAIT, 0.4, True)
    assert bar.note == "another call's failure at stage handshake"


@pytest.mark.parametrize(
    ("attempt", "phases"),
    [
        (NEW._replace(stages=()), [Phase.DIAL, Phase.FIRST_BYTE]),
        (REUSED._replace(stages=()), [Phase.FIRST_BYTE]),
        (BROKEN._replace(stages=(), delay=None), [Phase.HANDSHAKE]),
    ],
)
def test_where_nobody_listened_little_is_known(attempt, phases):
    """The row is as long as the attempt all the same."""
    (row,) = rows_of([attempt])

    assert [bar.phase for bar in row.bars] == phases
    assert row.ended == pytest.approx(attempt.started + attempt.seconds)


def test_a_row_says_what_the_attempt_says():
    """Its outcome, its status, its bytes, where it went."""
    by_status = NEW._replace(stage="status", status=503, tls_resumed=True, body_resumed=True)
    good, bad, busy = (
        rows_of([one], "GET", "https://a.example/words", {1: "TLSv1.3"})[0]
        for one in (NEW, BROKEN, by_status)
    )

    assert (good.outcome, good.failed, good.status, good.bytes_in) == ("status 200", False, 200, 5000)
    assert (good.method, good.url, good.tls_version) == ("GET", "https://a.example/words", "TLSv1.3")
    assert (bad.outcome, bad.failed, bad.address) == ("ConnectionResetError: reset", True, "192.0.2.1:443")
    assert (busy.outcome, busy.failed, busy.bars[-1].failed) == ("status 503", True, False)
    assert busy.details == (
        "the TLS session was resumed",
        "it went on with the body of an attempt before it",
        "handed out",
    )


def test_the_chart_of_a_call_that_was_saved():
    """Two attempts, the second of which made the connection."""
    found = chart(
        told(events.AttemptStarted, 1),
        told(events.AttemptFailed, BROKEN),
        told(events.RetryScheduled, 1, 0.3, "why"),
        told(events.AttemptStarted, 2),
        told(events.HandshakeDone, "TLSv1.3", False, True, 0.1),
        told(events.AttemptSucceeded, NEW._replace(number=2)),
        told(events.Recovered, 2, 1.5),
        told(events.CallEnded, 200, None),
    )

    assert found.title == "GET https://a.example/words"
    assert found.caption == "2 attempts in 1.500 s, the last at stage done: 200"
    assert [(row.title, row.failed, row.tls_version, row.label) for row in found.rows] == [
        ("attempt 1", True, None, "worker-1"),
        ("attempt 2", False, "TLSv1.3", "worker-1"),
    ]


def test_a_body_that_ended_later_makes_its_bar_longer():
    """What was told last of an attempt is what counts."""
    later = NEW._replace(seconds=9.5, bytes_in=70000)
    found = chart(
        told(events.AttemptStarted, 1),
        told(events.AttemptSucceeded, NEW),
        told(events.CallEnded, 200, None),
        told(events.BodyEnded, later, True),
    )
    (row,) = found.rows

    assert (row.bars[-1].phase, row.ended, row.bytes_in) == (Phase.BODY, 10.0, 70000)


def test_a_call_that_has_not_ended_says_so():
    """It has an attempt under way, or is between two."""
    first = told(events.AttemptStarted, 1)
    found = chart(first, told(events.AttemptFailed, BROKEN), told(events.AttemptStarted, 2))
    (_, under_way) = found.rows

    assert (under_way.title, under_way.outcome, under_way.failed, under_way.bars) == (
        "attempt 2",
        "under way",
        False,
        (),
    )
    assert found.caption.endswith("it has not ended")
    assert chart(first).caption == "the first attempt has begun; it has not ended"


def test_a_call_that_was_interrupted_has_an_attempt_without_an_end():
    """Nothing was told of it but its beginning."""
    found = chart(told(events.AttemptStarted, 1), told(events.CallEnded, None, "KeyboardInterrupt"))
    (row,) = found.rows

    assert (row.outcome, row.failed) == ("KeyboardInterrupt", True)
    assert found.caption == "the first attempt has begun; it has failed: KeyboardInterrupt"


def test_a_call_that_gave_up():
    """The decision that was made last is shown, and what was raised."""
    last = BROKEN._replace(decision="not sent again", delay=None)
    found = chart(
        told(events.AttemptStarted, 1),
        told(events.AttemptFailed, BROKEN),
        told(events.GaveUp, last, "ConnectionError", 1.0),
        told(events.CallEnded, None, "ConnectionError"),
    )
    nothing = chart(
        told(events.GaveUp, None, "CircuitOpen", 0.0), told(events.CallEnded, None, "CircuitOpen")
    )

    assert found.rows[0].details == ("not sent again",)
    assert found.caption.endswith("it has failed: ConnectionError")
    assert (nothing.rows, nothing.caption) == ((), "no attempt was made; it has failed: CircuitOpen")


def test_what_was_warmed_asked_nothing():
    """So it has no method, and is no entry of a HAR."""
    found = chart(
        told(events.AttemptStarted, 1, True),
        told(events.AttemptSucceeded, NEW._replace(status=None)),
        told(events.CallEnded, None, None),
    )

    assert (found.title, found.rows[0].method) == ("connect to https://a.example", "")
    assert found.rows[0].outcome == "connected"


def test_of_many_attempts_the_first_and_the_last_are_kept():
    """A body of gigabytes may take thousands."""
    many = [told(events.AttemptFailed, BROKEN._replace(number=number)) for number in range(1, 101)]
    found = chart(told(events.AttemptStarted, 1), *many)
    numbers = [int(row.title.removeprefix("attempt ")) for row in found.rows if row.bars]

    assert len(numbers) == MOST_ATTEMPTS
    assert numbers == [*range(1, 11), *range(91, 101)]
    assert found.caption.endswith("80 attempts are not shown")
