"""The decision after an attempt: again or not, after how long, and the sentence that says why."""

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resilient_transport import RetryPolicy
from resilient_transport.retry.budget import RETRY_COST, TIMEOUT_COST
from resilient_transport.retry.decision import Decision, backoff_delay, given_up, judge
from resilient_transport.retry.stages import Cause, Column, Failure, Stage

EARLY_RESET = Failure(Stage.HANDSHAKE, Cause.RESET)
DAMAGED = Failure(Stage.HANDSHAKE, Cause.DAMAGED)
TLS = Failure(Stage.HANDSHAKE, Cause.TLS)
UNNAMED = Failure(Stage.CONNECT, Cause.UNNAMED)
UNREACHABLE = Failure(Stage.CONNECT, Cause.UNREACHABLE)
UNREADY = Failure(Stage.TUNNEL, Cause.UNREADY)
NO_NAME = Failure(Stage.RESOLVE, Cause.NAME)
REFUSED = Failure(Stage.CONNECT, Cause.REFUSED)
EARLY_TIMEOUT = Failure(Stage.CONNECT, Cause.TIMEOUT)
UNANSWERED = Failure(Stage.REQUEST, Cause.RESET)
TIMEOUT = Failure(Stage.REQUEST, Cause.TIMEOUT)
STALE = Failure(Stage.REQUEST, Cause.RESET, reused=True)
CUT = Failure(Stage.BODY, Cause.RESET)
BUSY = Failure(Stage.STATUS, Cause.STATUS, status=503)
MISDIRECTED = Failure(Stage.STATUS, Cause.MISDIRECTED, status=421)
UNTRUSTED = Failure(Stage.HANDSHAKE, Cause.CERTIFICATE)
DENIED = Failure(Stage.TUNNEL, Cause.DENIED)
SPENT = Failure(Stage.REQUEST, Cause.RESET, spent=True)

#: Pauses that are the same in each run: 1 s, 1 s, ... without randomness.
EVEN = RetryPolicy(backoff=1.0, backoff_max=1.0, jitter=0.0)


def decided(*failures, policy=None, where=Column.IDEMPOTENT, left=math.inf):
    """Return the decision after these failures."""
    return judge(policy or RetryPolicy(), where, failures, left)


def busy(retry_after):
    """Return a 503 with this Retry-After."""
    return Failure(Stage.STATUS, Cause.STATUS, status=503, retry_after=retry_after)


LASTS = "not sent again: {}: this does not heal by itself"
NOT_OPTED_IN = (
    "not sent again: the server may have executed it (stage {}), and the method may not be repeated; "
    "an Idempotency-Key header or retry_non_idempotent=True opts in"
)


@pytest.mark.parametrize(
    ("failure", "where", "reason", "why"),
    [
        (UNTRUSTED, Column.IDEMPOTENT, "lasting", LASTS.format("server certificate not trusted")),
        (UNTRUSTED, Column.OPTED_IN, "lasting", LASTS.format("server certificate not trusted")),
        (DENIED, Column.IDEMPOTENT, "lasting", LASTS.format("refused by the proxy")),
        (
            SPENT,
            Column.IDEMPOTENT,
            "body",
            "not sent again: its body was touched and cannot be rewound (give bytes, a file or spool_bytes)",
        ),
        (UNANSWERED, Column.UNSAFE, "not repeatable", NOT_OPTED_IN.format("request")),
        (STALE, Column.UNSAFE, "not repeatable", NOT_OPTED_IN.format("request")),
        (CUT, Column.UNSAFE, "not repeatable", NOT_OPTED_IN.format("body")),
        (BUSY, Column.UNSAFE, "not repeatable", NOT_OPTED_IN.format("status")),
    ],
)
def test_what_the_table_forbids_is_not_sent_again(failure, where, reason, why):
    """Each reason has its sentence, and none of them says that a limit was reached."""
    assert decided(failure, where=where) == Decision(False, why, reason=reason)


