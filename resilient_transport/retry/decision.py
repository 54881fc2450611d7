"""One decision after each attempt: again or not, after how long, and the sentence that says why.

Knows nothing of sockets, threads and clocks: what is left of the deadline and of the quota is given to it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import islice
from math import inf
from typing import Final

from ..util.frozen import dataclass
from .backoff import expo, full_jitter
from .budget import RETRY_COST, TIMEOUT_COST
from .causes import Cause
from .policy import RetryPolicy
from .stages import TABLE, Column, Failure, Situation, Verdict

#: The longest pause after a reset inside a handshake, in seconds: the server is there. Where half of all
#: handshakes are reset, 40 starts of four calls take no longer than a second each.
RESET_PAUSE: Final = 0.2


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done after a failed attempt."""

    #: Send the request again.
    again: bool
    #: Why, in one sentence without secrets.
    why: str
    #: Seconds to wait before.
    delay: float = 0.0
    #: Tokens of the quota that the repetition costs.
    cost: int = 0
    #: The table would have allowed a repetition; a limit, the deadline or the quota did not.
    exhausted: bool = False
    #: What refused a repetition, in a word that can be counted by.
    reason: str = ""


def judge(policy: RetryPolicy, where: Column, failures: Sequence[Failure], left: float) -> Decision:
    """Decide what follows the last of these failures.

    Args:
        policy: the limits and the pacing.
        where: the column of the table.
        failures: all failures of the call, the newest last; at least one.
        left: seconds until the deadline, infinite without one.
    """
    failure = failures[-1]
    verdict = TABLE[failure.situation][where.value]
    if refusal := _refused_by_table(failure, verdict, where, failures):
        reason = _REASONS.get(failure.situation, "not repeatable")
        return Decision(False, f"not sent again: {refusal}", reason=reason)
    if refusal := _refused_by_limit(policy, failures):
        return given_up(refusal, "limit")
    delay = _delay(policy, failures, verdict)
    if delay is None:
        why = f"not sent again: Retry-After asks for more than {policy.retry_after_max:g} s"
        return Decision(False, why, reason="retry-after")
    if delay >= left:
        return given_up(f"{delay:.3f} s of waiting, and the deadline leaves {left:.3f} s", "deadline")
    cost = TIMEOUT_COST if failure.cause is Cause.TIMEOUT else RETRY_COST
    pause = f"after {delay:.3f} s" if delay else "at once"
    if failure.paced and _asked_for(policy, failure) is None:
        delay, pause = 0.0, "after a pause that all callers share"
    if failure.borrowed:
        # Who has met it has paid for it.
        cost = 0
    return Decision(True, f"sent again {pause}: {_reason(failure, where)}", delay, cost)


#: What the table refuses, by its row.
_REASONS: Final = {
    Situation.FATAL: "lasting",
    Situation.SPENT: "body",
    Situation.MISDIRECTED: "misdirected",
}


def given_up(why: str, reason: str) -> Decision:
    """The decision to stop although the table would allow another attempt.

    Args:
        why: why, in a sentence.
        reason: the same in a word.
    """
    return Decision(False, f"not sent again: {why}", exhausted=True, reason=reason)


def _refused_by_table(
    failure: Failure, verdict: Verdict, where: Column, failures: Sequence[Failure]
) -> str | None:
    if verdict is Verdict.ONCE:
        twice = sum(other.cause is failure.cause for other in failures) > 1
        return "it was misdirected on a new connection, too" if twice else None
    if verdict is not Verdict.NO:
        return None
    if failure.situation is Situation.FATAL:
        return f"{failure.cause}: this does not heal by itself"
    if failure.situation is Situation.SPENT:
        return "its body was touched and cannot be rewound (give bytes, a file or spool_bytes)"
    return (
        f"the server may have executed it (stage {failure.stage}), and the method may not be repeated; "
        "an Idempotency-Key header or retry_non_idempotent=True opts in"
    )


def _refused_by_limit(policy: RetryPolicy, failures: Sequence[Failure]) -> str | None:
    for limit in policy.in_force():
        if limit.used_up(failures):
            return f"{limit.name}={limit.most} is used up"
    return None


def _reason(failure: Failure, where: Column) -> str:
    if failure.situation is Situation.EARLY:
        whose = " of the call that this one had waited for" if failure.borrowed else ""
        return f"{failure.cause} at stage {failure.stage}{whose}, no byte of the request had left"
    if failure.status is not None and failure.cause is not Cause.ROTATED:
        return f"status {failure.status}"
    opted = "opted in" if where is Column.OPTED_IN else "idempotent"
    return f"{failure.cause} at stage {failure.stage}, {opted}"


def _delay(policy: RetryPolicy, failures: Sequence[Failure], verdict: Verdict) -> float | None:
    """Seconds to wait; None when the server asks for more than the policy grants."""
    failure = failures[-1]
    is_other = verdict is Verdict.ONCE or failure.cause is Cause.ROTATED
    if is_other or (verdict is Verdict.AT_ONCE and first_stale(failures)):
        return 0.0
    if (asked := _asked_for(policy, failure)) is not None:
        if asked > policy.retry_after_max and not policy.clamp_retry_after:
            return None
        return min(asked, policy.retry_after_max)
    paced = sum(other.situation is not Situation.REUSED for other in failures) or 1
    return backoff_delay(
        policy, paced, most=pause_after_reset(policy) if failure.was_reset_in_handshake else inf
    )


def _asked_for(policy: RetryPolicy, failure: Failure) -> float | None:
    """The pause that the other side asks for, in seconds; None: none, and so it is ours to choose."""
    # A Retry-After of 0 or in the past falls back to the backoff, as urllib3 has it.
    return (failure.retry_after or None) if policy.respect_retry_after else None


def pause_after_reset(policy: RetryPolicy) -> float:
    """The longest pause after a reset inside a handshake, in seconds: the server is there."""
    return RESET_PAUSE if policy.paces_by_default() else policy.backoff_max


def first_stale(failures: Sequence[Failure]) -> bool:
    """Whether one attempt has failed on a connection that was there, and no more than one."""
    return sum(other.situation is Situation.REUSED for other in failures) == 1


def backoff_delay(
    policy: RetryPolicy,
    number: int,
    uniform: Callable[[float, float], float] | None = None,
    most: float = inf,
) -> float:
    """The pause before a repetition, in seconds.

    Args:
        policy: whose backoff it is.
        number: 1 for the first repetition.
        uniform: the source of randomness.
        most: a lower ceiling than the policy's. The pause is anything under it, too, and not it as a rule.
    """
    if policy.jitter is not None:
        # urllib3's formula: nothing before the first repetition, then factor * 2 ** (n - 1) and jitter.
        if number <= 1:
            return 0.0
        extra = (uniform or random.uniform)(0, policy.jitter)
        limit = min(policy.backoff_max, most)
        return max(0.0, min(limit, policy.backoff * 2.0 ** min(number - 1, 64) + extra))
    ceilings = expo(factor=policy.backoff, max_value=policy.backoff_max)
    ceiling: float = min(most, next(islice(ceilings, number, None)))
    return uniform(0, ceiling) if uniform else full_jitter(ceiling)