@pytest.mark.parametrize(
    ("failure", "where", "why"),
    [
        (EARLY_RESET, Column.UNSAFE, "reset or closed at stage handshake, no byte of the request had left"),
        (NO_NAME, Column.IDEMPOTENT, "name not found at stage resolve, no byte of the request had left"),
        (REFUSED, Column.IDEMPOTENT, "connection refused at stage connect, no byte of the request had left"),
        (UNANSWERED, Column.IDEMPOTENT, "reset or closed at stage request, idempotent"),
        (UNANSWERED, Column.OPTED_IN, "reset or closed at stage request, opted in"),
        (CUT, Column.IDEMPOTENT, "reset or closed at stage body, idempotent"),
        (TIMEOUT, Column.OPTED_IN, "timed out at stage request, opted in"),
        (BUSY, Column.IDEMPOTENT, "status 503"),
    ],
)
def test_what_the_table_permits_is_sent_again(failure, where, why):
    """The control: the same loop says yes where it may, with the pause and the reason."""
    policy = RetryPolicy(backoff=0.25, jitter=0.0)

    assert decided(NO_NAME, failure, policy=policy, where=where).why == f"sent again after 0.500 s: {why}"


@pytest.mark.parametrize(
    ("failure", "most", "name"),
    [
        (EARLY_RESET, 12, "connect_retries"),
        (DAMAGED, 12, "connect_retries"),
        (TLS, 1, "other_retries"),
        (UNNAMED, 1, "other_retries"),
        (UNREACHABLE, 1, "timeout_retries"),
        (UNREADY, 2, "proxy_retries"),
        (NO_NAME, 2, "name_retries"),
        (REFUSED, 5, "refused_retries"),
        (EARLY_TIMEOUT, 1, "timeout_retries"),
        (TIMEOUT, 1, "timeout_retries"),
        (UNANSWERED, 5, "retries"),
        (STALE, 5, "retries"),
        (CUT, 5, "retries"),
        (BUSY, 5, "retries"),
    ],
)
def test_each_cause_has_its_limit(failure, most, name):
    """The last permitted repetition is still made, and the next one is refused by the limit's name."""
    decisions = [decided(*[failure] * number) for number in range(1, most + 2)]

    assert [decision.again for decision in decisions] == [True] * most + [False]
    why = f"not sent again: {name}={most} is used up"
    assert decisions[-1] == Decision(False, why, exhausted=True, reason="limit")


@pytest.mark.parametrize("last", [UNANSWERED, STALE, CUT, BUSY])
def test_everything_else_shares_one_limit(last):
    """Five repetitions in all for what happens after the request has left, time-outs aside."""
    assert decided(UNANSWERED, STALE, CUT, BUSY, last).again
    assert decided(UNANSWERED, STALE, CUT, BUSY, BUSY, last).why == "not sent again: retries=5 is used up"


def test_causes_do_not_use_up_each_others_limits():
    """Twelve resets of handshakes leave a full count to what comes later."""
    past = [EARLY_RESET] * 12 + [NO_NAME] * 2 + [REFUSED] * 5 + [TIMEOUT]

    assert decided(*past, *[CUT] * 5).again
    assert not decided(*past, *[CUT] * 6).again


def test_explicit_retries_bound_all_causes_together():
    """With `retries=3` the fourth failure is one too many, whatever came before it."""
    policy = RetryPolicy(retries=3)

    assert decided(EARLY_RESET, NO_NAME, TIMEOUT, policy=policy).again
    assert decided(EARLY_RESET, NO_NAME, TIMEOUT, CUT, policy=policy).why == (
        "not sent again: retries=3 is used up"
    )


@pytest.mark.parametrize("failure", [EARLY_RESET, STALE, BUSY, MISDIRECTED])
def test_no_retries_means_none(failure):
    """`retries=0` also turns off what would be free of backoff."""
    assert decided(failure, policy=RetryPolicy(retries=0)).why == "not sent again: retries=0 is used up"


def test_the_first_stale_connection_is_replaced_at_once():
    """The server closed an idle connection under us: there is nothing to wait for."""
    decision = decided(STALE, policy=EVEN)

    assert (decision.again, decision.delay) == (True, 0.0)
    assert decision.why == "sent again at once: reset or closed at stage request, idempotent"


def test_the_first_stale_connection_is_replaced_at_once_after_other_failures():
    """What failed before it on new connections takes nothing from that."""
    assert decided(EARLY_RESET, UNANSWERED, STALE, policy=EVEN).delay == 0.0
    assert decided(EARLY_RESET, UNANSWERED, CUT, policy=EVEN).delay == 1.0


def test_a_second_stale_connection_waits():
    """The control: only the first is free, even when another failure came in between."""
    full = RetryPolicy()

    assert decided(STALE, STALE, policy=full).delay > 0
    assert decided(STALE, EARLY_RESET, UNANSWERED, STALE, policy=EVEN).delay == 1.0


def test_a_stale_connection_does_not_raise_the_pauses():
    """Backoff counts what failed on new connections; a server that closes idle ones is not in trouble."""
    doubling = RetryPolicy(backoff=1.0, backoff_max=64.0, jitter=0.0)
    pauses = [
        decided(*failures, policy=doubling).delay
        for failures in (
            [UNANSWERED],
            [STALE, UNANSWERED],
            [UNANSWERED, UNANSWERED],
            [STALE, UNANSWERED, UNANSWERED],
            [STALE, STALE],
            [STALE, STALE, STALE, STALE],
        )
    ]

    assert pauses == [0.0, 0.0, 2.0, 2.0, 0.0, 0.0]


@pytest.mark.parametrize("where", Column)
def test_a_misdirected_request_is_sent_once_more_at_once(where):
    """RFC 9110 section 15.5.20: on another connection, by any method, since nothing was executed."""
    assert decided(MISDIRECTED, policy=EVEN, where=where) == Decision(
        True, "sent again at once: status 421", cost=RETRY_COST
    )


@pytest.mark.parametrize("between", [[], [EARLY_RESET], [BUSY, CUT]])
def test_a_second_misdirection_is_final(between):
    """A new connection did not help, and a third will not, whatever came in between."""
    assert decided(MISDIRECTED, *between, MISDIRECTED) == Decision(
        False, "not sent again: it was misdirected on a new connection, too", reason="misdirected"
    )


def test_a_misdirected_request_whose_body_is_gone_is_not_sent_again():
    """Not even this repetition may send an empty body."""
    spent = Failure(Stage.STATUS, Cause.MISDIRECTED, spent=True, status=421)

    assert decided(spent).why == (
        "not sent again: its body was touched and cannot be rewound (give bytes, a file or spool_bytes)"
    )


@pytest.mark.parametrize("seconds", [0.5, 7.0, 60.0])
def test_retry_after_is_obeyed(seconds):
    """The server knows best, up to a minute."""
    decision = decided(busy(seconds), policy=EVEN)

    assert decision == Decision(True, f"sent again after {seconds:.3f} s: status 503", seconds, RETRY_COST)


def test_a_longer_retry_after_is_given_back():
    """The caller gets the response at once; it was no limit of repetitions that ended the call."""
    assert decided(busy(60.5)) == Decision(
        False, "not sent again: Retry-After asks for more than 60 s", reason="retry-after"
    )
    assert decided(busy(3.5), policy=RetryPolicy(retry_after_max=2.5)).why == (
        "not sent again: Retry-After asks for more than 2.5 s"
    )


def test_a_longer_retry_after_is_clamped_on_request():
    """urllib3's rule: wait as long as the maximum, and try."""
    policy = RetryPolicy(clamp_retry_after=True)

    assert decided(busy(60.5), policy=policy).delay == 60.0
    assert decided(busy(59.5), policy=policy).delay == 59.5


@pytest.mark.parametrize("policy", [EVEN, RetryPolicy(backoff=1.0, backoff_max=1.0, jitter=0.0, retries=9)])
@pytest.mark.parametrize("failure", [busy(0.0), busy(None), BUSY])
def test_without_a_retry_after_the_pause_is_the_backoff(failure, policy):
    """A Retry-After of 0, or of a moment in the past, says nothing about when."""
    assert decided(BUSY, failure, policy=policy).delay == 1.0


def test_retry_after_can_be_ignored():
    """Then not even one that is too long ends the call."""
    policy = RetryPolicy(backoff=1.0, backoff_max=1.0, jitter=0.0, respect_retry_after=False)

    assert decided(BUSY, busy(3.0), policy=policy).delay == 1.0
    assert decided(BUSY, busy(3600.0), policy=policy).delay == 1.0


@pytest.mark.parametrize(
    ("failures", "left", "why"),
    [
        ([BUSY, BUSY], 0.5, "not sent again: 1.000 s of waiting, and the deadline leaves 0.500 s"),
        ([BUSY, BUSY], 1.0, "not sent again: 1.000 s of waiting, and the deadline leaves 1.000 s"),
        ([busy(30.0)], 2.0, "not sent again: 30.000 s of waiting, and the deadline leaves 2.000 s"),
        ([STALE], 0.0, "not sent again: 0.000 s of waiting, and the deadline leaves 0.000 s"),
    ],
)
def test_a_pause_beyond_the_deadline_is_not_waited_for(failures, left, why):
    """It ends the call now, since nothing could come of it."""
    assert decided(*failures, policy=EVEN, left=left) == Decision(
        False, why, exhausted=True, reason="deadline"
    )


def test_a_pause_within_the_deadline_is_waited_for():
    """The control: a moment more, and it goes on."""
    assert decided(BUSY, BUSY, policy=EVEN, left=1.001).again
    assert decided(STALE, policy=EVEN, left=0.001).again


@pytest.mark.parametrize(
    ("failure", "cost"),
    [(TIMEOUT, TIMEOUT_COST), (EARLY_TIMEOUT, TIMEOUT_COST), (EARLY_RESET, RETRY_COST), (BUSY, RETRY_COST)],
)
def test_a_repetition_has_its_price(failure, cost):
    """A time-out costs twice as much, since the server is doing something for it."""
    assert decided(failure).cost == cost


def test_a_decision_is_a_value():
    """Frozen; and what it does not say is "no": no pause, no price, no limit that was reached."""
    decision = Decision(False, "why")

    with pytest.raises(FrozenInstanceError):
        decision.again = True
    assert (decision.delay, decision.cost, decision.exhausted) == (0.0, 0, False)


def test_to_give_up_is_to_have_wanted():
    """What is given up was permitted by the table: only that raises when attempts end on a status."""
    given = Decision(False, "not sent again: of reasons", exhausted=True, reason="limit")

    assert given_up("of reasons", "limit") == given


@settings(deadline=None)
@given(
    base=st.floats(0.001, 10),
    most=st.floats(0.001, 100),
    number=st.integers(1, 200),
    share=st.floats(0, 1),
)
def test_full_jitter_stays_under_its_ceiling(base, most, number, share):
    """The pause is a share of a ceiling that doubles with each repetition up to the maximum."""
    policy = RetryPolicy(backoff=base, backoff_max=most)
    ceiling = min(most, base * 2.0 ** (number - 1))
    pause = backoff_delay(policy, number, uniform=lambda low, high: low + share * (high - low))

    assert pause == pytest.approx(share * ceiling)
    assert 0 <= backoff_delay(policy, number) <= ceiling


def test_the_default_pauses():
    """50 ms doubled up to 2 s: the ceilings of the first repetitions."""
    ceilings = [backoff_delay(RetryPolicy(), n, uniform=lambda low, high: high) for n in range(1, 9)]

    assert ceilings == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_full_jitter_is_random():
    """The control of the ceiling: callers that failed together do not come back together."""
    pauses = {backoff_delay(RetryPolicy(), 5) for _ in range(20)}

    assert len(pauses) > 1


@pytest.mark.parametrize(("number", "base"), [(1, 0.0), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (100, 8.0)])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_number_of_seconds_as_jitter_paces_like_urllib3(number, base, share):
    """No pause before the first repetition, then the ceiling itself and up to `jitter` more."""
    policy = RetryPolicy(backoff=0.5, backoff_max=8.0, jitter=0.2)
    pause = backoff_delay(policy, number, uniform=lambda low, high: low + share * (high - low))

    assert pause == (pytest.approx(min(8.0, base + share * 0.2)) if base else 0.0)


def test_no_number_of_repetitions_is_too_high():
    """The pause stays at its maximum, and arithmetic does not overflow."""
    assert backoff_delay(RetryPolicy(jitter=0.0), 5000) == 2.0
    assert backoff_delay(RetryPolicy(), 5000, uniform=lambda low, high: high) == 2.0


def test_no_backoff_is_no_pause():
    """0 turns waiting off, in both pacings."""
    assert [backoff_delay(RetryPolicy(backoff=0), number) for number in (1, 7)] == [0, 0]
    assert [backoff_delay(RetryPolicy(backoff=0, jitter=0), number) for number in (1, 7)] == [0, 0]
    assert decided(BUSY, policy=RetryPolicy(backoff=0)).why == "sent again at once: status 503"


@settings(deadline=None)
@given(
    failures=st.lists(
        st.builds(
            Failure,
            st.sampled_from([stage for stage in Stage if stage not in (Stage.STATUS, Stage.DONE)]),
            st.sampled_from(
                [Cause.NAME, Cause.REFUSED, Cause.TIMEOUT, Cause.RESET, Cause.TLS, Cause.UNNAMED]
            ),
            reused=st.booleans(),
        ),
        min_size=1,
        max_size=40,
    ),
    retries=st.integers(0, 6),
)
def test_no_call_goes_on_for_ever(failures, retries):
    """Explicit `retries` allow that many repetitions of whatever happens, and never one more."""
    decision = decided(*failures, policy=RetryPolicy(retries=retries))

    assert decision.again is (len(failures) <= retries)
